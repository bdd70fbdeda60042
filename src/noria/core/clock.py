"""Time as an argument: clocks say when it is, stopwatches say how long it took."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

from noria.core.errors import Invalid


class Clock(Protocol):
    """Says when it is, always in UTC."""

    def now(self) -> datetime:
        """Return the present moment as an aware datetime in UTC; never earlier than the answer before."""
        ...


class RealClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that asks the machine


class SimulatedClock:
    """A clock that moves only when told; months of it pass in seconds."""

    def __init__(self, start: datetime) -> None:
        self._now = as_utc(start)
        self._lock = threading.Lock()

    @classmethod
    def at(cls, moment: str) -> "SimulatedClock":
        """Return a clock that stands at a moment in ISO 8601, such as `2026-03-01T08:00:00Z`."""
        return cls(datetime.fromisoformat(moment))

    def now(self) -> datetime:
        """Return the simulated moment."""
        return self._now

    def advance_to(self, moment: datetime) -> None:
        """Move forward to `moment`; standing still is allowed, going back raises `Invalid`."""
        with self._lock:
            moment = as_utc(moment)
            if moment < self._now:
                raise Invalid(f"a clock does not go back from {self._now.isoformat()} to {moment.isoformat()}")
            self._now = moment


class Stopwatch(Protocol):
    """Measures durations, in seconds."""

    def wall(self) -> float:
        """Return seconds on a steady clock; only differences mean anything."""
        ...

    def cpu(self) -> float:
        """Return CPU seconds this process has used so far, all threads together."""
        ...

    def thread_cpu(self) -> float:
        """Return CPU seconds that the calling thread has used so far."""
        ...


class MachineStopwatch:
    """The machine's steady clock and this process's CPU time."""

    def wall(self) -> float:
        """Return seconds on the machine's steady clock."""
        return time.perf_counter()  # noqa: TID251 - the one stopwatch that asks the machine

    def cpu(self) -> float:
        """Return CPU seconds of this process."""
        return time.process_time()  # noqa: TID251 - the one stopwatch that asks the machine

    def thread_cpu(self) -> float:
        """Return CPU seconds of the calling thread."""
        return time.thread_time()


def as_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; one without a zone is refused, for nobody can know what it means."""
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise Invalid(
            f"{moment.isoformat()} has no time zone", hint="give an aware datetime, for example in datetime.UTC"
        )
    return moment.astimezone(UTC)
