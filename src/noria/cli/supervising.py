"""Runs several programs as one: prints what they say, starts those anew that die, ends all of them together."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from noria.core.clock import Stopwatch
from noria.settings import environment

_MOST_QUICK_DEATHS = 5
_QUICK_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process to keep running."""

    name: str
    command: Sequence[str]


def pause_before(restart: int, *, has_lived: bool) -> float | None:
    """Return how long to wait before starting a program anew that died quickly so many times in a row; None: give up.

    What has never run here cannot be meant so. What has run goes on being tried: the others must not end with it.

    >>> [pause_before(count, has_lived=False) for count in (0, 1, 4, 5)]
    [0.0, 0.1, 0.8, None]
    >>> [pause_before(count, has_lived=True) for count in (0, 1, 5, 50)]
    [0.0, 0.1, 1.6, 10.0]
    """
    if restart >= _MOST_QUICK_DEATHS and not has_lived:
        return None
    doublings = min(restart - 1, 16)
    return 0.0 if restart == 0 else min(_FIRST_PAUSE_SECONDS * 2**doublings, _LONGEST_PAUSE_SECONDS)


@dataclass(slots=True, kw_only=True)
class _Child:
    """A program, and the process that runs it now."""

    program: Program
    process: "subprocess.Popen[str] | None" = None
    quick_deaths: int = 0
    has_lived: bool = False
    thread: threading.Thread | None = field(default=None, repr=False)


class Supervisor:
    """Keeps programs running until `ending` is set; it sets it itself when one of them cannot be made to run at all.

    `said` is called with a program's name and a line of its output. Each child's standard input is a pipe whose other
    end is held here, so that it can notice when this process is gone.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        said: Callable[[str, str], None],
        ending: threading.Event,
        stopwatch: Stopwatch,
    ) -> None:
        self._children = [_Child(program=program) for program in programs]
        self._said = said
        self._stopwatch = stopwatch
        self._ending = ending
        self._starting = threading.Lock()
        self.failure: str | None = None

    def start(self) -> None:
        """Start all programs."""
        for child in self._children:
            child.thread = threading.Thread(target=self._keep, args=(child,), name=child.program.name, daemon=True)
            child.thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it ends, or so long; return whether it ends."""
        return self._ending.wait(seconds)

    def end(self) -> None:
        """Ask all programs to end, and end those by force that have not within seconds; calling it twice is fine."""
        self._ending.set()
        for child in self._children:
            self._signal(child, signal.SIGTERM)
        until = self._stopwatch.wall() + _GRACE_SECONDS
        for child in self._children:
            if child.thread is not None:
                child.thread.join(max(0.0, until - self._stopwatch.wall()))
                self._signal(child, signal.SIGKILL)
                child.thread.join()

    def processes(self) -> Mapping[str, int]:
        """Return the process id of each program that runs now."""
        return {
            child.program.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }

    def _keep(self, child: _Child) -> None:
        """Run the program, again and again, until all is to end; a machine that lacks something does not stop that."""
        while not self._ending.is_set():
            begun = self._stopwatch.wall()
            try:
                status = self._run(child)
            except OSError as problem:
                self._say(child.program.name, f"could not be run: {problem}; tried again")
                self._ending.wait(_LONGEST_PAUSE_SECONDS)
                continue
            if self._ending.is_set() or status is None:
                return
            lived = self._stopwatch.wall() - begun
            was_killed = status == -signal.SIGKILL  # by a person, or for want of memory: no fault of its own
            child.has_lived |= was_killed or lived >= _QUICK_SECONDS
            child.quick_deaths = child.quick_deaths + 1 if lived < _QUICK_SECONDS else 0
            pause = pause_before(child.quick_deaths, has_lived=child.has_lived)
            if pause is None:
                self.failure = f"{child.program.name} ended {child.quick_deaths} times in a row right after its start"
                self._say(child.program.name, f"ended again ({how(status)}); not started any more")
                self._ending.set()
                return
            self._say(child.program.name, f"ended ({how(status)}) after {lived:.1f} s; starts again")
            self._ending.wait(pause)

    def _run(self, child: _Child) -> int | None:
        """Run the program once, to its end; None if all was to end before it could begin."""
        with self._starting:
            if self._ending.is_set():
                return None
            child.process = subprocess.Popen(  # noqa: S603 - our own command lines
                child.program.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment(OMP_WAIT_POLICY="PASSIVE"),  # threads that spin would take the others' turns
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which lets them end in order
            )
        process = child.process
        assert process.stdout is not None
        assert process.stdin is not None
        for line in process.stdout:
            self._say(child.program.name, line.rstrip("\n"))
        status = process.wait()
        process.stdin.close()
        process.stdout.close()
        return status

    def _say(self, program: str, words: str) -> None:
        """Pass words on; a terminal that is gone, or a full disk, is no reason to leave a program alone."""
        with contextlib.suppress(OSError, ValueError):
            self._said(program, words)

    def _signal(self, child: _Child, number: signal.Signals) -> None:
        with self._starting:
            if child.process is not None and child.process.poll() is None:
                os.kill(child.process.pid, number)


def how(status: int) -> str:
    """Say how a process ended."""
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
