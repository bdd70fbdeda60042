"""Waits for a database or a storage that does not answer: one that is started again takes nothing from who waits for it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from noria.core.clock import Stopwatch
from noria.core.errors import Unavailable

Answer = TypeVar("Answer")

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0
_log = logging.getLogger("noria.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, and how."""

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
            except Unavailable as problem:
                now = self.stopwatch.wall()
                if begun is None:
                    begun = now
                    _log.warning("%s; it is waited for, up to %.0f seconds", problem.sentence, self.seconds)
                if now - begun >= self.seconds:
                    raise
            self.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
