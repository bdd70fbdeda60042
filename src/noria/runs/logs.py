"""What a step writes to standard output, to standard error and by `logging`: shown as before, and kept with its attempt.

While runs are executed, this process's two streams and its root logger pass everything on and let the attempt that
wrote it keep a copy. Which attempt that is, its thread knows; threads that a step starts itself are only passed on.
"""

import logging
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

MOST_CHARACTERS = 1 << 20
_CUT = f"\n... cut: this attempt wrote more than {MOST_CHARACTERS:,} characters, and the rest was not kept; return what is large\n"
_FLUSH_CHARACTERS = 1 << 16
_FLUSH_SECONDS = 1.0


class Log:
    """What one attempt has written and not yet handed on; at most a million characters of an attempt are kept."""

    def __init__(self, hand_on: Callable[[str], None] | None = None, wall: Callable[[], float] | None = None) -> None:
        self._hand_on = hand_on
        self._wall = wall
        self._written: list[str] = []
        self._waiting = 0
        self._kept = 0
        self._since: float | None = None

    def write(self, text: str) -> None:
        """Keep a text; what has waited for a second, or is large, is handed on so that others can follow it."""
        if self._kept > MOST_CHARACTERS:
            return
        self._kept += len(text)
        if self._kept > MOST_CHARACTERS:
            text = text[: len(text) - (self._kept - MOST_CHARACTERS)] + _CUT
        self._written.append(text)
        self._waiting += len(text)
        if self._hand_on is not None and self._is_due():
            self._hand_on(self.take())

    def take(self) -> str:
        """Return what has been written since the last time."""
        text, self._written, self._waiting = "".join(self._written), [], 0
        return text

    def _is_due(self) -> bool:
        if self._wall is None:
            return False
        now = self._wall()
        self._since = now if self._since is None else self._since
        if self._waiting < _FLUSH_CHARACTERS and now - self._since < _FLUSH_SECONDS:
            return False
        self._since = now
        return True


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
