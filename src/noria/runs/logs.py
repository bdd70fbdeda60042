"""What one attempt has written, kept until it is handed on. Where the words come from: see `streams` and `output`."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

from noria.core.masking import masked, masked_so_far

MOST_CHARACTERS = 1 << 20
_CUT = f"\n... cut: this attempt wrote more than {MOST_CHARACTERS:,} characters, and the rest was not kept; return what is large\n"
_FLUSH_CHARACTERS = 1 << 16
_FLUSH_SECONDS = 1.0


class Log:
    """What one attempt has written and not yet handed on; at most a million characters of an attempt are kept.

    With a `hand_on` others can follow it: a text waits for a second, or until much has come together. Secrets are
    masked, also one that comes in pieces.
    """

    def __init__(self, hand_on: Callable[[str], None] | None = None, wall: Callable[[], float] | None = None) -> None:
        self._hand_on = hand_on
        self._wall = wall
        self._written: list[str] = []
        self._held = ""
        self._waiting = 0
        self._kept = 0
        self._since: float | None = None
        self._lock = threading.RLock()
        self._process = os.getpid()

    def write(self, text: str) -> None:
        """Keep a text, and hand on what is due; what a step has forked writes elsewhere, see `streams`."""
        if self._add(text) and self._is_due():
            self.hand_on()

    def add(self, text: str) -> None:
        """Keep a text, and leave it to others to hand it on."""
        self._add(text)

    def _add(self, text: str) -> bool:
        if self._kept > MOST_CHARACTERS or os.getpid() != self._process:
            return False
        text = masked(text)
        with self._lock:
            self._kept += len(text)
            if self._kept > MOST_CHARACTERS:
                text = text[: len(text) - (self._kept - MOST_CHARACTERS)] + _CUT
            if not self._written and self._hand_on is not None:
                _late.add(self)
            self._written.append(text)
            self._waiting += len(text)
        return True

    def hand_on(self, *, to_the_end: bool = False) -> None:
        """Hand on what has been written since the last time; unless it is all, the beginning of a secret waits for more."""
        with self._lock:
            if self._hand_on is None or not (self._written or self._held):
                return
            text = self.take()
            if not to_the_end:
                text, self._held = masked_so_far(text)
            if text:
                self._hand_on(text)

    def take(self) -> str:
        """Return all that has been written since the last time."""
        with self._lock:
            text = masked("".join([self._held, *self._written]))
            self._held, self._written, self._waiting = "", [], 0
            return text

    def _is_due(self) -> bool:
        if self._wall is None or self._hand_on is None:
            return False
        now = self._wall()
        self._since = now if self._since is None else self._since
        if self._waiting < _FLUSH_CHARACTERS and now - self._since < _FLUSH_SECONDS:
            return False
        self._since = now
        return True


class _Late:
    """Hands on, from a thread of its own, what steps wrote before they fell silent."""

    def __init__(self) -> None:
        self._logs: set[Log] = set()
        self._lock = threading.Lock()
        self._is_running = False

    def add(self, written: Log) -> None:
        """Look at a log a second from now."""
        with self._lock:
            self._logs.add(written)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="noria-words", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_FLUSH_SECONDS)
            with self._lock:
                logs, self._logs = self._logs, set()
                if not logs:
                    self._is_running = False
                    return
            for written in logs:
                with contextlib.suppress(Exception):  # a lost lease, a closed pipe: the step's own thread hears of it
                    written.hand_on()


_late = _Late()


log: ContextVar[Log | None] = ContextVar("noria_log", default=None)
"""Where the running attempt's words are kept; None outside a run."""
