"""Performs a claimed run: gathers what is finished, lets the engine take the rest, commits how it ended."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from noria.core.context import Context
from noria.core.errors import NoriaError
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.pipelines.drawing import Pipeline
from noria.pipelines.model import Needs
from noria.runs import observed, output, queries, rules
from noria.runs.engine import Ended, Engine
from noria.runs.holding import QUEUE
from noria.runs.known import Finished
from noria.runs.model import Asked, AttemptState, Hit, Param, Run, RunState
from noria.runs.recorder import Recorder
from noria.runs.steps import Steps
from noria.runs.stopping import BeyondHere, Stopped
from noria.runs.streams import kept
from noria.runs.surroundings import Surroundings
from noria.runs.telling import Telling
from noria.runs.values import Value
from noria.store import leases
from noria.store.database import Connection
from noria.store.leases import Lease

_PIPELINE_ITSELF = "/"
_TOLD = {
    RunState.SUCCEEDED: FactKind.RUN_SUCCEEDED,
    RunState.FAILED: FactKind.RUN_FAILED,
    RunState.CANCELLED: FactKind.RUN_CANCELLED,
    RunState.PAUSED: FactKind.RUN_PAUSED,
}


class Performer:
    """Performs runs, one in each thread that asks."""

    def __init__(self, around: Surroundings, ledger: Ledger, *, readable: Callable[..., Run]) -> None:
        self._around = around
        self._ledger = ledger
        self._readable = readable

    def perform(
        self,
        context: Context,
        pipeline: Pipeline[..., Any],
        run: Run,
        given: Mapping[str, Value],
        *,
        lease: Lease,
        is_new: bool = False,
        allow_changed_code: bool = False,
        may_leave: bool = False,
    ) -> Run:
        """Perform a claimed run whose lease is held, and let go of both, however it ends.

        Of a new one nothing can have been done before. One that `may_leave` waits for another worker again when a step
        needs what there is not here.
        """
        ended = None
        stop = self._around.holder.keep(run.id, lease, started_in=run.started_in)
        telling = Telling(run, _PIPELINE_ITSELF, 0, self._around, self._checking(run, lease), stop)
        told = Recorder(run=run.id, stop=stop)
        try:
            steps = Steps(
                run,
                lease,
                self._around,
                finished=Finished() if is_new else self._finished(context, run, lease),
                allow_changed_code=allow_changed_code,
                cache=pipeline.cache,
                stop=stop,
                may_leave=may_leave,
            )
            engine = Engine(pipeline, given, values=self._around.values, steps=steps)
            with kept(), _keeping(run.id, telling):
                how = _run(engine, told)
            ended = self._end(context, run, lease, how, steps, told)
            return ended
        finally:
            self._let_go(run, lease, ended)

    def refuse(self, context: Context, run: Run, lease: Lease, problem: BaseException) -> Run:
        """End a claimed run that cannot be executed here, with the reason in words."""
        steps = Steps(run, lease, self._around, finished=Finished(), allow_changed_code=False)
        hint = problem.hint if isinstance(problem, NoriaError) else None
        said = rules.sentence(problem)
        cause = problem if isinstance(problem, Exception) else RuntimeError(said)
        how = Ended(error=f"{said} ({hint})" if hint else said, cause=cause)
        try:
            return self._end(context, run, lease, how, steps, Recorder())
        finally:
            self._around.holder.let_go(run.id)
            self._around.holder.unclaim(run.id)
            self._around.database.wake(f"run/{run.id}")

    def stop(self, connection: Connection, context: Context, run: Run, asked: Asked) -> Run:
        """Leave a run that nobody executes as somebody asked for; a cancelled one has ended, a paused one rests."""
        state = asked.ends_as
        ended_at = self._around.clock.now() if state is RunState.CANCELLED else None
        stopped = replace(run, state=state, ended_at=ended_at, error=_by(context, asked))
        queries.update_run(connection, stopped)
        self._record(connection, context, stopped)
        return stopped

    def _let_go(self, run: Run, lease: Lease, ended: Run | None) -> None:
        """Let others have the run, and wake who waits for it."""
        holder, database = self._around.holder, self._around.database
        holder.let_go(run.id)
        if ended is None:
            holder.release(lease)  # before another thread may claim the run under this process's name
        holder.unclaim(run.id)
        database.wake(f"run/{run.id}")
        if run.priority is not None and (ended is None or ended.state.is_open):
            database.wake(QUEUE)

    def _end(
        self, context: Context, run: Run, lease: Lease, how: Ended | Asked | Needs, steps: Steps, told: Recorder
    ) -> Run:
        """Commit how a run ended, and the fact that tells of it, in one decision."""
        metrics = steps.metrics(0, _PIPELINE_ITSELF, told)
        try:
            params = steps.params(_PIPELINE_ITSELF, told)
        except Exception as problem:  # noqa: BLE001 - the run ends, whatever storing a user's value raises
            params, how = list[Param](), _unkept(run, problem) if isinstance(how, Ended) else how

        def work(connection: Connection, *, again: bool) -> Run:
            if again and (found := self._ended_before(connection, run, lease)) is not None:
                return self._readable(found)
            self._around.holder.check(connection, lease, run=run.id)
            steps.flush(connection)
            if lease.token > 1:  # somebody has ended it before, and may have kept metrics of the pipeline itself
                observed.drop_metrics(connection, run.id, attempt=0)
            observed.insert_metrics(connection, run.project, metrics)
            observed.insert_params(connection, run.project, params)
            self._around.holder.release_in(connection, lease)
            so_far = _with_spent(connection, run)
            if isinstance(how, Asked):
                return self.stop(connection, context, so_far, how)
            if isinstance(how, Needs):
                return _waiting(connection, so_far, how)
            ended = _ended(so_far, how, self._around.clock.now())
            queries.update_run(connection, ended)
            self._record(connection, context, ended)
            cause = None if how.cause is None else rules.without_secrets_of(how.cause)
            return replace(self._readable(ended, how.made), cause=cause)

        def commit(again: bool) -> Run:  # noqa: FBT001 - see Patience
            return self._around.database.write(lambda connection: work(connection, again=again))

        return self._around.patience.ask(commit)

    def _checking(self, run: Run, lease: Lease) -> Callable[[Connection], object]:
        return lambda connection: self._around.holder.check(connection, lease, run=run.id)

    @staticmethod
    def _ended_before(connection: Connection, run: Run, lease: Lease) -> Run | None:
        """Return the run if its end was committed, and nobody heard the answer; others may have looked at it since."""
        leases.settle(connection, lease.name)
        found = queries.run(connection, run.project, run.id)
        return None if found is None or found.state.is_open else found

    def _record(self, connection: Connection, context: Context, run: Run) -> None:
        told: dict[str, Any] = {"run": run.id, "pipeline": run.pipeline, "key": run.key, "code": run.code}
        if run.artifact is not None:
            told |= {"codec": run.artifact.codec, "digest": run.artifact.digest}
        else:
            told |= {"step": run.failed_step, "error": run.error}
        self._ledger.record(connection, context, _TOLD[run.state], subject=run.id, payload=told)

    def _finished(self, context: Context, run: Run, lease: Lease) -> Finished:
        """Return what the run has finished, and hear what was asked of it before it was taken."""

        def look(connection: Connection) -> Finished:
            self._around.holder.hear(run.id, leases.asked(connection, lease))
            return Finished(
                attempts=queries.attempts_of(connection, context.project, run.id),
                hits=queries.hits_of(connection, context.project, run.id),
                inherited=inherited(connection, context, run) if run.parent else {},
                resumed_at=self._ledger.last_time(connection, context, run.id, FactKind.RUN_RESUMED),
            )

        return self._around.patience.ask(lambda _: self._around.database.read(look))


def inherited(connection: Connection, context: Context, run: Run) -> dict[tuple[str, str], Hit]:
    """Return the results that a rerun may take from its parent: all, or those before a step."""
    parent = run.parent or ""
    made = [
        Hit(
            run=run.id,
            step=attempt.step,
            inputs=attempt.inputs,
            code=attempt.code,
            source_run=attempt.run,
            source_number=attempt.number,
            cpu_seconds=attempt.cpu_seconds,
            artifact=attempt.artifact,
        )
        for attempt in queries.attempts_of(connection, context.project, parent)
        if attempt.artifact is not None and attempt.state is AttemptState.SUCCEEDED
    ]
    found = [*made, *queries.hits_of(connection, context.project, parent)]
    return {
        (hit.step, hit.inputs): hit
        for hit in found
        if run.rerun_from is None or not rules.is_part_of(hit.step, run.rerun_from)
    }


@contextmanager
def _keeping(run: str, telling: Telling) -> Generator[None]:
    """Keep with the run itself what is written of which nobody can tell the step."""
    output.begin_run(run, telling.recorder.log)
    try:
        yield
    finally:
        output.end_run(run)
        with suppress(NoriaError):  # whoever has lost the lease hears of it when the run's end is committed
            telling.recorder.log.hand_on(to_the_end=True)


def _waiting(connection: Connection, run: Run, needs: Needs) -> Run:
    """Let a run wait for a worker that has what a step needs; what it has finished stays."""
    waits = replace(run, state=RunState.QUEUED, needs=rules.needs_of_all([run.needs or Needs(), needs]))
    queries.update_run(connection, waits)
    return waits


def _unkept(run: Run, problem: Exception) -> Ended:
    said = f"pipeline {run.pipeline!r} logged a param that cannot be kept: {rules.sentence(problem)}"
    return Ended(error=said, cause=problem)


def _ended(run: Run, how: Ended, at: datetime) -> Run:
    return replace(
        run,
        state=RunState.FAILED if how.made is None else RunState.SUCCEEDED,
        ended_at=at,
        artifact=None if how.made is None else how.made.artifact,
        error=None if how.error is None else rules.storable(how.error),
        failed_step=how.failed_step,
    )


def _with_spent(connection: Connection, run: Run) -> Run:
    spent = queries.spent(connection, run.id)
    return replace(
        run,
        cpu_seconds=spent.cpu_seconds,
        charged_cpu_seconds=spent.cpu_seconds + spent.taken_cpu_seconds,
        wall_seconds=spent.wall_seconds,
        usd=spent.usd,
    )


def _run(engine: Engine, told: Recorder) -> Ended | Asked | Needs:
    try:
        ended = engine.run(told)
        if told.was_stopped:  # the pipeline itself has caught it
            told.heed(at_rest=True)
    except Stopped as stopped:
        if stopped.asked is Asked.LEAVE:
            raise KeyboardInterrupt from stopped
        return stopped.asked
    except BeyondHere as beyond:
        return beyond.needs
    return ended


def _by(context: Context, asked: Asked) -> str:
    return f"{asked.ends_as.value} by {context.actor}"
