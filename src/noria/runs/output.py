"""What processes that a step starts, and code that is no Python, write to this process's standard output and error.

While runs are executed, both descriptors lead to files in memory, which whoever is started inherits. What stands in them
is passed on to where it would have gone, and kept with the attempt that runs; of several at a time nobody can tell whose
it is, so that their runs keep it, and the words say so. A file and no pipe: who writes to it never waits for this
process, and is not ended by a signal when this process is.
"""

import atexit
import codecs
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from noria.core.masking import masked_bytes
from noria.runs.logs import Log
from noria.runs.recorder import Recorder

_LOOK_EVERY_SECONDS, _IDLE_SECONDS = 0.05, 1.0
_AT_A_TIME = 1 << 20
_HOLE_BYTES = 8 << 20
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02
_STANDARD = (1, 2)
_MOST_NAMED = 5

_lock = threading.RLock()
_running: list[tuple[int, Recorder]] = []
"""The attempts that run in this process, each with the thread that began it, in the order in which they began."""
_of_runs: dict[str, Log] = {}
"""Where the runs that are executed here keep what belongs to none of their attempts alone."""
_captures: dict[int, "_Capture"] = {}
_flushers: list[Callable[[], object]] = []
_is_on = False
_is_draining = False


class _Capture:
    """One descriptor of this process, led to a file in memory; `kept` is where it led before."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.kept = os.dup(number)
        os.set_inheritable(self.kept, False)  # noqa: FBT003 - the call's own signature
        self._file = _endless_file()
        self._read_to = 0
        self._hole_to = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def begin(self) -> None:
        """Lead the descriptor to the file."""
        os.dup2(self.number, self.kept, inheritable=False)
        os.dup2(self._file, self.number)

    def end(self) -> None:
        """Lead it to where it led before."""
        os.dup2(self.kept, self.number)

    def is_new(self) -> bool:
        """Say whether anything was written since the last time."""
        size = os.lseek(self._file, 0, os.SEEK_END)  # who appends looks at no position
        if size < self._read_to:  # somebody has opened it anew and cut it, as `tee /dev/stderr` does
            self._read_to = 0
        return size > self._read_to

    def take(self) -> str:
        """Return what was written since the last time, a piece of it where that is much, and pass it on."""
        content = os.pread(self._file, _AT_A_TIME, self._read_to)
        self._read_to += len(content)
        if self._read_to - self._hole_to >= _HOLE_BYTES:
            _punch_hole(self._file, self._read_to)
            self._hole_to = self._read_to
        content = masked_bytes(content)
        with contextlib.suppress(OSError):  # nobody reads there any more
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self.kept, rest) :]
        return self._decoder.decode(content)


def kept_of(number: int) -> int | None:
    """Return a descriptor that leads where one of the standard two led before, None where it still does."""
    capture = _captures.get(number)
    return capture.kept if capture is not None and _is_on else None


def begin_capture(flushers: Iterable[Callable[[], object]]) -> None:
    """Lead both descriptors to files; `flushers` are called before anything is passed on."""
    global _is_on  # noqa: PLW0603 - the descriptors are the process's own
    if sys.platform == "win32":
        return
    with _lock:
        if not _captures:
            _open_captures()
        _flushers[:] = flushers
        for capture in _captures.values():
            capture.begin()
        _is_on = True


def end_capture() -> None:
    """Lead both descriptors to where they led before, once what stands in the files is kept and passed on."""
    global _is_on  # noqa: PLW0603 - see begin_capture
    with _lock:
        _drain()
        if _is_on:
            for capture in _captures.values():
                capture.end()
        _is_on = False
        _flushers.clear()


def begin(told: Recorder) -> None:
    """Keep what is written from now on with an attempt, which this thread is about to make.

    What was written between two steps, by the pipeline itself, is drained when the pipeline has its turn.
    """
    with _lock:
        if _running:
            _drain()
        _running.append((threading.get_ident(), told))


def end(told: Recorder) -> None:
    """Keep what was written until now with the attempt, and nothing more."""
    with _lock:
        if _captures:
            _flush_c()
            _drain()
        if _running and _running[-1][1] is told:
            _running.pop()
        else:
            _running[:] = [each for each in _running if each[1] is not told]


def begin_run(run: str, log: Log) -> None:
    """Say where a run keeps what belongs to none of its attempts alone."""
    _of_runs[run] = log


def end_run(run: str) -> None:
    """Keep nothing more with a run."""
    drain()
    _of_runs.pop(run, None)


def drain() -> None:
    """Keep and pass on what was written since the last time."""
    if any(capture.is_new() for capture in tuple(_captures.values())):
        with _lock:
            _drain()


def _drain() -> None:
    global _is_draining  # noqa: PLW0603 - see begin_capture
    if _is_draining:  # what is passed on has written something itself
        return
    _is_draining = True
    try:
        for capture in _captures.values():
            while capture.is_new():
                for flush in _flushers:
                    flush()
                _keep(capture.take())
    finally:
        _is_draining = False


def _keep(text: str) -> None:
    """Keep a text with the only attempt that runs, the innermost in its thread; with the runs where there are several."""
    innermost = dict(_running)
    if len(innermost) == 1:
        next(iter(innermost.values())).log.add(text)
        return
    for run in dict.fromkeys(told.run for told in innermost.values()):
        log = _of_runs.get(run or "")
        if log is not None:
            steps = [told.step for told in innermost.values() if told.run == run]
            more = ", ..." if len(steps) > _MOST_NAMED else ""
            log.add(
                f"[written by a process, or by code that is no Python, while {', '.join(steps[:_MOST_NAMED])}{more} ran]\n{text}"
            )


def _open_captures() -> None:
    for number in _STANDARD:
        with contextlib.suppress(OSError):  # closed, as a service's may be: nobody can write to it
            _captures[number] = _Capture(number)
    os.register_at_fork(after_in_child=_forget)
    atexit.register(drain)
    threading.Thread(target=_look, name="noria-output", daemon=True).start()


def _forget() -> None:
    """Leave it to the process that was forked to pass on and keep what this one writes."""
    global _is_on, _is_draining, _lock  # noqa: PLW0603 - see begin_capture
    _lock = threading.RLock()
    _captures.clear()
    _running.clear()
    _of_runs.clear()
    _flushers.clear()
    _is_on = _is_draining = False


def _look() -> None:
    """Pass on what is written while nobody in this process writes anything; at leisure when no run is executed."""
    while True:
        time.sleep(_LOOK_EVERY_SECONDS if _is_on else _IDLE_SECONDS)
        with contextlib.suppress(OSError):
            drain()


def _endless_file() -> int:
    """Return a file without a name to whose end everybody writes: in memory, where the system has such."""
    if hasattr(os, "memfd_create"):
        import fcntl  # noqa: PLC0415 - where there is memfd_create, there it is

        number = os.memfd_create("noria-output")
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)
        return number
    with tempfile.TemporaryFile("a+b", buffering=0) as file:
        return os.dup(file.fileno())


def _punch_hole(file: int, size: int) -> None:
    """Give back the memory of what has been read."""
    import ctypes  # noqa: PLC0415 - only where much is written

    with contextlib.suppress(AttributeError, OSError):
        _c().fallocate(file, _KEEP_SIZE_AND_PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(size))


def _flush_c() -> None:
    """Have C's own streams write what they have collected."""
    flush = _fflush()
    if flush is not None:
        flush(None)


@cache
def _fflush() -> Callable[[None], object] | None:
    try:
        return _c().fflush
    except (AttributeError, OSError):
        return None


@cache
def _c() -> Any:  # noqa: ANN401 - a library has whatever it has
    import ctypes  # noqa: PLC0415 - 3 ms that a program which only looks at runs does not pay

    return ctypes.CDLL(None)
