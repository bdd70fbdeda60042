"""The steps of one run: taken from what is known, or tried, again if they may be tried again."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice

from msgspec import Struct

from noria.core.errors import LeaseLost, NoriaError
from noria.pipelines.model import Cached, Failure
from noria.runs import queries, rules
from noria.runs.ends import End, Ends
from noria.runs.executors import Arguments, Call, Outcome, Problem, refusal
from noria.runs.files import Lent
from noria.runs.known import Finished, Known
from noria.runs.model import Attempt, AttemptState, Metric, Param, Run
from noria.runs.recorder import Recorder
from noria.runs.stopping import BeyondHere, Stop
from noria.runs.surroundings import Surroundings
from noria.runs.tasks import Taken, Task
from noria.runs.telling import Telling
from noria.runs.together import take_together
from noria.runs.values import Value, take, words
from noria.store.database import Connection
from noria.store.leases import Lease
from noria.store.patience import Patience

_MOST_TOGETHER = 256
"""Steps that do not need each other are looked up together, so many at a time."""


class _Tried(Struct, frozen=True):
    """One try of a step, as it ended."""

    task: Task
    telling: Telling
    outcome: Outcome
    started_at: datetime
    made: Value | None
    params: list[Param]
    problem: Problem | None
    again: bool


class Steps:
    """Takes the steps of one run and commits what comes of them, as long as its lease is held."""

    def __init__(
        self,
        run: Run,
        lease: Lease,
        around: Surroundings,
        *,
        finished: Finished,
        allow_changed_code: bool,
        cache: Cached = None,
        stop: Stop | None = None,
        may_leave: bool = False,
    ) -> None:
        self._run = run
        self._around = around
        self._stop = stop or Stop()
        self._may_leave = may_leave
        self._ends = Ends(run, lease, around)
        self._known = Known(
            run,
            around,
            finished=finished,
            allow_changed_code=allow_changed_code,
            cache=cache,
            on_hit=self._ends.add_hit,
        )
        self._number = max((attempt.number for attempt in finished.attempts), default=0)
        self._tries: dict[str, int] = {}
        for attempt in finished.attempts:
            self._tries[attempt.step] = max(self._tries.get(attempt.step, 0), attempt.attempt)
        self._cut_short = rules.failures(finished.attempts, after=finished.resumed_at)

    def take(self, task: Task) -> Taken:
        """Return the step's value, or why it failed; what was tried is committed by then.

        Raises:
            LeaseLost: another process has taken the run; nothing of this step was committed.
            CodeChanged: the step was finished with other code, and nobody said to go on.
            Stopped: somebody asked for the run to be cancelled or paused.

        """
        self._go_on()
        return self._known.find(task) or self._try(task, may_wait=False)

    def take_all(self, tasks: Iterable[Task], *, concurrency: int) -> list[tuple[Task, Taken]]:
        """Take many steps that do not need each other, and return each with what came of it, in their order.

        Their ends are committed together, a fraction of a second apart. It stops after the first one that failed,
        unless that one's failure is a value; it is then the last of those returned.
        """
        taken: list[tuple[Task, Taken]] = []
        remaining = iter(tasks)
        try:
            while some := list(islice(remaining, _MOST_TOGETHER)):
                self._go_on()
                kept = self._known.look_up(some)
                taken += (
                    self._take_in_turn(some, kept) if concurrency == 1 else self._take_some(some, kept, concurrency)
                )
                if taken[-1][1][1] is not None:
                    break
        finally:
            self._ends.commit()
        return taken

    def flush(self, connection: Connection) -> None:
        """Commit, in the caller's transaction, what no other commit has taken along."""
        self._ends.flush(connection)

    def _go_on(self) -> None:
        if self._around.holder.has_lost(self._run.id):
            raise LeaseLost(
                f"the lease on run {self._run.id} was lost",
                hint="another process goes on with it; look at its result there",
            )
        self._stop.between_steps()

    def _take_in_turn(self, tasks: Sequence[Task], kept: Mapping[str, queries.Kept | None]) -> list[tuple[Task, Taken]]:
        taken: list[tuple[Task, Taken]] = []
        for task in tasks:
            self._stop.between_steps()
            taken.append((task, self._known.find(task, kept) or self._try(task, may_wait=True)))
            if taken[-1][1][1] is not None:
                break
        return taken

    def _take_some(
        self, tasks: Sequence[Task], kept: Mapping[str, queries.Kept | None], concurrency: int
    ) -> list[tuple[Task, Taken]]:
        def attempt(task: Task) -> Taken:
            self._stop.between_steps()
            return self._try(task, may_wait=True, is_alone=False)

        known = [self._known.find(task, kept) for task in tasks]
        return take_together(tasks, known, concurrency=concurrency, attempt=attempt)

    def _try(self, task: Task, *, may_wait: bool, is_alone: bool = True) -> Taken:
        refused = refusal(task.step.needs, self._around.executor)
        if refused is not None and self._may_leave:
            raise BeyondHere(task.step.needs)
        if refused is not None:
            return None, refused
        tried = self._tried_before(task)
        while True:
            tried += 1
            done = self._try_once(task, tried=tried, is_alone=is_alone)
            self._end(done, may_wait=may_wait)
            if not done.again:
                return (done.made, None) if done.made is not None else (None, done.problem)
            self._rest(self._wait_seconds(task, tried))

    def _tried_before(self, task: Task) -> int:
        """Return how many tries of a step are used up, and wait as long as is left to its next one; one it always has.

        They were when its run was cut short: whether the last of them was final nobody knows.
        """
        failed = self._cut_short.pop((task.id, task.inputs), [])
        tried = min(len(failed), task.step.retry.retries)
        if tried:
            last = failed[-1]
            ago = (self._around.clock.now() - last.started_at).total_seconds() - last.wall_seconds
            self._rest(max(0.0, self._wait_seconds(task, tried) - max(0.0, ago)))
        return tried

    def _wait_seconds(self, task: Task, tried: int) -> float:
        return rules.wait_seconds(task.step.retry, tried=tried, chance=self._around.chance.random())

    def _rest(self, seconds: float) -> None:
        """Wait before the next try, and no longer than the run goes on; what has ended so far is kept before."""
        self._go_on()
        self._ends.commit()
        (self._around.sleep or self._stop.wait)(seconds)
        self._go_on()

    def _try_once(self, task: Task, *, tried: int, is_alone: bool) -> _Tried:
        started_at = self._around.clock.now()
        attempt = self._tries.get(task.id, 0) + 1
        telling = Telling(self._run, task.id, attempt, self._around, self._ends.check, self._stop)
        lent = Lent()
        call = Call(
            step=task.step,
            arguments=_patient(self._around.patience, task.arguments, lent),
            told=telling.recorder,
            stop=self._stop,
            run=self._run.id,
            id=task.id,
            attempt=attempt,
            is_alone=is_alone,
        )
        may_be_used_again = False
        try:
            outcome = self._around.executor.execute(call)
            if telling.recorder.was_stopped:
                telling.recorder.heed(at_rest=True)
            made, params, problem = self._kept(task.id, outcome, telling.recorder)
            may_be_used_again = problem is None
        finally:
            lent.end(may_be_used_again=may_be_used_again)
        again = (
            problem is not None
            and problem.may_pass
            and rules.tries_again(
                task.step.retry, tried=tried, problem=problem.cause, kinds=problem.kinds, is_lost=problem.is_lost
            )
        )
        if problem is not None and not again and task.goes_on:
            made = self._around.values.keep(Failure(step=task.id, reason=rules.storable(problem.words)))
        return _Tried(task, telling, outcome, started_at, made, params, problem, again)

    def _kept(self, step: str, outcome: Outcome, told: Recorder) -> tuple[Value | None, list[Param], Problem | None]:
        """Keep what a try returned and logged; what cannot be kept is a problem of its own."""
        if outcome.problem is not None:
            return None, [], outcome.problem
        try:
            params = self.params(step, told)
        except NoriaError as problem:
            said = f"logged a param that cannot be kept: {problem.sentence}"
            return None, [], Problem(words=said, cause=problem, may_pass=False)
        try:
            return self._around.patience.ask(lambda _: self._around.values.keep(outcome.returned)), params, None
        except NoriaError as problem:
            if problem.retriable:  # the storage does not answer: this step is done again when the run goes on
                raise
            said = f"returned what cannot be kept: {problem.sentence}"
            return None, params, Problem(words=said, cause=problem, may_pass=False)

    def _end(self, done: _Tried, *, may_wait: bool) -> None:
        """Commit a try's end, unless it may wait for more."""
        with self._ends.lock:  # numbers are given in the order of the commits
            attempt = self._attempt(done)
            end = End(
                attempt=attempt,
                metrics=self.metrics(attempt.number, attempt.step, done.telling.recorder),
                params=done.params,
                logs=done.telling.rest(),
                cached=self._known.to_cache(done.task, attempt),
            )
            self._ends.add(end, may_wait=may_wait)

    def _attempt(self, done: _Tried) -> Attempt:
        step = done.task.id
        self._number += 1
        self._tries[step] = self._tries.get(step, 0) + 1
        wall_seconds, cpu_seconds = done.outcome.wall_seconds, done.outcome.cpu_seconds
        gpus = done.task.step.needs.gpus
        return Attempt(
            run=self._run.id,
            number=self._number,
            step=step,
            attempt=self._tries[step],
            state=AttemptState.SUCCEEDED if done.problem is None else AttemptState.FAILED,
            inputs=done.task.inputs,
            code=self._known.code(done.task.step),
            started_at=done.started_at,
            wall_seconds=wall_seconds,
            cpu_seconds=cpu_seconds,
            peak_bytes=done.outcome.peak_bytes,
            usd=rules.usd(self._around.prices, cpu_seconds=cpu_seconds, wall_seconds=wall_seconds, gpus=gpus),
            artifact=None if done.made is None else done.made.artifact,
            error=None if done.problem is None else rules.traceback_of(done.problem.cause),
        )

    def metrics(self, attempt: int, step: str, told: Recorder) -> list[Metric]:
        """Return what was recorded as metrics of an attempt; 0 is the pipeline itself."""
        if not told.metrics:
            return []
        now = self._around.clock.now()
        return [
            Metric(run=self._run.id, attempt=attempt, step=step, name=name, position=position, value=value, at=now)
            for (name, position), value in told.metrics.items()
        ]

    def params(self, step: str, told: Recorder) -> list[Param]:
        """Return what was logged as params of a step."""
        return [
            Param(
                run=self._run.id,
                step=step,
                name=name,
                words=rules.storable(words(value)),
                artifact=self._around.values.keep(value).artifact,
            )
            for name, value in told.params.items()
        ]


def _patient(patience: Patience, arguments: Arguments, lent: Lent) -> Arguments:
    """Return what fetches arguments from a storage that may not answer for a while, with the files that are lent."""
    return lambda taking=take: lent.while_taking(lambda: patience.ask(lambda _: arguments(taking)))
