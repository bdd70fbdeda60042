"""Whether two classifiers are right equally often on the same rows. It asks for equality, not for non-inferiority."""

from noria.core.errors import Invalid
from noria.stats import curves


def exact(*, only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test (McNemar 1947).

    `only_first` and `only_second` are how many rows one had right and the other wrong; other rows say nothing.
    """
    if min(only_first, only_second) < 0:
        raise Invalid("a number of rows is negative", hint="count the rows that only one of the two had right")
    rows = only_first + only_second
    return min(1.0, 2 * curves.binomial_area(min(only_first, only_second), trials=rows, chance=0.5)) if rows else 1.0
