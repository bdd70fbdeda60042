"""An interval: what was estimated, and how far off it may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with the bounds that leave `tail` of the chance outside on each side.

    With tail=0.025 it is the usual 95% interval; with tail=0.05 `low` is a one-sided 95% lower bound.
    `units` is how many independent units (groups, or rows) it rests on.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    tail: float
    units: int
