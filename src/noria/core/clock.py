"""Time as an argument: clocks say when it is, stopwatches say how long it took."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from noria.core.errors import Invalid

_LONGEST_STANDSTILL_SECONDS = 60.0
_log = logging.getLogger("noria.clock")


class Clock(Protocol):
    """Says when it is, always in UTC."""

    def now(self) -> datetime:
        """Return the present moment as an aware datetime in UTC.

        Never earlier than the answer before, unless the clock was set back and stays so. What is stored may therefore
        lie ahead of the clock: after a restart, and where another machine wrote it.
        """
        ...


def _machine_time() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one place that asks the machine


class RealClock:
    """The machine's clock, without its small steps back.

    When the machine's clock is set back, the answers stand still until it has caught up, for a minute at most. What
    is still behind then was set right, such as by NTP after a start with a wrong clock: it is followed, with a warning
    in the log. Safe to share between threads.
    """

    def __init__(
        self,
        *,
        machine: Callable[[], datetime] = _machine_time,
        steady: Callable[[], float] = time.monotonic,  # noqa: TID251 - the one clock that asks the machine
    ) -> None:
        self._machine = machine
        self._steady = steady
        self._latest = machine()
        self._stands_since: float | None = None
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the machine's time in UTC, or the answer before while the machine's time is behind it."""
        with self._lock:
            found = self._machine()
            if found >= self._latest or self._is_set_right(found):
                self._latest, self._stands_since = found, None
            return self._latest

    def _is_set_right(self, found: datetime) -> bool:
        """Say whether the machine's time has been behind for so long that it is to be followed."""
        passed = self._steady()
        if self._stands_since is None:
            self._stands_since = passed
        if passed - self._stands_since < _LONGEST_STANDSTILL_SECONDS:
            return False
        _log.warning("the machine's clock was set back from %s to %s", self._latest.isoformat(), found.isoformat())
        return True


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
