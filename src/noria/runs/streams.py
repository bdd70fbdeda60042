"""What a step writes to standard output, to standard error and by `logging`: shown as before, and kept with its attempt.

While runs are executed, this process's two streams and its root logger pass everything on and let the attempt that
wrote it keep a copy. Which attempt that is, its thread knows, and so do the threads that it starts (`inheriting`). What
processes write, and code that is no Python, comes by `output`.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from noria.core.masking import masked
from noria.runs import inheriting, output
from noria.runs.logs import log


class _Passing:
    """A stream that passes everything on, and lets the running attempt keep it; `to` is where it is passed on."""

    def __init__(self, stream: TextIO, to: TextIO) -> None:
        self._stream = stream
        self._to = to
        self._process = os.getpid()

    def write(self, text: str) -> int:
        """Pass a text on; one of a process that was forked goes where that of other processes goes."""
        if os.getpid() != self._process:
            return self._stream.write(text)
        output.drain()
        current = log.get()
        if current is not None:
            current.write(text)
        return self._to.write(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401 - the stream's own signature
        """Pass several texts on."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on what is still held."""
        (self._to if os.getpid() == self._process else self._stream).flush()

    def isatty(self) -> bool:
        """Say whether a terminal shows it."""
        return self._to.isatty()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


class _Masking:
    """A stream that shows no secret which was revealed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, masked."""
        self._stream.write(masked(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


class _Keeping(logging.Handler):
    """Keeps log records; where nobody else shows warnings, it does so as Python itself would."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        current = log.get()
        if current is not None:
            output.drain()
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
    for stream in before:
        _flush(stream)
    opened: dict[int, TextIO] = {}
    output.begin_capture([lambda: [_flush(stream) for stream in opened.values()]])
    to = [cast("TextIO", _Masking(_beside(stream, opened))) for stream in before]
    passing = tuple(cast("TextIO", _Passing(*pair)) for pair in zip(before, to, strict=True))
    handler = _Keeping()
    restored = _led_past(before, passing)
    sys.stdout, sys.stderr = passing
    logging.root.addHandler(handler)
    stop_inheriting = inheriting.install()

    def undo() -> None:
        stop_inheriting()
        logging.root.removeHandler(handler)
        for stream in (*before, *opened.values()):
            _flush(stream)
        output.end_capture()
        if sys.stdout is passing[0]:
            sys.stdout = before[0]
        if sys.stderr is passing[1]:
            sys.stderr = before[1]
        restored()

    return undo


def _beside(stream: TextIO, opened: dict[int, TextIO]) -> TextIO:
    """Return a stream that goes where this one went before its descriptor was led elsewhere; any other one is as it is."""
    try:
        number = output.kept_of(stream.fileno())
    except (OSError, ValueError, AttributeError):  # no file behind it
        return stream
    if number is None:
        return stream
    if number not in opened:
        opened[number] = open(  # noqa: SIM115 - it is open already, and stays so
            number, "w", buffering=1, encoding=stream.encoding, errors=stream.errors, newline="", closefd=False
        )
    return opened[number]


def _led_past(before: tuple[TextIO, TextIO], passing: tuple[TextIO, ...]) -> Callable[[], None]:
    """Have log handlers that write to the two streams write past them, for what they say is kept by its record."""
    past = {id(stream): cast("Any", each)._to for stream, each in zip(before, passing, strict=True)}  # noqa: SLF001 - of this file
    loggers = [
        logging.root,
        *(each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)),
    ]
    handlers: list[Any] = [handler for logger in loggers for handler in logger.handlers]
    led = [(handler, handler.stream) for handler in handlers if id(getattr(handler, "stream", None)) in past]
    for handler, stream in led:
        handler.stream = past[id(stream)]

    def restore() -> None:
        for handler, stream in led:
            handler.stream = stream

    return restore


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(Exception):  # closed, or no stream at all
        stream.flush()
