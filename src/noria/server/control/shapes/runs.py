"""Runs, with what they were given, what they recorded, and their attempts."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator

from noria.runs.model import AttemptState, RunState
from noria.server.control.shapes.shape import Shape


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _last_line(error: str | None) -> str | None:
    return error.strip().splitlines()[-1] if error and error.strip() else None


class RunLine(Shape):
    """A run: its state, `interrupted` where nobody holds it any more, where it came from, and what it has used."""

    id: str
    pipeline: str
    state: RunState
    key: str | None
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    error: str | None
    failed_step: str | None
    parent: str | None
    started_in: str | None
    priority: int | None
    wall_seconds: float
    cpu_seconds: float
    charged_cpu_seconds: float
    usd: float | None


class Runs(Shape):
    """Runs, newest first; ask again with `after` set to `next`, unless that is null."""

    items: Sequence[RunLine]
    next: str | None


class Param(Shape):
    """What a run was given, or a step has logged (`step`), in words; a secret is where it stands, never what it is."""

    name: str
    step: str
    words: str


class Metric(Shape):
    """A number that was recorded, at its place in a series; a text for NaN and infinity, which JSON has not."""

    name: str
    step: str
    attempt: int
    position: int
    value: Annotated[float | str, BeforeValidator(_number)]
    at: datetime


class Attempt(Shape):
    """One try of a step, as it ended; of its traceback the last line."""

    step: str
    attempt: int
    state: AttemptState
    started_at: datetime
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    usd: float | None
    error: Annotated[str | None, BeforeValidator(_last_line)]


class Run(RunLine):
    """A run, with its params, its metrics, and the attempts of its steps in the order in which they ended."""

    params: Sequence[Param]
    metrics: Sequence[Metric]
    attempts: Sequence[Attempt]
