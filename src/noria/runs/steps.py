"""The steps of one run: taken from what is finished, from the cache, or tried, again if they may be tried again."""

import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from noria.core.clock import Clock, Stopwatch
from noria.core.errors import LeaseLost, NoriaError
from noria.pipelines.code import code_digest
from noria.pipelines.model import Cached, Failure
from noria.pipelines.steps import Step
from noria.runs import queries, rules
from noria.runs.executors import Arguments, Call, Executor, Outcome, Problem, refusal
from noria.runs.holding import Holder
from noria.runs.model import Attempt, AttemptState, Hit, LogPart, Metric, Param, Run
from noria.runs.recorder import Recorder
from noria.runs.telling import Telling
from noria.runs.values import Value, Values, words
from noria.store.database import Connection, Database, Durability
from noria.store.leases import Lease

_MOST_TOGETHER = 256
_MOST_SECONDS_TOGETHER = 0.02
"""Items of a map are committed together up to so many, and never more work than this: a crash loses no more of it."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

Taken = tuple[Value | None, Problem | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A step whose inputs are known; `arguments` fetches their values, fresh ones each time."""

    id: str
    step: Step[..., Any]
    inputs: str
    arguments: Arguments
    goes_on: bool = False
    """Whether its failure is a value that the run goes on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What executing needs of the platform."""

    database: Database
    values: Values
    holder: Holder
    executor: Executor
    clock: Clock
    stopwatch: Stopwatch
    sleep: Callable[[float], None]
    chance: random.Random


@dataclass(slots=True, kw_only=True)
class Finished:
    """What a run had finished before, and what its parent had: results by step and inputs."""

    attempts: Sequence[Attempt] = ()
    hits: Sequence[Hit] = ()
    inherited: Mapping[tuple[str, str], Hit] = field(default_factory=dict[tuple[str, str], Hit])
    results: dict[tuple[str, str], Attempt | Hit] = field(default_factory=dict[tuple[str, str], Attempt | Hit])

    def __post_init__(self) -> None:
        for done in (*self.attempts, *self.hits):
            if done.artifact is not None:
                self.results[done.step, done.inputs] = done


@dataclass(slots=True)
class _Waiting:
    """What has ended and is not yet committed."""

    attempts: list[Attempt] = field(default_factory=list[Attempt])
    hits: list[Hit] = field(default_factory=list[Hit])
    metrics: list[Metric] = field(default_factory=list[Metric])
    params: list[Param] = field(default_factory=list[Param])
    logs: list[LogPart] = field(default_factory=list[LogPart])
    cached: list[tuple[str, datetime, Attempt]] = field(default_factory=list[tuple[str, datetime, Attempt]])
    seconds: float = 0.0

    def is_due(self) -> bool:
        return len(self.attempts) >= _MOST_TOGETHER or self.seconds >= _MOST_SECONDS_TOGETHER


@dataclass(frozen=True, slots=True)
class _Tried:
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
    ) -> None:
        self._run = run
        self._lease = lease
        self._around = around
        self._finished = finished
        self._allow_changed_code = allow_changed_code
        self._cache = cache
        self._codes: dict[int, str] = {}
        self._lock = threading.Lock()
        self._number = max((attempt.number for attempt in finished.attempts), default=0)
        self._tries: dict[str, int] = {}
        self._waiting = _Waiting()
        self._charged = {(hit.source_run, hit.source_number) for hit in finished.hits}
        for attempt in finished.attempts:
            self._tries[attempt.step] = max(self._tries.get(attempt.step, 0), attempt.attempt)

    def take(self, task: Task) -> Taken:
        """Return the step's value, or why it failed; what was tried is committed by then.

        Raises:
            LeaseLost: another process has taken the run; nothing of this step was committed.
            CodeChanged: the step was finished with other code, and nobody said to go on.
            Stopped: somebody asked for the run to be cancelled or paused.

        """
        self._go_on()
        return self._known(task) or self._try(task, together=False)

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
                taken += self._take_some(some, concurrency)
                if taken[-1][1][1] is not None:
                    break
        finally:
            self.commit()
        return taken

    def flush(self, connection: Connection) -> None:
        """Commit, in the caller's transaction, what no other commit has taken along."""
        self._write(connection, self._waiting)

    def commit(self) -> None:
        """Commit what has ended.

        Raises:
            LeaseLost: the run is somebody else's now; nothing was committed.
            Stopped: it was committed, and somebody asked for the run to be cancelled or paused.

        """
        with self._lock:
            self._commit()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, _Waiting()
        if not (waiting.attempts or waiting.hits):
            return

        def work(connection: Connection) -> None:
            self._check(connection)
            self._write(connection, waiting)

        self._around.database.write(work, durability=Durability.STEP)

    def _check(self, connection: Connection) -> None:
        self._around.holder.check(connection, self._lease, run=self._run.id)

    def _write(self, connection: Connection, waiting: _Waiting) -> None:
        project = self._run.project
        if waiting.attempts:
            queries.insert_attempts(connection, project, waiting.attempts)
        queries.insert_hits(connection, project, waiting.hits)
        queries.insert_metrics(connection, project, waiting.metrics)
        queries.insert_params(connection, project, waiting.params)
        queries.insert_logs(connection, project, waiting.logs)
        queries.put_cached(connection, project, waiting.cached)

    def _go_on(self) -> None:
        if self._around.holder.has_lost(self._run.id):
            raise LeaseLost(
                f"the lease on run {self._run.id} was lost",
                hint="another process goes on with it; look at its result there",
            )
        self._around.holder.stop_if_asked(self._run.id)

    def _take_some(self, tasks: Sequence[Task], concurrency: int) -> list[tuple[Task, Taken]]:
        kept = self._look_up(tasks)
        if concurrency == 1:
            taken: list[tuple[Task, Taken]] = []
            for task in tasks:
                self._around.holder.stop_if_asked(self._run.id)
                taken.append((task, self._known(task, kept) or self._try(task, together=True)))
                if taken[-1][1][1] is not None:
                    break
            return taken
        known = [self._known(task, kept) for task in tasks]
        with ThreadPoolExecutor(concurrency, thread_name_prefix="noria-map") as pool:
            futures = [
                None if found else pool.submit(copy_context().run, self._try_unless_over, task)
                for task, found in zip(tasks, known, strict=True)
            ]
            _end_all([future for future in futures if future is not None])
        found = [(task, one or _result(future)) for task, one, future in zip(tasks, known, futures, strict=True)]
        return _through_first_problem(found)

    def _try_unless_over(self, task: Task) -> Taken:
        self._around.holder.stop_if_asked(self._run.id)
        taken = self._try(task, together=True, is_alone=False)
        if taken[1] is not None:
            raise _ItemFailed(taken)
        return taken

    def _known(self, task: Task, kept: Mapping[str, queries.Kept | None] | None = None) -> Taken | None:
        """Return the value of a step that was finished before, here or in the parent, or stands in the cache."""
        code = self._code(task.step)
        done = self._finished.results.get((task.id, task.inputs))
        if done is not None and done.artifact is not None:
            if not self._allow_changed_code:
                rules.must_have_code(task.id, finished=done.code, now=code, run=self._run.id)
            return self._around.values.stored(done.artifact), None
        hit = self._inherited(task, code) or self._hit(task, code, kept)
        if hit is None:
            return None
        self._waiting.hits.append(hit)
        return self._around.values.stored(hit.artifact), None

    def _code(self, step: Step[..., Any]) -> str:
        known = self._codes.get(id(step))
        if known is None:
            known = self._codes[id(step)] = code_digest(step.function)
        return known

    def _inherited(self, task: Task, code: str) -> Hit | None:
        found = self._finished.inherited.get((task.id, task.inputs))
        if found is None or (found.code != code and not self._allow_changed_code):
            return None
        return self._as_hit(task, code, found.source_run, found.source_number, found.cpu_seconds, found.artifact)

    def _hit(self, task: Task, code: str, kept: Mapping[str, queries.Kept | None] | None) -> Hit | None:
        if not self._is_cached(task.step):
            return None
        key, project = self._cache_key(task, code), self._run.project
        found = (
            kept[task.id] if kept is not None else self._around.database.read(lambda c: queries.cached(c, project, key))
        )
        now = self._around.clock.now()
        if found is None or not rules.is_reused(task.step.cache, self._cache, made_at=found.made_at, now=now):
            return None
        return self._as_hit(task, code, found.run, found.number, found.cpu_seconds, found.artifact)

    def _as_hit(self, task: Task, code: str, run: str, number: int, cpu_seconds: float, artifact: Any) -> Hit:  # noqa: ANN401 - an Artifact
        source = (run, number)
        charged = 0.0 if run == self._run.id or source in self._charged else cpu_seconds
        self._charged.add(source)
        return Hit(
            run=self._run.id,
            step=task.id,
            inputs=task.inputs,
            code=code,
            source_run=run,
            source_number=number,
            cpu_seconds=charged,
            artifact=artifact,
        )

    def _look_up(self, tasks: Sequence[Task]) -> dict[str, queries.Kept | None]:
        """Look in the cache for many steps at once."""
        keys = {task.id: self._cache_key(task, self._code(task.step)) for task in tasks if self._is_cached(task.step)}
        if not keys:
            return {}
        project = self._run.project
        return self._around.database.read(
            lambda connection: {id_: queries.cached(connection, project, key) for id_, key in keys.items()}
        )

    def _is_cached(self, step: Step[..., Any]) -> bool:
        return bool(self._cache if step.cache is None else step.cache)

    @staticmethod
    def _cache_key(task: Task, code: str) -> str:
        step = task.step
        return rules.cache_key(step.reference, code=code, inputs=task.inputs, environment=step.environment)

    def _try(self, task: Task, *, together: bool, is_alone: bool = True) -> Taken:
        refused = refusal(task.step.needs, self._around.executor)
        if refused is not None:
            return None, refused
        tried = 0
        while True:
            tried += 1
            done = self._try_once(task, tried=tried, is_alone=is_alone)
            self._end(done, together=together)
            if not done.again:
                return (done.made, None) if done.made is not None else (None, done.problem)
            wait_seconds = rules.wait_seconds(task.step.retry, tried=tried, chance=self._around.chance.random())
            self._around.sleep(wait_seconds)

    def _try_once(self, task: Task, *, tried: int, is_alone: bool) -> _Tried:
        started_at = self._around.clock.now()
        attempt = self._tries.get(task.id, 0) + 1
        telling = Telling(self._run, task.id, attempt, self._around, self._check)
        call = Call(
            step=task.step,
            arguments=task.arguments,
            told=telling.recorder,
            run=self._run.id,
            id=task.id,
            attempt=attempt,
            is_alone=is_alone,
        )
        outcome = self._around.executor.execute(call)
        made, params, problem = self._kept(task.id, outcome, telling.recorder)
        again = (
            problem is not None
            and problem.may_pass
            and rules.tries_again(task.step.retry, tried=tried, problem=problem.cause, is_lost=problem.is_lost)
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
            return self._around.values.keep(outcome.returned), params, None
        except NoriaError as problem:
            said = f"returned what cannot be kept: {problem.sentence}"
            return None, params, Problem(words=said, cause=problem, may_pass=False)

    def _end(self, done: _Tried, *, together: bool) -> None:
        """Put a try's end among what waits to be committed, and commit that unless it may wait for more."""
        with self._lock:
            attempt = self._attempt(done)
            waiting = self._waiting
            waiting.attempts.append(attempt)
            waiting.metrics += self.metrics(attempt.number, attempt.step, done.telling.recorder)
            waiting.params += done.params
            waiting.logs += done.telling.rest()
            waiting.seconds += attempt.wall_seconds
            step = done.task.step
            if done.problem is None and self._is_cached(step):
                policy = self._cache if step.cache is None else step.cache
                stale = done.started_at - policy if isinstance(policy, timedelta) else _NEVER
                waiting.cached.append((self._cache_key(done.task, attempt.code), stale, attempt))
            if not together or waiting.is_due():
                self._commit()

    def _attempt(self, done: _Tried) -> Attempt:
        step = done.task.id
        self._number += 1
        self._tries[step] = self._tries.get(step, 0) + 1
        return Attempt(
            run=self._run.id,
            number=self._number,
            step=step,
            attempt=self._tries[step],
            state=AttemptState.SUCCEEDED if done.problem is None else AttemptState.FAILED,
            inputs=done.task.inputs,
            code=self._code(done.task.step),
            started_at=done.started_at,
            wall_seconds=done.outcome.wall_seconds,
            cpu_seconds=done.outcome.cpu_seconds,
            peak_bytes=done.outcome.peak_bytes,
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


class _ItemFailed(Exception):
    """Ends a concurrent map: the items that have not begun are not begun."""

    def __init__(self, taken: Taken) -> None:
        super().__init__("an item failed")
        self.taken = taken


def _end_all(futures: Sequence["Future[Taken]"]) -> None:
    """Wait for all; after the first that failed, those that have not begun are left out."""
    wait(futures, return_when=FIRST_EXCEPTION)
    for future in futures:
        future.cancel()
    wait(futures)


def _result(future: "Future[Taken] | None") -> Taken | None:
    """Return what came of an item, None if it was not begun; what the engine itself raised is raised."""
    if future is None or future.cancelled():
        return None
    try:
        return future.result()
    except _ItemFailed as problem:
        return problem.taken


def _through_first_problem(found: Iterable[tuple[Task, Taken | None]]) -> list[tuple[Task, Taken]]:
    """Return what was taken, with the first failed one at the end; one that was not begun comes after a failure."""
    taken = [(task, one) for task, one in found if one is not None]
    failed = next((pair for pair in taken if pair[1][1] is not None), None)
    return taken if failed is None else [failed]
