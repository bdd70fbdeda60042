"""What a step writes to standard output, to standard error and by `logging`: shown as before, and kept with its attempt.

While runs are executed, this process's two streams and its root logger pass everything on and let the attempt that
wrote it keep a copy. Which attempt that is, its thread knows; threads and processes that a step starts itself are only
passed on.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

MOST_CHARACTERS = 1 << 20
_CUT = f"\n... cut: this attempt wrote more than {MOST_CHARACTERS:,} characters, and the rest was not kept; return what is large\n"
_FLUSH_CHARACTERS = 1 << 16
_FLUSH_SECONDS = 1.0


class Log:
    """What one attempt has written and not yet handed on; at most a million characters of an attempt are kept.

    With a `hand_on` others can follow it: a text waits for a second, or until much has come together.
    """

    def __init__(self, hand_on: Callable[[str], None] | None = None, wall: Callable[[], float] | None = None) -> None:
        self._hand_on = hand_on
        self._wall = wall
        self._written: list[str] = []
        self._waiting = 0
        self._kept = 0
        self._since: float | None = None
        self._lock = threading.RLock()
        self._process = os.getpid()

    def write(self, text: str) -> None:
        """Keep a text, and hand on what is due; what a step has forked is only passed on, as its threads are."""
        if self._kept > MOST_CHARACTERS or os.getpid() != self._process:
            return
        with self._lock:
            self._kept += len(text)
            if self._kept > MOST_CHARACTERS:
                text = text[: len(text) - (self._kept - MOST_CHARACTERS)] + _CUT
            if not self._written and self._hand_on is not None:
                _late.add(self)
            self._written.append(text)
            self._waiting += len(text)
            if self._is_due():
                self.hand_on()

    def hand_on(self) -> None:
        """Hand on what has been written since the last time."""
        with self._lock:
            if self._written and self._hand_on is not None:
                self._hand_on(self.take())

    def take(self) -> str:
        """Return what has been written since the last time."""
        with self._lock:
            text, self._written, self._waiting = "".join(self._written), [], 0
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


class _Passing:
    """A stream that passes everything on, and lets the running attempt keep it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Pass a text on."""
        current = log.get()
        if current is not None:
            current.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401 - the stream's own signature
        """Pass several texts on."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


class _Keeping(logging.Handler):
    """Keeps log records; where nobody else shows warnings, it does so as Python itself would."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        current = log.get()
        if current is not None:
            current.write(f"{record.levelname} {record.name}: {record.getMessage()}\n")
        if logging.root.handlers == [self] and record.levelno >= logging.WARNING and logging.lastResort is not None:
            kept = log.set(None)  # it is kept already
            try:
                logging.lastResort.handle(record)
            finally:
                log.reset(kept)


_lock = threading.Lock()
_users = 0
_undo: Callable[[], None] | None = None


@contextmanager
def kept() -> Generator[None]:
    """Let attempts keep what they write, as long as any thread of this process is in here."""
    global _users, _undo  # noqa: PLW0603 - the streams are the process's own
    with _lock:
        _users += 1
        if _users == 1:
            _undo = _install()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _undo is not None:
                _undo()


def _install() -> Callable[[], None]:
    before = sys.stdout, sys.stderr
    passing = tuple(cast("TextIO", _Passing(stream)) for stream in before)
    handler = _Keeping()
    sys.stdout, sys.stderr = passing
    logging.root.addHandler(handler)

    def undo() -> None:
        logging.root.removeHandler(handler)
        if sys.stdout is passing[0]:
            sys.stdout = before[0]
        if sys.stderr is passing[1]:
            sys.stderr = before[1]

    return undo
