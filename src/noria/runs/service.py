"""Verbs of runs: run a pipeline, go on with a run, look at runs and at what they recorded."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, cast

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock, MachineStopwatch, Stopwatch
from noria.core.codecs import Codecs
from noria.core.context import Context
from noria.core.errors import BadPipeline, Conflict, Invalid, NoriaError, NotFound
from noria.core.ids import Ids
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.pipelines.drawing import Pipeline
from noria.pipelines.references import find
from noria.runs import queries, rules
from noria.runs.engine import Ended, Engine
from noria.runs.executing import Executor, Finished, Surroundings
from noria.runs.holding import Holder
from noria.runs.model import Attempt, Hit, Metric, Param, Run, RunState
from noria.runs.recorder import Recorder
from noria.runs.values import Value, Values, words
from noria.store.blobs import Blobs
from noria.store.database import Connection, Database, Durability
from noria.store.holders import this_process
from noria.store.leases import Lease

_POLL_SECONDS = (0.01, 0.5)
_PIPELINE_ITSELF = "/"
_LONGEST_KEY = 255

AnyPipeline = Pipeline[..., Any]


class Runs:
    """Executes pipelines: each step at least once, each result committed exactly once.

    A result is committed before the next step starts. Whoever executes a run holds its lease, which every commit
    checks: a process that was frozen and comes back can commit nothing. Safe to share between threads.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        codecs: Codecs,
        *,
        ledger: Ledger,
        access: Access,
        clock: Clock,
        ids: Ids,
        stopwatch: Stopwatch | None = None,
        lease_seconds: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        chance: random.Random | None = None,
        holder: str | None = None,
    ) -> None:
        self._database = database
        self._values = Values(codecs, blobs)
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids
        self._sleep = sleep
        self._holder = Holder(database, name=holder or this_process(), seconds=lease_seconds)
        self._around = Surroundings(
            database=database,
            values=self._values,
            holder=self._holder,
            clock=clock,
            stopwatch=stopwatch or MachineStopwatch(),
            sleep=sleep,
            chance=chance or random.Random(),  # noqa: S311 - it spreads retries in time
        )
        self._known: dict[str, AnyPipeline] = {}

    def run(
        self,
        context: Context,
        pipeline: AnyPipeline,
        *,
        params: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> Run:
        """Run a pipeline to its end, and return the run: succeeded, or failed with its error in a sentence.

        With a `key`, the same pipeline and arguments are the same run: one that has ended is returned as it is, one
        whose process died is gone on with, and one that another process executes is waited for.

        Raises:
            BadPipeline: a parameter is unknown or missing.
            Invalid: an argument that no codec carries.
            Conflict: the key is that of a run with other arguments.
            CodeChanged: the run was begun with other code than its finished steps have now.
            LeaseLost: this process was too slow, and another one has taken the run.

        """
        self._access.require(context, Permission.RUN_START)
        if not isinstance(cast("object", pipeline), Pipeline):
            raise BadPipeline(f"{pipeline!r} is no pipeline", hint="put @nr.pipeline above the function")
        if key is not None and not 0 < len(key) <= _LONGEST_KEY:
            raise Invalid(f"a key of {len(key)} characters", hint=f"use 1 to {_LONGEST_KEY}")
        arguments = pipeline.bind(params or {})
        given = self._given(pipeline, arguments)
        self._known[pipeline.reference] = pipeline
        fresh = self._new(context, pipeline, given, key)
        found = self._of_key(context, key) or self._begin(context, fresh, arguments, given)
        if isinstance(found, Lease):
            return self._execute(context, pipeline, fresh, given, lease=found)
        rules.must_be_same(found, fresh.arguments)
        return self._join(context, pipeline, found, given)

    def resume(
        self,
        context: Context,
        run: str,
        *,
        pipeline: AnyPipeline | None = None,
        params: Mapping[str, object] | None = None,
        allow_changed_code: bool = False,
    ) -> Run:
        """Go on with a run that failed or was cut short: what is finished is kept, the rest is executed.

        The pipeline is found by the name it was run under; give it where it is not to be found so. Parameters that
        were given by reference (an `Input`) are to be given again in `params`. A run that has succeeded is returned.

        Raises:
            CodeChanged: a finished step's code is not what it was, and `allow_changed_code` is not set.
            Conflict: a parameter is not what the run was given.

        """
        self._access.require(context, Permission.RUN_START)
        found = self._found(context, run)
        if found.state is RunState.SUCCEEDED:
            return found
        again = pipeline or self._known.get(found.reference) or self._import(found)
        given = self._given_again(context, found, again, params or {})
        return self._join(context, again, found, given, reopen=True, allow_changed_code=allow_changed_code)

    def get(self, context: Context, run: str) -> Run:
        """Return a run. Raises `NotFound`."""
        self._access.require(context, Permission.RUN_READ)
        return self._found(context, run)

    def attempts(self, context: Context, run: str) -> tuple[Attempt, ...]:
        """Return a run's attempts, in the order in which they ended."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: queries.attempts_of(connection, context.project, id_)))

    def hits(self, context: Context, run: str) -> tuple[Hit, ...]:
        """Return which of a run's results came from the cache."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: queries.hits_of(connection, context.project, id_)))

    def params(self, context: Context, run: str) -> tuple[Param, ...]:
        """Return what a run was given, and what its steps logged."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: queries.params_of(connection, context.project, id_)))

    def metrics(self, context: Context, run: str) -> tuple[Metric, ...]:
        """Return a run's metrics, in the order of attempts, names and positions."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: queries.metrics_of(connection, context.project, id_)))

    def list(
        self, context: Context, *, pipeline: str | None = None, state: RunState | str | None = None, limit: int = 50
    ) -> tuple[Run, ...]:
        """Return runs, the newest first."""
        self._access.require(context, Permission.RUN_READ)
        wanted = None if state is None else RunState(state)
        found = self._database.read(
            lambda connection: queries.list_runs(
                connection, context.project, pipeline=pipeline, state=wanted, limit=limit
            )
        )
        return tuple(self._readable(run) for run in found)

    def _given(self, pipeline: AnyPipeline, arguments: Mapping[str, object]) -> dict[str, Value]:
        given: dict[str, Value] = {}
        for name, value in arguments.items():
            try:
                given[name] = self._values.given(value)
            except NoriaError as problem:
                raise Invalid(
                    f"{pipeline.what} cannot take {name!r}: {problem.sentence}", hint=problem.hint
                ) from problem
        return given

    def _given_again(
        self, context: Context, run: Run, pipeline: AnyPipeline, params: Mapping[str, object]
    ) -> dict[str, Value]:
        stored = self._database.read(lambda connection: queries.params_of(connection, context.project, run.id))
        known = {param.name: param.artifact for param in stored if not param.step}
        pipeline.bind({**known, **params})
        given = {name: self._values.stored(artifact) for name, artifact in known.items()}
        given |= self._given(pipeline, params)
        if rules.arguments_digest(run.pipeline, _digests(given)) != run.arguments:
            raise Conflict(
                f"run {run.id} was given other arguments", hint="a resumed run keeps its own; start a new one"
            )
        return given

    def _new(self, context: Context, pipeline: AnyPipeline, given: Mapping[str, Value], key: str | None) -> Run:
        return Run(
            id=self._ids.new("run"),
            project=context.project,
            pipeline=pipeline.name,
            reference=pipeline.reference,
            key=key,
            arguments=rules.arguments_digest(pipeline.name, _digests(given)),
            code=pipeline.code(),
            state=RunState.RUNNING,
            created_at=self._clock.now(),
            created_by=str(context.actor),
        )

    def _begin(
        self, context: Context, run: Run, arguments: Mapping[str, object], given: Mapping[str, Value]
    ) -> Run | Lease:
        """Commit that a run begins, and take its lease; or return the run that was first with the key."""
        stored = [
            Param(run=run.id, step="", name=name, words=rules.storable(words(arguments[name])), artifact=kept.artifact)
            for name, kept in given.items()
        ]

        def work(connection: Connection) -> Run | Lease:
            if not queries.insert_run(connection, run):
                first = queries.run_of_key(connection, context.project, run.key or "")
                assert first is not None
                return self._readable(first)
            queries.insert_params(connection, context.project, stored)
            lease = self._holder.acquire(connection, run.id)
            assert lease is not None
            return lease

        self._holder.claim(run.id)
        try:
            begun = self._database.write(work, durability=Durability.STEP)
        except BaseException:
            self._holder.unclaim(run.id)
            raise
        if isinstance(begun, Run):
            self._holder.unclaim(run.id)
        return begun

    def _join(
        self,
        context: Context,
        pipeline: AnyPipeline,
        run: Run,
        given: Mapping[str, Value],
        *,
        reopen: bool = False,
        allow_changed_code: bool = False,
    ) -> Run:
        """Return what the run has come to; take it over when nobody executes it."""
        wait = _POLL_SECONDS[0]
        while run.state is RunState.RUNNING or (reopen and run.state is RunState.FAILED):
            taken = self._take(context, run, reopen=reopen)
            if isinstance(taken, Run):
                return taken
            if taken is not None:
                now = replace(_reopened(run), code=pipeline.code())
                return self._execute(context, pipeline, now, given, lease=taken, allow_changed_code=allow_changed_code)
            reopen = False  # somebody else executes it: what it comes to now is the answer
            self._sleep(wait)
            wait = min(wait * 1.5, _POLL_SECONDS[1])
            run = self._found(context, run.id)
        return run

    def _take(self, context: Context, run: Run, *, reopen: bool) -> Run | Lease | None:
        """Take the run's lease; the run instead if it has ended meanwhile, None while somebody else executes it."""

        def work(connection: Connection) -> Run | Lease | None:
            lease = self._holder.acquire(connection, run.id)
            now = queries.run(connection, context.project, run.id)
            if lease is None or now is None:
                return None
            if now.state is RunState.SUCCEEDED or (now.state is RunState.FAILED and not reopen):
                self._holder.release_in(connection, lease)
                return self._readable(now)
            if now.state is RunState.FAILED:
                queries.update_run(connection, _reopened(now))
                told = {"run": run.id, "pipeline": run.pipeline, "key": run.key}
                self._ledger.record(connection, context, FactKind.RUN_RESUMED, subject=run.id, payload=told)
            return lease

        if not self._holder.claim(run.id):
            return None
        taken = None
        try:
            taken = self._database.write(work, durability=Durability.DECISION if reopen else Durability.STEP)
        finally:
            if not isinstance(taken, Lease):
                self._holder.unclaim(run.id)
        return taken

    def _execute(
        self,
        context: Context,
        pipeline: AnyPipeline,
        run: Run,
        given: Mapping[str, Value],
        *,
        lease: Lease,
        allow_changed_code: bool = False,
    ) -> Run:
        """Execute a claimed run whose lease is held, and let go of both, however it ends."""
        told = Recorder()
        self._holder.keep(run.id, lease)
        ended = None
        try:
            finished = self._finished(context, run)
            executor = Executor(run, lease, self._around, finished=finished, allow_changed_code=allow_changed_code)
            how = Engine(pipeline, given, values=self._values, executor=executor).run(told)
            ended = self._end(context, run, lease, how, executor, told)
            return ended
        finally:
            self._holder.let_go(run.id)
            if ended is None:
                self._holder.release(lease)  # before another thread may claim the run under this process's name
            self._holder.unclaim(run.id)

    def _end(self, context: Context, run: Run, lease: Lease, how: Ended, executor: Executor, told: Recorder) -> Run:
        """Commit how a run ended, and the fact that tells of it, in one decision."""
        metrics, params = executor.metrics(0, _PIPELINE_ITSELF, told), executor.params(_PIPELINE_ITSELF, told)
        failed = how.made is None

        def work(connection: Connection) -> Run:
            self._holder.check(connection, lease)
            executor.flush(connection)
            queries.drop_metrics(connection, run.id, attempt=0)
            queries.insert_metrics(connection, run.project, metrics)
            queries.insert_params(connection, run.project, params)
            cpu_seconds, taken_seconds, wall_seconds = queries.spent(connection, run.id)
            ended = replace(
                run,
                state=RunState.FAILED if failed else RunState.SUCCEEDED,
                ended_at=self._clock.now(),
                artifact=None if how.made is None else how.made.artifact,
                error=how.error,
                failed_step=how.failed_step,
                cpu_seconds=cpu_seconds,
                charged_cpu_seconds=cpu_seconds + taken_seconds,
                wall_seconds=wall_seconds,
            )
            queries.update_run(connection, ended)
            kind = FactKind.RUN_FAILED if failed else FactKind.RUN_SUCCEEDED
            self._ledger.record(connection, context, kind, subject=run.id, payload=_told(ended))
            self._holder.release_in(connection, lease)
            return ended

        ended = self._database.write(work, durability=Durability.DECISION)
        return replace(self._readable(ended, how.made), cause=how.cause)

    def _finished(self, context: Context, run: Run) -> Finished:
        def look(connection: Connection) -> Finished:
            return Finished(
                attempts=queries.attempts_of(connection, context.project, run.id),
                hits=queries.hits_of(connection, context.project, run.id),
            )

        return self._database.read(look)

    def _found(self, context: Context, run: str) -> Run:
        found = self._database.read(lambda connection: queries.run(connection, context.project, run))
        if found is None:
            raise NotFound("run", run, hint="runs.list(context) shows the newest ones")
        return self._readable(found)

    def _of_key(self, context: Context, key: str | None) -> Run | None:
        if key is None:
            return None
        found = self._database.read(lambda connection: queries.run_of_key(connection, context.project, key))
        return None if found is None else self._readable(found)

    def _readable(self, run: Run, made: Value | None = None) -> Run:
        """Return the run with a reader for its result, which reads it once."""
        if run.artifact is None:
            return run
        return replace(run, read=cache((made or self._values.stored(run.artifact)).take))

    @staticmethod
    def _import(run: Run) -> AnyPipeline:
        found: object = find(run.reference)
        if not isinstance(found, Pipeline):
            raise BadPipeline(
                f"{run.reference} is no pipeline any more", hint="give it: runs.resume(..., pipeline=...)"
            )
        return cast("AnyPipeline", found)


def _digests(given: Mapping[str, Value]) -> dict[str, str]:
    return {name: made.digest for name, made in given.items()}


def _told(run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {"run": run.id, "pipeline": run.pipeline, "key": run.key, "code": run.code}
    if run.artifact is not None:
        return told | {"codec": run.artifact.codec, "digest": run.artifact.digest}
    return told | {"step": run.failed_step, "error": run.error}


def _reopened(run: Run) -> Run:
    return replace(run, state=RunState.RUNNING, error=None, failed_step=None, ended_at=None)
