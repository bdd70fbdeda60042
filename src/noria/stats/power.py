"""What a comparison can show: its power, and how many more units it needs.

For a paired mean difference d (ours less theirs, more is better) with a standard error se, by the normal
approximation (Julious 2004): non-inferiority holds when d - z(1 - alpha) se > -margin; a margin of 0 asks for
superiority. The power at a true difference D is Phi((D + margin) / se - z(1 - alpha)).
"""

import math

from noria.core.errors import Invalid
from noria.stats import curves


def power(*, standard_error: float, margin: float = 0.0, difference: float = 0.0, alpha: float = 0.05) -> float:
    """Return the chance to show d > -margin, one-sided at alpha, when `difference` is the truth.

    All in the units of the difference. At difference = -margin it is alpha itself.
    """
    _refuse_unless_positive(standard_error)
    _refuse_negative(margin)
    return curves.normal_area((difference + margin) / standard_error - curves.normal_point(1 - alpha))


def units_needed(
    *,
    standard_error: float,
    units: int,
    margin: float = 0.0,
    difference: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Return how many units reach this power, when `units` of them gave this standard error; None if no number does.

    Units are what is independent (rows, or groups); the standard error shrinks with the root of their number.
    """
    _refuse_unless_positive(standard_error)
    _refuse_negative(margin)
    if units < 1:
        raise Invalid(f"{units} units gave no standard error", hint="give the number it was estimated from")
    if difference + margin <= 0:
        return None
    reach = curves.normal_point(1 - alpha) + curves.normal_point(power)
    if reach <= 0:
        return 1
    return math.ceil(units * (standard_error * reach / (difference + margin)) ** 2)


def _refuse_unless_positive(standard_error: float) -> None:
    if not 0 < standard_error < math.inf:
        raise Invalid(f"a standard error of {standard_error} cannot be read", hint="it must be positive and finite")


def _refuse_negative(margin: float) -> None:
    if not 0 <= margin < math.inf:
        raise Invalid(f"a margin of {margin} cannot be read", hint="0 asks for superiority, more for non-inferiority")
