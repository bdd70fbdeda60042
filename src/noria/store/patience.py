"""Waits for a database that does not answer: one that is started again takes nothing away from who waits for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from noria.core.clock import Stopwatch
from noria.core.errors import Unavailable

Answer = TypeVar("Answer")

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for the database, and how."""

    seconds: float
    sleep: Callable[[float], None]
    stopwatch: Stopwatch

    def ask(self, work: Callable[[bool], Answer]) -> Answer:
        """Do the work, again and again while it raises `Unavailable`, until it is done or patience has run out.

        The work is told whether it is done again. What it did before may then have been committed, for a connection
        that breaks in a commit never tells: it looks for what is its own, and leaves that as it is.
        """
        begun: float | None = None
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                return work(begun is not None)
            except Unavailable:
                now = self.stopwatch.wall()
                begun = now if begun is None else begun
                if now - begun >= self.seconds:
                    raise
            self.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
