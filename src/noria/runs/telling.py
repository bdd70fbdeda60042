"""What an attempt tells while it runs, handed on to whoever watches: its words, and how far it is."""

from collections.abc import Callable

from noria.core.errors import Unavailable
from noria.runs import observed, rules
from noria.runs.logs import Log
from noria.runs.model import LogPart, Progress, Run
from noria.runs.recorder import Recorder, Told
from noria.runs.stopping import Stop
from noria.runs.surroundings import Surroundings
from noria.store.database import Connection, Durability

_SECONDS_BETWEEN = 1.0


class Telling:
    """One attempt's recorder, and the parts of its log that were handed on so far."""

    def __init__(
        self, run: Run, step: str, attempt: int, around: Surroundings, check: Callable[[Connection], object], stop: Stop
    ) -> None:
        self._run = run
        self._step = step
        self._attempt = attempt
        self._around = around
        self._check = check
        self._parts = 0
        self._unheard: list[LogPart] = []
        self._told_at: float | None = None
        self.recorder = Recorder(
            run=run.id,
            step=step,
            log=Log(self._hand_on, around.stopwatch.wall),
            on_progress=self._progress,
            stop=stop,
        )

    def rest(self) -> list[LogPart]:
        """Return what of the log nobody has yet, to be committed with the attempt's end."""
        text = self.recorder.log.take()
        return [*self._unheard, self._part(text)] if text else self._unheard

    def _part(self, text: str) -> LogPart:
        self._parts += 1
        return LogPart(
            run=self._run.id,
            step=self._step,
            attempt=self._attempt,
            part=self._parts,
            at=self._around.clock.now(),
            text=rules.storable(text),
        )

    def _hand_on(self, text: str) -> None:
        parts = [*self._unheard, self._part(text)]
        is_told = self._write(lambda connection: observed.insert_logs(connection, self._run.project, parts))
        self._unheard = [] if is_told else parts

    def _progress(self, told: Told) -> None:
        done, total, words = told
        now = self._around.stopwatch.wall()
        is_last = total is not None and done >= total
        if self._told_at is not None and now - self._told_at < _SECONDS_BETWEEN and not is_last:
            return
        self._told_at = now
        at = self._around.clock.now()
        shown = Progress(run=self._run.id, step=self._step, done=done, total=total, words=rules.storable(words), at=at)
        self._write(lambda connection: observed.put_progress(connection, self._run.project, shown))

    def _write(self, work: Callable[[Connection], None]) -> bool:
        """Commit what is told, and say whether it was: no step stands still for a database that does not answer."""

        def whole(connection: Connection) -> None:
            self._check(connection)
            work(connection)

        try:
            self._around.database.write(whole, durability=Durability.STEP)
        except Unavailable:
            return False
        self._around.database.wake(f"run/{self._run.id}")
        return True
