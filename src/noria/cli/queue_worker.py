"""The worker behind `noria work`: takes runs, gives each a process of its own, and answers for what comes of it."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import click

from noria.boot import Platform
from noria.cli.executing import NOT_NOW, RunProcess
from noria.cli.supervising import how
from noria.core.clock import MachineStopwatch
from noria.core.errors import Corrupt, LeaseLost, NoriaError, NotFound, Unavailable
from noria.runs.claiming import Claimed
from noria.runs.model import Asked, Run, RunState
from noria.runs.queue import Unmet
from noria.store.waking import Ear

_LOOK_EVERY_SECONDS = 0.5
_UNHEARD_LOOKS = 10
"""A wake-up may get lost: every so many looks the database is asked all the same."""
_GRACE_SECONDS = 5.0
"""So long a process may take to end in order; an executor ends what it has begun elsewhere meanwhile."""
_DEAF_SECONDS = 1.0
"""So long a step in the run's own process may take to tell something, and so to hear that it is cancelled."""
_PAUSE_SECONDS = 1.0
_BEATS = 3
_MOST_KILLED = 3
"""So many processes of a run may be killed from outside, for want of memory or by somebody's hand, until it has failed."""


class QueueWorker:
    """Executes runs one after the other until it is told to end; `hurry` is set when nothing is to be waited for."""

    def __init__(self, platform: Platform, *, told: threading.Event, hurry: threading.Event) -> None:
        self._platform = platform
        self._told = told
        self._hurry = hurry
        self._watch = MachineStopwatch()
        self._attended_at: float | None = None

    @contextmanager
    def attending(self) -> Generator[None]:
        """Be known as a worker meanwhile."""
        self.attend()
        try:
            yield
        finally:
            with suppress(Unavailable):
                self._platform.runs.queue.depart()

    def attend(self) -> None:
        """Say that this worker is there, when it is time to say so again."""
        seconds, now = self._platform.settings.lease_seconds, self._watch.wall()
        if self._attended_at is None or now - self._attended_at >= seconds / _BEATS:
            with suppress(Unavailable):
                self._platform.runs.queue.attend(self._platform.context, seconds=seconds)
                self._attended_at = now

    def execute_all(self) -> int:
        """Execute what waits, and return how many runs that were; what cannot be gone on with now is looked at again."""
        count = 0
        while not self._told.is_set():
            try:
                claimed = self._platform.runs.queue.claim(self._platform.context)
                if claimed is None:
                    return count
                run = self._execute(claimed)
            except (LeaseLost, Unavailable) as problem:
                click.echo(problem.sentence, err=True)
                self._told.wait(_PAUSE_SECONDS)
                return count
            _tell(run)
            if run.state.is_begun:  # given back, for what it needs is away: it may be so at once again
                self._told.wait(_PAUSE_SECONDS)
                return count
            count += 1
        return count

    def _execute(self, claimed: Claimed) -> Run:
        queue, bundle = self._platform.runs.queue, claimed.run.bundle
        try:
            folder = None if bundle is None else self._platform.bundles.unpacked(bundle)
        except (NotFound, Corrupt) as problem:
            return queue.refuse(self._platform.context, claimed, problem)
        except BaseException as problem:
            queue.drop(claimed)
            if isinstance(problem, OSError):  # a full disk: the run's own code is not to blame
                raise Unavailable(f"the code of run {claimed.run.id} cannot be unpacked: {problem}") from problem
            raise
        try:
            return self._performed(claimed, folder, killed=0)
        finally:
            queue.end(claimed)

    def _performed(self, claimed: Claimed, folder: Path | None, *, killed: int) -> Run:
        """Have a process execute the run, and a new one go on where that was killed."""
        with self._platform.database.listen(f"run/{claimed.run.id}") as ear:
            process = RunProcess(claimed, settings=self._platform.settings, bundle=folder)
            process.on_end(ear.hear)
            was_cancelled = self._watched(claimed, process, ear)
        killed += process.status == -signal.SIGKILL
        if process.status != -signal.SIGKILL or was_cancelled or self._told.is_set() or killed == _MOST_KILLED:
            return self._settled(claimed, process.status, was_cancelled=was_cancelled)
        click.echo(f"a process of run {claimed.run.id} was killed, {killed} of {_MOST_KILLED}", err=True)
        again = self._platform.runs.queue.again(self._platform.context, claimed)
        if again is None:
            return self._platform.runs.get(self._platform.context, claimed.run.id)
        return self._performed(again, folder, killed=killed)

    def _watched(self, claimed: Claimed, process: RunProcess, ear: Ear) -> bool:
        """Wait until the process has ended, or end it; say whether that was because somebody has cancelled the run."""
        looks, heard = count(1), True  # it may have been cancelled before anybody listened
        while process.status is None and not self._told.is_set():
            if heard and self._is_cancelled(claimed):
                is_deaf = self._platform.settings.executor == "in-process"
                process.end_within(_DEAF_SECONDS if is_deaf else _GRACE_SECONDS)
                return True
            self.attend()
            heard = ear.wait(_LOOK_EVERY_SECONDS) or next(looks) % _UNHEARD_LOOKS == 0
        if process.status is None:
            process.ask_to_end()
        until = self._watch.wall() + _GRACE_SECONDS
        while process.status is None and not self._hurry.is_set() and self._watch.wall() < until:
            ear.wait(_LOOK_EVERY_SECONDS)
        process.end_within(0)
        return self._is_cancelled(claimed)  # what was asked just before must not be lost when the run is given back

    def _is_cancelled(self, claimed: Claimed) -> bool:
        try:
            return self._platform.runs.queue.asked(claimed) is Asked.CANCEL
        except Unavailable:  # its own process hears of it, too
            return False

    def _settled(self, claimed: Claimed, status: int | None, *, was_cancelled: bool) -> Run:
        """Return what the run has come to; where its process left it open, it is cancelled, given back, or has failed."""
        runs, queue, context = self._platform.runs, self._platform.runs.queue, self._platform.context
        run = runs.get(context, claimed.run.id)
        if run.state.is_open and was_cancelled:
            queue.end(claimed)
            return runs.cancel(context, run.id)
        if run.state.is_open and (status == NOT_NOW or self._told.is_set()):
            queue.drop(claimed)
            return run
        if run.state.is_begun:
            died = NoriaError(
                f"its process died ({how(status or 0)})",
                hint=f"look at what the worker printed; noria resume {run.id} goes on from the last finished step",
            )
            return queue.refuse(context, claimed, died)
        return run


def _tell(run: Run) -> None:
    words = "was given back" if run.state.is_begun else run.state.value
    reason = f": {run.error}" if run.error else f": {Unmet.of(run).words()}" if run.state is RunState.QUEUED else ""
    click.echo(f"run {run.id} of {run.pipeline} {words}{reason}")
