"""Pure measures and decisions of monitors: how far rows have drifted, and when a signal is worth raising."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from noria.monitors.measures import MEASURES
from noria.monitors.model import Drift

_REARM = 0.8
"""A signal is raised again only after its value fell below this share of the threshold."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What rows are held against: of each column what a measure keeps of it."""

    measure: str
    kept: Mapping[str, Any]


def reference_of(rows: pl.DataFrame, *, columns: Sequence[str], measure: str) -> Reference:
    """Return the reference of those columns for which the measure means something."""
    found = MEASURES[measure]
    return Reference(measure, {name: found.kept(rows[name]) for name in columns if found.reads(rows[name])})


def drift(reference: Reference, current: pl.DataFrame) -> Drift | None:
    """Return the column that has drifted most; None when there is nothing to compare."""
    measure = MEASURES[reference.measure]
    found = {name: measure.of(kept, current[name]) for name, kept in reference.kept.items()} if current.height else {}
    found = {name: value for name, value in found.items() if not np.isnan(value)}
    if not found:
        return None
    column = max(found, key=lambda name: found[name])
    return Drift(column=column, measure=reference.measure, value=found[column], rows=current.height)


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
