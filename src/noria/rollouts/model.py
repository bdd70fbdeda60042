"""Nouns of rollouts: the stages of a candidate's way in, what was read at a look, and what was decided."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

SHADOW = "shadow"


class RolloutState(StrEnum):
    """Where a rollout is: still open, or how it ended."""

    OPEN = "open"
    FINISHED = "finished"
    """The candidate became the champion."""
    ABORTED = "aborted"
    """Traffic went back to the champion."""


class Next(StrEnum):
    """What a look decides."""

    WAIT = "wait"
    ADVANCE = "advance"
    FINISH = "finish"
    ABORT = "abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A share of the keys that the candidate answers, and how long it does at least; 0 is shadow."""

    weight: float
    lasts: timedelta

    @property
    def is_shadow(self) -> bool:
        """Say whether the candidate sees every request and answers none."""
        return self.weight == 0

    def __str__(self) -> str:
        return SHADOW if self.is_shadow else f"{self.weight:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One metric at one look: both means, their difference between its bounds, or why it cannot be read.

    `low` and `high` hold at all looks at once. More is worse. `keys` are the candidate's.
    """

    metric: str
    margin: float
    tolerance: float
    candidate: float | None = None
    champion: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    keys: int = 0
    unread: str = ""

    @property
    def is_worse(self) -> bool:
        """Say whether the candidate is surely worse by more than is tolerated."""
        return self.low is not None and self.low > self.tolerance

    @property
    def is_within(self) -> bool:
        """Say whether the candidate is surely worse by less than the margin, or not at all."""
        return self.high is not None and self.high < self.margin

    def words(self) -> str:
        """Return the numbers as a person would say them."""
        if self.unread:
            return f"{self.metric} cannot be read: {self.unread}"
        assert self.difference is not None
        return (
            f"{self.metric} {_spelled(self.candidate)} against the champion's {_spelled(self.champion)}: "
            f"{self.difference:+.4f} [{_spelled(self.low, '+')}, {_spelled(self.high, '+')}] on {self.keys:,} keys"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was decided at one look, by which readings, and why in words."""

    next: Next
    reasons: tuple[str, ...]
    readings: tuple[Reading, ...] = ()
    requests: int = 0
    """The candidate's answers, or shadow answers, at this stage."""
    shown: tuple[str, ...] = ()
    """Losses that were within their margin at this stage or an earlier one."""
    aborted_on: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values, for the record."""
        return msgspec.to_builtins(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Look":
        """Read it back."""
        return msgspec.convert(plain, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutsWanted:
    """Which rollouts to list, newest first: of one model, in one state, or of all."""

    model: str | None = None
    state: RolloutState | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One candidate's way in at one endpoint; `stage` counts from 0, `looks` over all stages.

    `look` is the last one, `passed` are the stages behind it with the looks that passed them, `exposed` is how many
    live requests the candidate had answered by the last look. `told` is what the facts say beside: whose it is.
    """

    id: str
    project: str
    endpoint: str
    model: str
    champion: int
    candidate: int
    state: RolloutState
    spec: Mapping[str, Any]
    stage: int
    began_at: datetime
    stage_at: datetime
    looks: int = 0
    look_due: datetime | None = None
    look: Mapping[str, Any] = field(default_factory=dict[str, Any])
    shown: tuple[str, ...] = ()
    exposed: int = 0
    passed: tuple[Mapping[str, Any], ...] = ()
    ended_at: datetime | None = None
    words: str = ""
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_open(self) -> bool:
        """Say whether the candidate is still on its way."""
        return self.state is RolloutState.OPEN


def _spelled(value: float | None, sign: str = "") -> str:
    return "?" if value is None or not math.isfinite(value) else f"{value:{sign}.4f}"
