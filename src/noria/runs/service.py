"""Verbs of runs: run a pipeline, go on with a run, look at runs and at what they recorded."""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
from noria.runs.erasing import RunEraser
from noria.runs.executors import Executor
from noria.runs.holding import Holder
from noria.runs.inprocess import InProcess
from noria.runs.model import Asked, Attempt, Hit, LogPart, Metric, Param, Progress, Run, RunState
from noria.runs.performing import Performer
from noria.runs.steps import Surroundings
from noria.runs.values import Value, Values, words
from noria.store.blobs import Blobs
from noria.store.database import Connection, Database, Durability
from noria.store.holders import this_process
from noria.store.leases import Lease

_SAFETY_SECONDS = 1.0
"""Who waits for a run is woken when it ends; should that get lost, or its holder die, it looks again after so long."""
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
        executor: Executor | None = None,
    ) -> None:
        self._database = database
        self._values = Values(codecs, blobs)
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids
        self._holder = Holder(database, name=holder or this_process(), seconds=lease_seconds)
        watch = stopwatch or MachineStopwatch()
        self._executor = executor or InProcess(watch)
        around = Surroundings(
            database=database,
            values=self._values,
            holder=self._holder,
            executor=self._executor,
            clock=clock,
            stopwatch=watch,
            sleep=sleep,
            chance=chance or random.Random(),  # noqa: S311 - it spreads retries in time
        )
        self._performer = Performer(around, ledger, readable=self._readable)
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
        spelled = {name: words(value) for name, value in arguments.items()}
        found = self._of_key(context, key) or self._begin(context, fresh, spelled, given)
        if isinstance(found, Lease):
            return self._performer.perform(context, pipeline, fresh, given, lease=found)
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
        """Go on with a run that failed, was stopped or was cut short: what is finished is kept, the rest is executed.

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
        again = self._pipeline_of(found, pipeline)
        given = self._given_again(context, found, again, params or {})
        return self._join(context, again, found, given, reopen=True, allow_changed_code=allow_changed_code)

    def rerun(
        self,
        context: Context,
        run: str,
        *,
        params: Mapping[str, object] | None = None,
        pipeline: AnyPipeline | None = None,
        from_step: str | None = None,
    ) -> Run:
        """Run a run's pipeline again, as a new run, and reuse each step whose code and inputs are the same.

        `params` replace those of the first run; what does not depend on them is not executed, cached or not. Items
        that had failed are tried again. With `from_step` that step, and what comes to see another result of it, is
        executed anew.

        Raises:
            NotFound: there is no such run, or it had no such step.
            BadPipeline: a parameter is unknown.

        """
        self._access.require(context, Permission.RUN_START)
        parent = self._found(context, run)
        again = self._pipeline_of(parent, pipeline)
        if from_step is not None:
            self._must_have_step(context, parent, from_step)
        stored = {param.name: param for param in self._params_of(context, parent) if not param.step}
        again.bind({**stored, **(params or {})})
        given = {name: self._values.stored(param.artifact) for name, param in stored.items()}
        given |= self._given(again, params or {})
        spelled = {name: param.words for name, param in stored.items()}
        spelled |= {name: words(value) for name, value in (params or {}).items()}
        fresh = replace(self._new(context, again, given, None), parent=parent.id, rerun_from=from_step)
        lease = self._begin(context, fresh, spelled, given)
        assert isinstance(lease, Lease)
        return self._performer.perform(context, again, fresh, given, lease=lease)

    def cancel(self, context: Context, run: str) -> Run:
        """Ask for a run to end before its next step; one that nobody executes is cancelled at once.

        What is finished stays, and `resume` goes on from there. A run that has ended is returned as it is.
        """
        return self._ask(context, run, Asked.CANCEL)

    def pause(self, context: Context, run: str) -> Run:
        """Ask for a run to rest before its next step, until it is resumed; a run that has ended is left as it is."""
        return self._ask(context, run, Asked.PAUSE)

    def close(self) -> None:
        """Let go of the executor's processes, if it has any; calling it twice is fine."""
        self._executor.close()

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

    def logs(self, context: Context, run: str, *, step: str | None = None) -> tuple[LogPart, ...]:
        """Return what a run's attempts, or those of one step, wrote so far, in the order in which it came."""
        id_ = self.get(context, run).id
        return tuple(
            self._database.read(lambda connection: queries.logs_of(connection, context.project, id_, step=step))
        )

    def progress(self, context: Context, run: str) -> tuple[Progress, ...]:
        """Return how far a run's steps say that they are."""
        id_ = self.get(context, run).id
        return tuple(self._database.read(lambda connection: queries.progress_of(connection, context.project, id_)))

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
        stored = self._params_of(context, run)
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

    def _begin(self, context: Context, run: Run, spelled: Mapping[str, str], given: Mapping[str, Value]) -> Run | Lease:
        """Commit that a run begins, and take its lease; or return the run that was first with the key."""
        stored = [
            Param(run=run.id, step="", name=name, words=rules.storable(spelled[name]), artifact=kept.artifact)
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
        with self._database.listen(f"run/{run.id}") as ear:
            while run.state is RunState.RUNNING or (reopen and run.state.reopens):
                taken = self._take(context, run, reopen=reopen)
                if isinstance(taken, Run):
                    return taken
                if taken is not None:
                    now = replace(_reopened(run), code=pipeline.code())
                    return self._performer.perform(
                        context, pipeline, now, given, lease=taken, allow_changed_code=allow_changed_code
                    )
                reopen = False  # somebody else executes it: what it comes to now is the answer
                ear.wait(_SAFETY_SECONDS)
                run = self._found(context, run.id)
        return run

    def _take(self, context: Context, run: Run, *, reopen: bool) -> Run | Lease | None:
        """Take the run's lease; the run instead if it has ended meanwhile, None while somebody else executes it."""

        def work(connection: Connection) -> Run | Lease | None:
            lease = self._holder.acquire(connection, run.id)
            now = queries.run(connection, context.project, run.id)
            if lease is None or now is None:
                return None
            if now.state is RunState.SUCCEEDED or (now.state.reopens and not reopen):
                self._holder.release_in(connection, lease)
                return self._readable(now)
            if now.state.reopens:
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

    def erase(self, context: Context, keys: Collection[str], *, column: str, dry_run: bool = False) -> int:
        """Drop the kept results that hold one of some keys, in a `column` or in any text; return how many they are."""
        self._access.require(context, Permission.REVIEW)
        eraser = RunEraser(self._database, self._values)
        return len(eraser.find(context, keys, column=column)) if dry_run else eraser.erase(context, keys, column=column)

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

    def _ask(self, context: Context, run: str, asked: Asked) -> Run:
        """Leave a run as asked for if nobody executes it, else tell whoever does."""
        self._access.require(context, Permission.RUN_START)
        id_ = self._found(context, run).id
        is_free_here = self._holder.claim(id_)

        def work(connection: Connection) -> Run:
            now = queries.run(connection, context.project, id_)
            assert now is not None
            if now.state is not RunState.RUNNING and not (asked is Asked.CANCEL and now.state is RunState.PAUSED):
                return self._readable(now)
            lease = self._holder.acquire(connection, id_) if is_free_here else None
            if lease is None:
                self._holder.ask(connection, id_, asked)
                return now
            self._holder.release_in(connection, lease)
            return self._performer.stop(connection, context, now, asked)

        try:
            return self._database.write(work)
        finally:
            if is_free_here:
                self._holder.unclaim(id_)
            self._database.wake(f"run/{id_}")

    def _must_have_step(self, context: Context, run: Run, step: str) -> None:
        known = {done.step for done in (*self.attempts(context, run.id), *self.hits(context, run.id))}
        if not any(rules.is_part_of(name, step) for name in known):
            raise NotFound("step", step, known=sorted(known))

    def _params_of(self, context: Context, run: Run) -> Sequence[Param]:
        return self._database.read(lambda connection: queries.params_of(connection, context.project, run.id))

    def _pipeline_of(self, run: Run, given: AnyPipeline | None) -> AnyPipeline:
        return given or self._known.get(run.reference) or self._import(run)

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


def _reopened(run: Run) -> Run:
    return replace(run, state=RunState.RUNNING, error=None, failed_step=None, ended_at=None)
