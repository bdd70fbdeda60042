"""Loops, their cycles, what waits for a review, what they stumble over, and events."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from noria.loop.model import CycleState, LoopState, Outcome
from noria.server.control.shapes.shape import Shape


class Reason(Shape):
    """Why a cycle was opened."""

    trigger: str
    words: str


class CycleLine(Shape):
    """One turn of a loop, in short."""

    id: str
    loop: str
    number: int
    state: CycleState
    outcome: Outcome | None
    reasons: Sequence[Reason]
    opened_at: datetime
    settled_at: datetime | None
    words: str
    candidate: int | None
    champion: int | None
    promoted: int | None


class Cycle(CycleLine):
    """One turn of a loop with its evidence: the numbers, and the gate's verdict with reasons in words."""

    snapshot: str
    run: str | None
    deadline: datetime | None
    looks: int
    evidence: Mapping[str, Any]
    verdict: Mapping[str, Any]
    charged_cpu_seconds: float


class Cycles(Shape):
    """Cycles, newest first; `next` is the `after` of the page that follows, null at the end."""

    items: Sequence[CycleLine]
    next: str | None


class Loop(Shape):
    """A loop: what was declared, where in its circle it is, what has come since its last cycle.

    `trouble` says what its newest cycles came to nothing with, if one has failed or it happens again and again.
    """

    name: str
    state: LoopState
    dataset: str
    model: str
    turns_on: str
    champion: int | None
    cycles: int
    rows_since: int
    labels_since: int
    started_at: datetime
    started_by: str
    open_cycle: CycleLine | None
    trouble: str | None
    spec: Mapping[str, Any]


class Loops(Shape):
    """All loops, by name."""

    items: Sequence[Loop]


class Stumble(Shape):
    """What a loop could not do because its code raised; set aside if `retry_at` is null."""

    loop: str
    over: str
    what: str
    tries: int
    error: str
    trace: str
    began_at: datetime
    at: datetime
    retry_at: datetime | None
    cycle: str | None


class Stumbles(Shape):
    """What loops have stumbled over and not got over, oldest first."""

    items: Sequence[Stumble]


class Review(Shape):
    """A candidate that waits for a person, until when, and what the gate said of it."""

    loop: str
    cycle: str
    number: int
    candidate: int
    champion: int | None
    until: datetime
    because: Sequence[str]
    verdict: Sequence[str]


class Reviews(Shape):
    """The candidates that wait, the most urgent first."""

    items: Sequence[Review]


class Heard(Shape):
    """An event was taken note of; `is_new` is false for one that was heard before."""

    id: str
    source: str
    is_new: bool
