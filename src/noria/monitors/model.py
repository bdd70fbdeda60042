"""Signals: what a monitor raises when something moved."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something moved by `value`, over `threshold`; `kind` is `drift:MEASURE` or `metric:NAME`, `subject` the loop watched."""

    subject: str
    kind: str
    value: float
    threshold: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedSignal:
    """A signal with its id and the time at which it was raised."""

    id: str
    signal: Signal
    raised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsWanted:
    """Which signals to list, newest first: about one loop, or about all."""

    subject: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The most drifted column and by how much, as a measure of `monitors.measures` has it."""

    column: str
    measure: str
    value: float
    rows: int
