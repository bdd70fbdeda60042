"""Pure measures and decisions of monitors: how far rows have drifted, and when a signal is worth raising."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from noria.monitors.model import Drift
from noria.stats import distances

_REARM = 0.8
"""A signal is raised again only after its value fell below this share of the threshold."""


def drift(reference: pl.DataFrame, current: pl.DataFrame, *, columns: Sequence[str]) -> Drift | None:
    """Return the column that has drifted most; None when there is nothing to compare.

    Numbers and times of day are binned by the reference's quantiles, everything else is counted by value; missing
    values are a bin of their own.
    """
    if not columns or reference.height == 0 or current.height == 0:
        return None
    found = [(column, _psi(reference[column], current[column])) for column in columns]
    column, value = max(found, key=lambda pair: pair[1])
    return Drift(column=column, psi=value, rows=current.height)


def _psi(reference: pl.Series, current: pl.Series) -> float:
    if reference.dtype.is_numeric():
        before, now = (side.cast(pl.Float64).fill_null(float("nan")).to_numpy() for side in (reference, current))
        return distances.psi_excess(before, now)
    counts = [_counts(side) for side in (reference, current)]
    return distances.psi_excess_of_counts(*distances.aligned(counts[0], counts[1]))


def _counts(values: pl.Series) -> dict[str, int]:
    counted = values.cast(pl.String).fill_null("missing").alias("value").value_counts()
    return dict(zip(counted["value"].to_list(), counted["count"].to_list(), strict=True))


def crosses(*, value: float, threshold: float, is_up: bool) -> tuple[bool, bool]:
    """Return whether to raise a signal now, and whether it stands from now on.

    It is raised when the value reaches the threshold, and stands until the value has fallen well below it.

    >>> crosses(value=0.25, threshold=0.2, is_up=False)
    (True, True)
    >>> crosses(value=0.25, threshold=0.2, is_up=True)
    (False, True)
    >>> crosses(value=0.1, threshold=0.2, is_up=True)
    (False, False)
    """
    if not np.isfinite(value):
        return False, is_up
    if value >= threshold:
        return not is_up, True
    return False, is_up and value >= _REARM * threshold
