"""Executes one step of a run: from what is finished, from the cache, or by calling it, again if it may be tried again."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from noria.core.clock import Clock, Stopwatch
from noria.core.errors import LeaseLost, NoriaError
from noria.pipelines import signatures
from noria.pipelines.code import code_digest
from noria.pipelines.nodes import Node
from noria.pipelines.steps import Step
from noria.runs import queries, rules
from noria.runs.holding import Holder
from noria.runs.model import Attempt, AttemptState, Hit, Metric, Param, Run
from noria.runs.recorder import Recorder, recorder
from noria.runs.values import Value, Values, words
from noria.store.database import Connection, Database, Durability
from noria.store.leases import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A node whose inputs are known; `arguments` fetches their values, fresh ones each time."""

    node: Node
    inputs: str
    arguments: Callable[[], dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a step's last try failed, in words that follow its name."""

    words: str
    cause: Exception
    may_pass: bool = True
    """Whether another try could end otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What executing needs of the platform."""

    database: Database
    values: Values
    holder: Holder
    clock: Clock
    stopwatch: Stopwatch
    sleep: Callable[[float], None]
    chance: random.Random


@dataclass(slots=True, kw_only=True)
class Finished:
    """What a run had finished before: results by step and inputs, and how many attempts there were."""

    attempts: Sequence[Attempt] = ()
    hits: Sequence[Hit] = ()
    results: dict[tuple[str, str], Attempt | Hit] = field(default_factory=dict[tuple[str, str], Attempt | Hit])

    def __post_init__(self) -> None:
        for done in (*self.attempts, *self.hits):
            if done.artifact is not None:
                self.results[done.step, done.inputs] = done


class Executor:
    """Executes the steps of one run and commits what comes of them, as long as its lease is held."""

    def __init__(
        self, run: Run, lease: Lease, around: Surroundings, *, finished: Finished, allow_changed_code: bool
    ) -> None:
        self._run = run
        self._lease = lease
        self._around = around
        self._finished = finished
        self._allow_changed_code = allow_changed_code
        self._codes: dict[int, str] = {}
        self._number = max((attempt.number for attempt in finished.attempts), default=0)
        self._tries: dict[str, int] = {}
        self._hits: list[Hit] = []
        self._charged = {(hit.source_run, hit.source_number) for hit in finished.hits}
        for attempt in finished.attempts:
            self._tries[attempt.step] = max(self._tries.get(attempt.step, 0), attempt.attempt)

    def execute(self, task: Task) -> tuple[Value | None, Failure | None]:
        """Return the step's value, or why it failed.

        Raises:
            LeaseLost: another process has taken the run; nothing of this step was committed.
            CodeChanged: the step was finished with other code, and nobody said to go on.

        """
        if self._around.holder.has_lost(self._run.id):
            raise LeaseLost(
                f"the lease on run {self._run.id} was lost",
                hint="another process goes on with it; look at its result there",
            )
        code = self._code(task.node.step)
        done = self._finished.results.get((task.node.id, task.inputs))
        if done is not None and done.artifact is not None:
            if not self._allow_changed_code:
                rules.must_have_code(task.node.id, finished=done.code, now=code, run=self._run.id)
            return self._around.values.stored(done.artifact), None
        hit = self._hit(task, code) if task.node.step.cache else None
        if hit is not None:
            self._hits.append(hit)
            return self._around.values.stored(hit.artifact), None
        return self._try(task, code)

    def flush(self, connection: Connection) -> None:
        """Commit, in the caller's transaction, the hits that no attempt's commit has taken along."""
        queries.insert_hits(connection, self._run.project, self._hits)

    def _code(self, step: Step[..., Any]) -> str:
        known = self._codes.get(id(step))
        if known is None:
            known = self._codes[id(step)] = code_digest(step.function)
        return known

    def _hit(self, task: Task, code: str) -> Hit | None:
        key = self._cache_key(task, code)
        found = self._around.database.read(lambda connection: queries.cached(connection, self._run.project, key))
        if found is None:
            return None
        source_run, source_number, cpu_seconds, artifact = found
        source = (source_run, source_number)
        charged = 0.0 if source_run == self._run.id or source in self._charged else cpu_seconds
        self._charged.add(source)
        return Hit(
            run=self._run.id,
            step=task.node.id,
            inputs=task.inputs,
            code=code,
            source_run=source_run,
            source_number=source_number,
            cpu_seconds=charged,
            artifact=artifact,
        )

    @staticmethod
    def _cache_key(task: Task, code: str) -> str:
        return rules.cache_key(task.node.step.reference, code=code, inputs=task.inputs)

    def _try(self, task: Task, code: str) -> tuple[Value | None, Failure | None]:
        retry = task.node.step.retry
        tried = 0
        while True:
            tried += 1
            made, failure = self._attempt(task, code)
            if failure is None or not failure.may_pass:
                return made, failure
            if not rules.tries_again(retry, tried=tried, problem=failure.cause):
                return made, failure
            self._around.sleep(rules.wait_seconds(retry, tried=tried, chance=self._around.chance.random()))

    def _attempt(self, task: Task, code: str) -> tuple[Value | None, Failure | None]:
        told = Recorder()
        watch, started_at = self._around.stopwatch, self._around.clock.now()
        returned: object = None
        params: list[Param] = []
        token = recorder.set(told)
        wall, cpu = watch.wall(), watch.cpu()
        try:
            returned, failure = _call(task)
        finally:
            wall, cpu = watch.wall() - wall, watch.cpu() - cpu
            recorder.reset(token)
        made: Value | None = None
        if failure is None:
            made, params, failure = self._kept(task.node.id, returned, told)
        spent: dict[str, Any] = {"started_at": started_at, "wall_seconds": wall, "cpu_seconds": cpu}
        attempt = self._ended(task, code, made, failure, **spent)
        self._commit(task, attempt, self.metrics(attempt.number, attempt.step, told), params)
        return made, failure

    def _kept(self, step: str, returned: object, told: Recorder) -> tuple[Value | None, list[Param], Failure | None]:
        try:
            params = self.params(step, told)
        except NoriaError as problem:
            words = f"logged a param that cannot be kept: {problem.sentence}"
            return None, [], Failure(words=words, cause=problem, may_pass=False)
        try:
            return self._around.values.keep(returned), params, None
        except NoriaError as problem:
            words = f"returned what cannot be kept: {problem.sentence}"
            return None, params, Failure(words=words, cause=problem, may_pass=False)

    def _ended(self, task: Task, code: str, made: Value | None, failure: Failure | None, **spent: Any) -> Attempt:  # noqa: ANN401 - times of an attempt
        step = task.node.id
        self._number += 1
        self._tries[step] = self._tries.get(step, 0) + 1
        return Attempt(
            run=self._run.id,
            number=self._number,
            step=step,
            attempt=self._tries[step],
            state=AttemptState.FAILED if made is None else AttemptState.SUCCEEDED,
            inputs=task.inputs,
            code=code,
            **spent,
            artifact=None if made is None else made.artifact,
            error=None if failure is None else rules.traceback_of(failure.cause),
        )

    def _commit(self, task: Task, attempt: Attempt, metrics: list[Metric], params: list[Param]) -> None:
        key = self._cache_key(task, attempt.code) if task.node.step.cache else None
        project, hits = self._run.project, tuple(self._hits)

        def work(connection: Connection) -> None:
            self._around.holder.check(connection, self._lease)
            queries.insert_attempt(connection, project, attempt)
            queries.insert_hits(connection, project, hits)
            queries.insert_metrics(connection, project, metrics)
            queries.insert_params(connection, project, params)
            if key is not None:
                queries.put_cached(connection, project, key, attempt)

        self._around.database.write(work, durability=Durability.STEP)
        self._hits.clear()

    def metrics(self, attempt: int, step: str, told: Recorder) -> list[Metric]:
        """Return what was recorded as metrics of an attempt; 0 is the pipeline itself."""
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


def _call(task: Task) -> tuple[object, Failure | None]:
    """Call the step's function; what it raises, and what fetching its arguments raises, is its failure."""
    try:
        arguments = task.arguments()
    except Exception as problem:
        if isinstance(problem, NoriaError) and problem.retriable:
            raise
        return None, Failure(words=f"cannot be given its arguments: {rules.sentence(problem)}", cause=problem)
    try:
        return signatures.call(task.node.step.function, task.node.step.signature, arguments), None
    except Exception as problem:  # noqa: BLE001 - whatever a user's function raises
        return None, Failure(words=f"raised {rules.sentence(problem)}", cause=problem)
