"""The process of one run: `noria work` starts one for each, which imports the run's own code and no other.

So two runs with two versions of a module do not meet, a crash costs one run, a cancelled step can be ended whatever
it does, and the memory that a run took is free afterwards. Processes are forked from a clean server (`forkserver`).
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path

import click

from noria.boot import open_home
from noria.cli.orphans import end_with_parent
from noria.cli.signals import leaving_on_signals
from noria.core.errors import LeaseLost, Unavailable
from noria.runs.claiming import Claimed
from noria.settings import Settings

NOT_NOW = 75
"""The exit status of a process whose run another one may go on with: the lease was lost, or something is away for now."""
_PRELOADED = ["noria.boot", "noria.cli.executing"]


class RunProcess:
    """The process that executes a claimed run, with the modules of a folder in front of all others."""

    def __init__(self, claimed: Claimed, *, settings: Settings, bundle: Path | None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        theirs, self._mine = context.Pipe(duplex=False)
        self._process = context.Process(target=_execute, args=(claimed, settings, bundle, theirs), name=claimed.run.id)
        self._process.start()
        theirs.close()

    @property
    def status(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def on_end(self, tell: Callable[[], None]) -> None:
        """Call it, in a thread of its own, when the process has ended."""
        sentinel = self._process.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), tell()), name="noria-run-end", daemon=True).start()

    def ask_to_end(self) -> None:
        """Ask it to give its run back and end."""
        self._process.terminate()

    def end_within(self, seconds: float) -> None:
        """Wait for its end, and end it by force, with all that it has started, if that has not come by then."""
        self._process.join(seconds)
        if self._process.is_alive() or self.status == -signal.SIGKILL:
            assert self._process.pid is not None
            with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet, or nobody is left in it
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.join()
        self._mine.close()


def _execute(claimed: Claimed, settings: Settings, bundle: Path | None, parent: Connection) -> None:
    """Be that process."""
    os.setsid()  # Ctrl-C is for the worker, which lets this process end in order; and its children can be ended with it
    end_with_parent(lambda: _read_on(parent))
    here = str(Path.cwd())
    others = [place for place in sys.path if place not in {"", here}]
    sys.path[:] = others if bundle is None else [str(bundle), *others]
    try:
        with open_home(settings=settings) as platform, leaving_on_signals(platform.runs.leave):
            platform.runs.perform(platform.context, claimed, is_pinned=bundle is not None)
    except KeyboardInterrupt:
        sys.exit(NOT_NOW)
    except (LeaseLost, Unavailable) as problem:
        click.echo(problem.sentence, err=True)
        sys.exit(NOT_NOW)


def _read_on(parent: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        parent.recv_bytes()
