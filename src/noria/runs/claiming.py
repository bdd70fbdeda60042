"""Decides who executes a run: the first that begins it, whoever takes it over, or nobody any more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from noria.core.context import Context
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.pipelines.model import Needs
from noria.runs import observed, queries, waiting
from noria.runs.executors import lacking
from noria.runs.holding import ASKED, QUEUE
from noria.runs.model import Asked, Param, Run, RunState
from noria.runs.surroundings import Surroundings
from noria.store import leases
from noria.store.database import Connection, Durability
from noria.store.leases import Lease
from noria.store.waking import after_commit

LeavesAs = Callable[[Connection, Context, Run, Asked], Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A submitted run that this worker is to execute, and the lease under which anything of it is committed."""

    run: Run
    lease: Lease


class Claims:
    """Claims runs for a thread of this process, and lets go of those that have ended or are somebody else's."""

    def __init__(self, around: Surroundings, ledger: Ledger, *, stop: LeavesAs) -> None:
        self._around = around
        self._ledger = ledger
        self._stop = stop
        self._met = set[Needs]()

    def begin(self, context: Context, run: Run, given: Sequence[Param]) -> Run | Lease:
        """Commit that a run begins, and take its lease; or return the run that was first with the key."""
        holder = self._around.holder

        def work(connection: Connection, *, again: bool) -> Run | Lease:
            known = queries.run(connection, context.project, run.id) if again else None
            if known is None:
                if not queries.insert_run(connection, run):
                    first = queries.run_of_key(connection, context.project, run.key or "")
                    assert first is not None
                    return first
                observed.insert_params(connection, context.project, given)
                return holder.acquire_new(connection, run.id)
            lease = holder.acquire(connection, run.id)
            if lease is not None and lease.token > 1:  # it is no longer new: others have had it
                holder.release_in(connection, lease)
                return known
            return lease or known

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
                observed.insert_params(connection, context.project, given)
                self._around.holder.offer(connection, run.id)
            after_commit(connection, QUEUE)
            return known or run

        return self._around.patience.ask(lambda _: self._around.database.write(work))

    def next(self, context: Context) -> Claimed | None:
        """Take the submitted run that is next, of those that this worker has what they need for; None when none waits.

        Workers that ask at once get one each: what one has locked, the others pass over.
        """
        mine: list[str] = []
        taken: Claimed | None = None

        def commit(_again: bool) -> Claimed | None:  # noqa: FBT001 - see Patience
            return self._around.database.write(lambda c: self._first(c, context, mine), durability=Durability.STEP)

        try:
            taken = self._around.patience.ask(commit)
        finally:
            for run in mine:
                if taken is None or run != taken.run.id:
                    self._around.holder.unclaim(run)
        return taken

    def take(self, context: Context, run: Run, *, reopen: bool) -> Run | Claimed | None:
        """Take the run's lease; the run instead if it has ended meanwhile, None while somebody else executes it."""
        holder, database = self._around.holder, self._around.database
        if not holder.claim(run.id):
            return None
        durability = Durability.DECISION if reopen else Durability.STEP
        taken: Run | Claimed | None = None

        def work(connection: Connection) -> Run | Claimed | None:
            return self._taken(connection, context, run.id, reopen=reopen)

        try:
            taken = self._around.patience.ask(lambda _: database.write(work, durability=durability))
        finally:
            if not isinstance(taken, Claimed):
                holder.unclaim(run.id)
        return taken

    def again(self, context: Context, claimed: Claimed) -> Claimed | None:
        """Take a run under a new lease whose process was killed: what that one had sent may be committed later, and is fenced.

        None when it is not to be executed here any more: it has ended or rests, or somebody else has it.
        """

        def work(connection: Connection) -> Run | Claimed | None:
            self._around.holder.release_in(connection, claimed.lease)
            now = queries.run(connection, context.project, claimed.run.id)
            is_open = now is not None and now.state is RunState.RUNNING
            return self._taken(connection, context, claimed.run.id, reopen=False) if is_open else None

        taken = self._around.patience.ask(lambda _: self._around.database.write(work, durability=Durability.STEP))
        return taken if isinstance(taken, Claimed) else None

    def drop(self, claimed: Claimed) -> None:
        """Give a claimed run back as it is, for another worker to go on with at once."""
        self._around.holder.release(claimed.lease)
        self.unclaim(claimed)
        self._around.database.wake(QUEUE)

    def unclaim(self, claimed: Claimed) -> None:
        """Let other threads of this process have a run that was executed in another process."""
        self._around.holder.unclaim(claimed.run.id)

    def _first(self, connection: Connection, context: Context, mine: list[str]) -> Claimed | None:
        """Take the first run that can be taken; `mine` are those that were claimed for this thread on the way."""
        passed: set[str] = set()
        while (run := self._candidate(connection, context, mine, passed)) is not None:
            taken = self._taken(connection, context, run, reopen=False)
            if isinstance(taken, Claimed):
                return taken
            passed.add(run)
        return None

    def _candidate(self, connection: Connection, context: Context, mine: list[str], passed: set[str]) -> str | None:
        unheard = next((run for run in mine if run not in passed), None)
        if unheard is not None:  # the answer to the commit that took it was lost
            return unheard
        now, offers = self._around.database.lease_time(connection), self._around.executor.offers
        while True:
            beyond = {needs for needs in self._met if lacking(needs, offers)}
            found = waiting.next_waiting(connection, context.project, now, beyond=beyond, but=passed)
            if found is None:
                return None
            run, needs = found
            if needs is not None and lacking(needs, offers):
                self._met.add(needs)
                passed.add(run)
                after_commit(connection, QUEUE)  # whoever can do it may have passed over it while it was locked here
            elif self._around.holder.claim(run):
                mine.append(run)
                return run
            else:
                passed.add(run)

    def _taken(self, connection: Connection, context: Context, run: str, *, reopen: bool) -> Run | Claimed | None:
        lease = self._around.holder.acquire(connection, run)
        now = queries.run(connection, context.project, run)
        if lease is None or now is None:
            return None
        if now.state is RunState.SUCCEEDED or (now.state.reopens and not reopen):
            self._around.holder.release_in(connection, lease)
            return now
        if now.state is not RunState.RUNNING:
            queries.update_run(connection, reopened(now))
        if reopen:  # that is the last word; without it, what was asked before somebody lost the run still stands
            leases.forget(connection, lease)
        if now.state.reopens:
            told = {"run": run, "pipeline": now.pipeline, "key": now.key}
            self._ledger.record(connection, context, FactKind.RUN_RESUMED, subject=run, payload=told)
        return Claimed(run=reopened(now), lease=lease)

    def ask(self, context: Context, run: str, asked: Asked) -> Run:
        """Leave a run as asked for if nobody executes it, else tell whoever does."""
        holder = self._around.holder
        is_free_here = holder.claim(run)

        def work(connection: Connection) -> Run:
            lease = holder.acquire(connection, run) if is_free_here else None
            now = queries.run(connection, context.project, run)  # not before: who holds the lease may be ending the run
            assert now is not None
            if lease is not None:
                holder.release_in(connection, lease)
            if not now.state.is_open and not (asked is Asked.CANCEL and now.state is RunState.PAUSED):
                return now
            if lease is None:
                holder.ask(connection, run, asked)
                return now
            return self._stop(connection, context, now, asked)

        try:
            return self._around.database.write(work)
        finally:
            if is_free_here:
                holder.unclaim(run)
            self._around.database.wake(f"run/{run}")
            self._around.database.wake(ASKED)


def reopened(run: Run) -> Run:
    """Return a run that goes on."""
    return replace(run, state=RunState.RUNNING, error=None, failed_step=None, ended_at=None)
