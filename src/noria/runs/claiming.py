"""Decides who executes a run: the first that begins it, whoever takes it over, or nobody any more."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from noria.core.context import Context
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.runs import queries
from noria.runs.model import Asked, Param, Run, RunState
from noria.runs.surroundings import Surroundings
from noria.store.database import Connection, Durability
from noria.store.leases import Lease
from noria.store.waking import after_commit

QUEUE = "queue"
"""The topic on which `Database.listen` hears that a run was submitted."""
_MOST_LOOKED_AT = 32
"""So many workers at once find a run each; the others look again."""

Stop = Callable[[Connection, Context, Run, Asked], Run]


class Claims:
    """Claims runs for a thread of this process, and lets go of those that have ended or are somebody else's."""

    def __init__(self, around: Surroundings, ledger: Ledger, *, stop: Stop) -> None:
        self._around = around
        self._ledger = ledger
        self._stop = stop

    def begin(self, context: Context, run: Run, given: Sequence[Param]) -> Run | Lease:
        """Commit that a run begins, and take its lease; or return the run that was first with the key."""
        holder = self._around.holder

        def work(connection: Connection, *, again: bool) -> Run | Lease:
            if not (again and queries.run(connection, context.project, run.id)):
                if not queries.insert_run(connection, run):
                    first = queries.run_of_key(connection, context.project, run.key or "")
                    assert first is not None
                    return first
                queries.insert_params(connection, context.project, given)
            lease = holder.acquire(connection, run.id)
            assert lease is not None
            return lease

        def commit(again: bool) -> Run | Lease:  # noqa: FBT001 - see Patience
            return self._around.database.write(lambda c: work(c, again=again), durability=Durability.STEP)

        holder.claim(run.id)
        try:
            begun = self._around.patience.ask(commit)
        except BaseException:
            holder.unclaim(run.id)
            raise
        if isinstance(begun, Run):
            holder.unclaim(run.id)
        return begun

    def submit(self, context: Context, run: Run, given: Sequence[Param]) -> Run:
        """Commit that a run waits to be executed; or return the run that was first with the key."""

        def work(connection: Connection) -> Run:
            known = queries.run(connection, context.project, run.id)  # there if nobody heard that it was committed
            if known is None and not queries.insert_run(connection, run):
                known = queries.run_of_key(connection, context.project, run.key or "")
            if known is None:
                queries.insert_params(connection, context.project, given)
            after_commit(connection, QUEUE)
            return known or run

        return self._around.patience.ask(lambda _: self._around.database.write(work))

    def next(self, context: Context) -> tuple[Run, Lease] | None:
        """Take the submitted run that is next: of those with the highest priority the one that was first."""
        database = self._around.database

        def look(connection: Connection) -> list[Run]:
            now = database.lease_time(connection)
            return queries.waiting_runs(connection, context.project, now, limit=_MOST_LOOKED_AT)

        for run in self._around.patience.ask(lambda _: database.read(look)):
            taken = self.take(context, run, reopen=False)
            if isinstance(taken, Lease):
                return reopened(run), taken
        return None

    def take(self, context: Context, run: Run, *, reopen: bool) -> Run | Lease | None:
        """Take the run's lease; the run instead if it has ended meanwhile, None while somebody else executes it."""
        holder = self._around.holder

        def work(connection: Connection) -> Run | Lease | None:
            lease = holder.acquire(connection, run.id)
            now = queries.run(connection, context.project, run.id)
            if lease is None or now is None:
                return None
            if now.state is RunState.SUCCEEDED or (now.state.reopens and not reopen):
                holder.release_in(connection, lease)
                return now
            if now.state is not RunState.RUNNING:
                queries.update_run(connection, reopened(now))
            if now.state.reopens:
                told = {"run": run.id, "pipeline": run.pipeline, "key": run.key}
                self._ledger.record(connection, context, FactKind.RUN_RESUMED, subject=run.id, payload=told)
            return lease

        if not holder.claim(run.id):
            return None
        durability = Durability.DECISION if reopen else Durability.STEP
        taken: Run | Lease | None = None
        try:
            taken = self._around.patience.ask(lambda _: self._around.database.write(work, durability=durability))
        finally:
            if not isinstance(taken, Lease):
                holder.unclaim(run.id)
        return taken

    def ask(self, context: Context, run: str, asked: Asked) -> Run:
        """Leave a run as asked for if nobody executes it, else tell whoever does."""
        holder = self._around.holder
        is_free_here = holder.claim(run)

        def work(connection: Connection) -> Run:
            now = queries.run(connection, context.project, run)
            assert now is not None
            if not now.state.is_open and not (asked is Asked.CANCEL and now.state is RunState.PAUSED):
                return now
            lease = holder.acquire(connection, run) if is_free_here else None
            if lease is None:
                holder.ask(connection, run, asked)
                return now
            holder.release_in(connection, lease)
            return self._stop(connection, context, now, asked)

        try:
            return self._around.database.write(work)
        finally:
            if is_free_here:
                holder.unclaim(run)
            self._around.database.wake(f"run/{run}")


def reopened(run: Run) -> Run:
    """Return a run that goes on."""
    return replace(run, state=RunState.RUNNING, error=None, failed_step=None, ended_at=None)
