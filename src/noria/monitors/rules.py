"""Pure measures and decisions of monitors: how far rows have drifted, and when a signal is worth raising."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from noria.monitors.model import Drift
from noria.stats import distances

Floats = NDArray[np.float64]

_REARM = 0.8
"""A signal is raised again only after its value fell below this share of the threshold."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What rows are held against: for each number its bins and how full they were, for each text its counts."""

    numbers: Mapping[str, tuple[Floats, Floats]]
    texts: Mapping[str, Mapping[str, int]]


def reference_of(rows: pl.DataFrame, *, columns: Sequence[str]) -> Reference:
    """Return the reference of these columns: quantile bins of numbers, counts of everything else."""
    numbers = {name: _floats(rows[name]) for name in columns if rows[name].dtype.is_numeric()}
    return Reference(
        {name: _binned(values) for name, values in numbers.items()},
        {name: _counts(rows[name]) for name in columns if name not in numbers},
    )


def drift(reference: Reference, current: pl.DataFrame) -> Drift | None:
    """Return the column that has drifted most; None when there is nothing to compare.

    Missing values are a bin of their own.
    """
    found = {name: _number_psi(*binned, current[name]) for name, binned in reference.numbers.items()}
    found |= {name: _text_psi(counts, current[name]) for name, counts in reference.texts.items()}
    if not found or current.height == 0:
        return None
    column = max(found, key=lambda name: found[name])
    return Drift(column=column, psi=found[column], rows=current.height)


def _binned(values: Floats) -> tuple[Floats, Floats]:
    edges = distances.edges_of(values)
    return edges, distances.depths(values, edges)


def _number_psi(edges: Floats, before: Floats, column: pl.Series) -> float:
    return distances.psi_excess_of_counts(before, distances.depths(_floats(column), edges))


def _text_psi(before: Mapping[str, int], column: pl.Series) -> float:
    return distances.psi_excess_of_counts(*distances.aligned(before, _counts(column)))


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


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
