"""What a comparison found and what a gate said: numbers with their intervals, and reasons in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class Outcome(StrEnum):
    """What a gate says."""

    PASSED = "passed"
    FAILED = "failed"
    UNSURE = "unsure"


class Rival(StrEnum):
    """What a candidate is held against."""

    CHAMPION = "champion"
    ANCHOR = "anchor"
    BASE_RATE = "base rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate and rival on the same rows; `gain` is positive where the candidate is better.

    `low` and `high` leave `tail` outside on each side; they rest on `units` blocks that were resampled whole.
    """

    metric: str
    rival: Rival
    candidate: float
    other: float
    gain: float
    low: float
    high: float
    standard_error: float
    tail: float
    units: int

    def words(self) -> str:
        """Return the numbers as a person would say them."""
        return (
            f"{self.metric} {self.candidate:.4f} against the {self.rival.value}'s {self.other:.4f}: "
            f"{self.gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceComparison:
    """The rows that share one value of a column; without a comparison the slice was too small to judge."""

    column: str
    value: str
    rows: int
    comparison: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Rows on which candidate and champion disagree at the threshold 0.5 (Yan et al. 2020, arXiv 2011.09161)."""

    negative: int
    """The champion was right and the candidate is wrong."""
    positive: int
    """The champion was wrong and the candidate is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What judging found: on which rows, against whom, and what could not be read."""

    rival: Rival
    rows: int
    since: datetime
    until: datetime
    comparisons: tuple[Comparison, ...] = ()
    slices: tuple[SliceComparison, ...] = ()
    anchor: Comparison | None = None
    flips: Flips | None = None
    unread: tuple[str, ...] = ()

    def of(self, metric: str) -> Comparison | None:
        """Return the comparison by a metric, if there is one."""
        return next((found for found in self.comparisons if found.metric == metric), None)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values, for the record."""
        return msgspec.to_builtins(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Evidence":
        """Read it back."""
        return msgspec.convert(plain, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate said, why, and for an unsure one how many more labels would settle it (None: unknown)."""

    outcome: Outcome
    reasons: tuple[str, ...]
    power: float | None = None
    more_labels: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values, for the record."""
        return msgspec.to_builtins(self)
