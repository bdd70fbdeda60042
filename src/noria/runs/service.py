"""Verbs of runs: run a pipeline, go on with a run, look at runs and at what they recorded."""

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import cast

from noria.access.model import Permission
from noria.access.service import Access
from noria.core import digests
from noria.core.clock import Clock, MachineStopwatch, Stopwatch
from noria.core.codecs import Codecs
from noria.core.context import Context
from noria.core.errors import BadPipeline, NotFound
from noria.core.ids import Ids
from noria.ledger.service import Ledger
from noria.pipelines.bundles import bundle_of
from noria.pipelines.drawing import Pipeline
from noria.pipelines.model import Needs
from noria.pipelines.reaching import steps_reached
from noria.pipelines.references import find, refuse_unless_found
from noria.runs import queries, rules
from noria.runs.claiming import Claimed, Claims
from noria.runs.erasing import RunEraser
from noria.runs.executors import Executor
from noria.runs.holding import QUEUE, Holder
from noria.runs.inprocess import InProcess, is_for_the_process
from noria.runs.model import Asked, Param, Prices, Run, RunState
from noria.runs.performing import Performer
from noria.runs.queue import Queue
from noria.runs.recorder import recorder
from noria.runs.records import Records
from noria.runs.starting import AnyPipeline, Fresh, Starts, started_by_step
from noria.runs.surroundings import Surroundings
from noria.runs.values import Value, Values
from noria.store.blobs import Blobs
from noria.store.database import Database
from noria.store.holders import this_process
from noria.store.leases import Lease
from noria.store.patience import Patience

_PATIENCE_SECONDS = 300.0
"""A run waits so long for a database that does not answer, such as one that is started again, before it gives up."""
_SAFETY_SECONDS = 1.0
"""Who waits for a run is woken when it ends; should that get lost, or its holder die, it looks again after so long."""


class Runs(Records):
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
        sleep: Callable[[float], None] | None = None,
        chance: random.Random | None = None,
        holder: str | None = None,
        executor: Executor | None = None,
        prices: Prices | None = None,
        check_types: bool = True,
    ) -> None:
        super().__init__(database, Values(codecs, blobs), access)
        watch = stopwatch or MachineStopwatch()
        self._patience = Patience(seconds=_PATIENCE_SECONDS, sleep=sleep or time.sleep, stopwatch=watch)
        self._around = around = Surroundings(
            database=database,
            patience=self._patience,
            values=self._values,
            holder=Holder(database, name=holder or this_process(), seconds=lease_seconds),
            executor=executor or InProcess(watch),
            clock=clock,
            stopwatch=watch,
            sleep=sleep,
            chance=chance or random.Random(),  # noqa: S311 - it spreads retries in time
            prices=prices or Prices(),
            check_types=check_types,
        )
        self._starts = Starts(self._values, ids, clock, check_types=check_types)
        self._performer = Performer(around, ledger, readable=self._readable)
        self._claims = Claims(around, ledger, stop=self._performer.stop)
        self.queue = Queue(around, self._claims, self._performer, access)
        self._known: dict[str, AnyPipeline] = {}

    def run(
        self,
        context: Context,
        pipeline: AnyPipeline,
        *,
        params: Mapping[str, object] | None = None,
        key: str | None = None,
        on_begin: Callable[[str], object] | None = None,
    ) -> Run:
        """Run a pipeline to its end, and return the run: succeeded, or failed with its error in a sentence.

        With a `key`, the same pipeline and arguments are the same run: one that has ended is returned as it is, one
        whose process died is gone on with, and one that another process executes is waited for. Without a key it is a
        new run; but one that a step starts is known by that step and its arguments: when the step is tried again, the
        same run goes on, also if it had failed or was stopped. `on_begin` hears the run's id before anything of it is executed.

        Raises:
            BadPipeline: a parameter is unknown or missing.
            Invalid: an argument that no codec carries, or that is not what its parameter is annotated with.
            Conflict: the key is that of a run with other arguments.
            CodeChanged: the run was begun with other code than its finished steps have now.
            LeaseLost: this process was too slow, and another one has taken the run.

        """
        asked = self._asked_for(context, pipeline, params or {}, key)
        fresh = asked.run
        is_inner = key is None and fresh.started_in is not None
        if is_inner:
            fresh = started_by_step(fresh)
        found = self._of_key(context, fresh.key)
        if is_inner and found is not None and rules.is_of_other_code(found, fresh):
            fresh = replace(fresh, key=rules.key_with_code(fresh))
            found = self._of_key(context, fresh.key)
        found = found or self._claims.begin(context, fresh, asked.stored)
        if on_begin is not None:
            on_begin(fresh.id if isinstance(found, Lease) else found.id)
        if isinstance(found, Lease):
            return _heeded(self._performer.perform(context, pipeline, fresh, asked.given, lease=found, is_new=True))
        rules.must_be_same(found, fresh)
        return _heeded(self._join(context, pipeline, found, asked.given, reopen=is_inner))

    def submit(
        self,
        context: Context,
        pipeline: AnyPipeline,
        *,
        params: Mapping[str, object] | None = None,
        key: str | None = None,
        priority: int = 0,
        tags: Collection[str] = (),
    ) -> Run:
        """Let a run wait for a worker (`noria work`), and return it at once; a higher priority goes first, then age.

        The user's modules that it needs are kept with it as they are now, and the worker executes exactly those. Only
        a worker that has the `tags`, and what the pipeline's steps say that they need, takes it. With the `key` of a
        run that is there, that run is returned. Raises as `run` does, and `BadPipeline` for a pipeline that no other
        process can find.
        """
        asked = self._asked_for(context, pipeline, params or {}, key)
        refuse_unless_found(pipeline.function, pipeline.what)
        archive = bundle_of([pipeline.function])
        waiting = replace(
            asked.run,
            state=RunState.QUEUED,
            priority=priority,
            bundle=None if archive is None else self._values.blobs.put(archive),
            needs=rules.needs_of_all([*(s.needs for s in steps_reached(pipeline)), Needs(tags=tuple(tags))]),
        )
        found = self._claims.submit(context, waiting, asked.stored)
        rules.must_be_same(found, waiting)
        return self._readable(found)

    def run_next(self, context: Context) -> Run | None:
        """Execute the submitted run that is next, also one whose worker was lost; None when none waits.

        It is executed by the code of this process, and one that was submitted with other code has failed: `noria work`
        gives each run a process of its own, with the code that it was submitted with.
        """
        claimed = self.queue.claim(context)
        return None if claimed is None else self.perform(context, claimed)

    def perform(self, context: Context, claimed: Claimed, *, is_pinned: bool = False) -> Run:
        """Execute a claimed run by the code that is found in this process; it has failed where that is not its own.

        Where it `is_pinned`, the code comes from the run's bundle, and nothing is compared.
        """
        run, holder = claimed.run, self._around.holder
        holder.keep(run.id, claimed.lease)  # importing users' modules may take long
        try:
            pipeline = self._pipeline_of(run, None)
            if not is_pinned:
                rules.must_have_bundle(run, _bundle_digest(pipeline))
            given = self._given_again(context, run, pipeline, {})
        except BaseException as problem:  # whatever importing a user's module raises
            if isinstance(problem, Exception) and rules.ends_for_all(problem):
                return self.queue.refuse(context, claimed, problem)
            holder.let_go(run.id)
            self._claims.drop(claimed)
            raise
        try:
            return self._performer.perform(
                context, pipeline, run, given, lease=claimed.lease, allow_changed_code=is_pinned, may_leave=True
            )
        except (Exception, SystemExit) as problem:
            if is_for_the_process(problem) or not rules.ends_for_all(problem):
                raise
            again = self._claims.take(context, run, reopen=False)
            return self.queue.refuse(context, again, problem) if isinstance(again, Claimed) else run

    def leave(self) -> tuple[str, ...]:
        """Give back every run that this process executes, and return which: others may go on with them at once.

        Steps under way are cut short where that can be done; whatever they come to, nothing more is committed here.
        """
        left = self._around.holder.leave_all()
        self._database.wake(QUEUE)
        return left

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
        on_begin: Callable[[str], object] | None = None,
    ) -> Run:
        """Run a run's pipeline again, as a new run, and reuse each step whose code and inputs are the same.

        `params` replace those of the first run; what does not depend on them is not executed, cached or not. Items
        that had failed are tried again. With `from_step` that step, and what comes to see another result of it, is
        executed anew. `on_begin` hears the new run's id.

        Raises:
            NotFound: there is no such run, or it had no such step.
            BadPipeline: a parameter is unknown.

        """
        self._access.require(context, Permission.RUN_START)
        parent = self._found(context, run)
        again = self._pipeline_of(parent, pipeline)
        if from_step is not None:
            self._must_have_step(context, parent, from_step)
        before = self._given_before(context, parent)
        fresh = self._starts.child(context, parent, again, before=before, params=params or {}, from_step=from_step)
        begun = self._claims.begin(context, fresh.run, fresh.stored)
        if on_begin is not None:
            on_begin(fresh.run.id)
        if isinstance(begun, Run):
            return self._join(context, again, begun, fresh.given)
        return self._performer.perform(context, again, fresh.run, fresh.given, lease=begun)

    def cancel(self, context: Context, run: str) -> Run:
        """Ask for a run to end; one that nobody executes is cancelled at once.

        A step under way is cut short within about a second where its executor can end steps, or where the run has a
        process of its own (`noria work`); else it ends when it next tells something, or by itself.
        What is finished stays, and `resume` goes on from there. A run that has ended is returned as it is.
        """
        return self._ask(context, run, Asked.CANCEL)

    def pause(self, context: Context, run: str) -> Run:
        """Ask for a run to rest before its next step, until it is resumed; a run that has ended is left as it is.

        A step that has started runs of its own rests with them, and is executed again when the run goes on.
        """
        return self._ask(context, run, Asked.PAUSE)

    def close(self) -> None:
        """Let go of the executor's processes, if it has any; calling it twice is fine."""
        self._around.executor.close()

    def _asked_for(
        self, context: Context, pipeline: AnyPipeline, params: Mapping[str, object], key: str | None
    ) -> Fresh:
        self._patience.ask(lambda _: self._access.require(context, Permission.RUN_START))
        fresh = self._patience.ask(lambda _: self._starts.fresh(context, pipeline, params, key))
        self._known[pipeline.reference] = pipeline
        return fresh

    def _given_again(
        self, context: Context, run: Run, pipeline: AnyPipeline, params: Mapping[str, object]
    ) -> dict[str, Value]:
        before = self._given_before(context, run)
        return self._starts.given_again(run, pipeline, before=before, params=params)

    def _given_before(self, context: Context, run: Run) -> dict[str, Param]:
        params = self._patience.ask(lambda _: self._params_of(context, run))
        return {param.name: param for param in params if not param.step}

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
            while run.state.is_open or (reopen and run.state.reopens):
                taken = self._claims.take(context, run, reopen=reopen)
                if isinstance(taken, Run):
                    return self._readable(taken)
                if taken is not None:
                    now = replace(taken.run, code=pipeline.code())
                    return self._performer.perform(
                        context, pipeline, now, given, lease=taken.lease, allow_changed_code=allow_changed_code
                    )
                reopen = False  # somebody else executes it: what it comes to now is the answer
                ear.wait(_SAFETY_SECONDS)
                run = self._patience.ask(lambda _, id_=run.id: self._found(context, id_))
        return self._readable(run)

    def erase(self, context: Context, keys: Collection[str], *, column: str, dry_run: bool = False) -> int:
        """Drop the kept results that hold one of some keys, in a `column` or in any text; return how many they are."""
        self._access.require(context, Permission.REVIEW)
        eraser = RunEraser(self._database, self._values)
        return len(eraser.find(context, keys, column=column)) if dry_run else eraser.erase(context, keys, column=column)

    def _of_key(self, context: Context, key: str | None) -> Run | None:
        if key is None:
            return None
        project = context.project
        return self._patience.ask(lambda _: self._database.read(lambda c: queries.run_of_key(c, project, key)))

    def _ask(self, context: Context, run: str, asked: Asked) -> Run:
        self._access.require(context, Permission.RUN_START)
        return self._readable(self._claims.ask(context, self._found(context, run).id, asked))

    def _must_have_step(self, context: Context, run: Run, step: str) -> None:
        known = {done.step for done in (*self.attempts(context, run.id), *self.hits(context, run.id))}
        if not any(rules.is_part_of(name, step) for name in known):
            raise NotFound("step", step, known=sorted(known))

    def pipeline_of(self, context: Context, run: str) -> AnyPipeline:
        """Return the pipeline of a run as it is found in this process. Raises `NotFound` where it is not."""
        return self._pipeline_of(self.get(context, run), None)

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


def _heeded(run: Run) -> Run:
    """Return the run, unless it rests because the one around it is to stop: then the step that started it ends here."""
    around = recorder.get()
    if around is not None and run.state in (RunState.CANCELLED, RunState.PAUSED):
        around.heed(at_rest=True)
    return run


def _bundle_digest(pipeline: AnyPipeline) -> str | None:
    archive = bundle_of([pipeline.function])
    return None if archive is None else digests.of_bytes(archive)
