"""The queue as its workers see it: they say what they have, take what waits, and give back what they cannot end."""

from dataclasses import dataclass
from datetime import timedelta

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.context import Context
from noria.pipelines.model import Needs
from noria.runs import rules, waiting
from noria.runs.claiming import Claimed, Claims
from noria.runs.executors import Worker, lacking
from noria.runs.model import Asked, Run
from noria.runs.performing import Performer
from noria.runs.surroundings import Surroundings
from noria.store import leases
from noria.store.database import Connection, Durability


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """Runs that wait, and that no worker which is there can execute: what they need, how many they are, the oldest."""

    needs: Needs | None
    number: int
    oldest: str

    @classmethod
    def of(cls, run: Run) -> "Unmet":
        """Return it for one run."""
        return cls(needs=run.needs, number=1, oldest=run.id)

    def words(self) -> str:
        """Say what they wait for."""
        return "waits for a worker" + (f" with {rules.needed(self.needs)}" if self.needs else "")


class Queue:
    """Submitted runs, and the workers that execute them."""

    def __init__(self, around: Surroundings, claims: Claims, performer: Performer, access: Access) -> None:
        self._around = around
        self._claims = claims
        self._performer = performer
        self._access = access

    def attend(self, context: Context, *, seconds: float) -> None:
        """Say that this process is a worker, what it has, and that it will say so again within some seconds."""
        self._access.require(context, Permission.RUN_START)
        database, executor = self._around.database, self._around.executor
        offers = executor.offers

        def work(connection: Connection) -> None:
            expires_at = database.lease_time(connection) + timedelta(seconds=seconds)
            name = self._around.holder.name
            there = Worker(name=name, executor=executor.name, offers=offers, expires_at=expires_at)
            waiting.put_worker(connection, context.project, there)

        database.write(work, durability=Durability.STEP)

    def depart(self) -> None:
        """Say that this process is a worker no more."""
        database, name = self._around.database, self._around.holder.name
        database.write(
            lambda c: waiting.drop_workers(c, name=name, now=database.lease_time(c)), durability=Durability.STEP
        )

    def workers(self, context: Context) -> tuple[Worker, ...]:
        """Return the workers that are there."""
        self._access.require(context, Permission.RUN_READ)
        database = self._around.database
        return tuple(database.read(lambda c: waiting.list_workers(c, context.project, database.lease_time(c))))

    def unmet(self, context: Context) -> tuple[Unmet, ...]:
        """Return what waits and no worker which is there can execute, the oldest first."""
        offers = [worker.offers for worker in self.workers(context)]
        database = self._around.database
        found = database.read(lambda c: waiting.waiting_needs(c, context.project, database.lease_time(c)))
        return tuple(
            Unmet(needs=needs, number=number, oldest=oldest)
            for needs, number, oldest in found
            if all(lacking(needs or Needs(), offer) for offer in offers)
        )

    def claim(self, context: Context) -> Claimed | None:
        """Take the run that is next, for a process of its own to execute: then `drop`, `refuse` or `end` it here."""
        self._access.require(context, Permission.RUN_START)
        return self._claims.next(context)

    def asked(self, claimed: Claimed) -> Asked | None:
        """Return what somebody has asked of a run."""
        said = self._around.database.read(lambda connection: leases.asked(connection, claimed.lease))
        return None if said is None else Asked(said)

    def again(self, context: Context, claimed: Claimed) -> Claimed | None:
        """Take a run again whose process was killed; None when it is not to be executed here any more."""
        return self._claims.again(context, claimed)

    def drop(self, claimed: Claimed) -> None:
        """Give a run back as it is; the next worker goes on with it at once."""
        self._claims.drop(claimed)

    def end(self, claimed: Claimed) -> None:
        """Say that the process which executed a run has ended, and the run with it."""
        self._claims.unclaim(claimed)

    def refuse(self, context: Context, claimed: Claimed, problem: BaseException) -> Run:
        """End a run that cannot be executed, with the reason in words."""
        return self._performer.refuse(context, claimed.run, claimed.lease, problem)
