"""One loop answering one fact: what its verbs hold in their hands, and the one way in which they decide."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.ids import Ids
from noria.datasets.service import Datasets
from noria.guards.service import Guards
from noria.ledger.model import Fact, FactKind
from noria.ledger.service import Ledger
from noria.loop import queries, rules
from noria.loop.model import Cycle, CycleState, LoopRow, Outcome, Stumble
from noria.loop.spec import Loop
from noria.monitors.service import Monitors
from noria.registry.loading import Loader
from noria.registry.service import Registry
from noria.rollouts.service import Rollouts
from noria.runs.service import Runs
from noria.serving.landing import Landings
from noria.serving.preparing import Preparer
from noria.serving.proving import Prover
from noria.serving.rescoring import Rescorer
from noria.serving.service import Endpoints
from noria.store import leases
from noria.store.database import Connection, Database, Durability
from noria.store.leases import Lease

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms that a turn of the circle passes through."""

    database: Database
    ledger: Ledger
    datasets: Datasets
    runs: Runs
    registry: Registry
    loader: Loader
    guards: Guards
    monitors: Monitors
    endpoints: Endpoints
    rollouts: Rollouts
    preparer: Preparer
    landings: Landings
    rescorer: Rescorer
    prover: Prover
    clock: Clock
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One loop answering one fact.

    `position` is how far in the ledger the loop has answered afterwards: the fact's own place, or that of a later
    fact which asks for it again. `stumble` is what an earlier try has left behind.
    """

    rooms: Rooms
    context: Context
    loop: Loop
    row: LoopRow
    lease: Lease
    fact: Fact
    position: int
    stumble: Stumble | None = None

    @property
    def at(self) -> datetime:
        """Return when the fact was told, but never a time ahead of the clock: it may have been set back since."""
        return min(self.fact.at, self.rooms.clock.now())

    def decide(self, work: Callable[[Connection], Answer]) -> Answer:
        """Commit a decision and mark the fact as answered, both or neither; only the holder of the lease may.

        Raises:
            LeaseLost: another worker has taken the loop over.
            Stale: another worker has answered this fact already.

        """

        def whole(connection: Connection) -> Answer:
            leases.check(connection, self.lease, self.rooms.database.lease_time(connection))
            queries.move_cursor(connection, self.row, to=self.position)
            if self.stumble is not None:
                queries.end_stumble(connection, self.stumble)
            return work(connection)

        return self.rooms.database.write(whole)

    def cycle(self) -> Cycle | None:
        """Return the open cycle that the fact is about; None if it has settled, or the fact is about another one."""
        found = self.rooms.database.read(lambda c: queries.open_cycle(c, self.context.project, self.loop.name))
        named = self.fact.payload.get("cycle")
        return found if found is not None and named in {None, found.id} else None

    def enter(self, cycle: Cycle, state: CycleState) -> Cycle | None:
        """Move the cycle into the state in which the verb works; None when it is already past it.

        A verb that a crash cut short finds the cycle in its own state, and starts again.
        """
        if not rules.may_enter(cycle.state, state):
            return None
        if cycle.state is state:
            return cycle

        def work(connection: Connection) -> Cycle:
            leases.check(connection, self.lease, self.rooms.database.lease_time(connection))
            return queries.move_cycle(connection, cycle, state=state)

        return self.rooms.database.write(work, durability=Durability.STEP)

    def entered(self, state: CycleState) -> Cycle | None:
        """Return the open cycle that the fact is about, moved into the state; None when it is past it."""
        cycle = self.cycle()
        return None if cycle is None else self.enter(cycle, state)

    def tell(self, connection: Connection, cycle: Cycle, kind: FactKind, **told: Any) -> None:  # noqa: ANN401 - plain values of several types
        """Record a fact about the cycle in the transaction of a decision."""
        payload: Mapping[str, Any] = {"loop": cycle.loop, "cycle": cycle.id, "number": cycle.number, **told}
        self.rooms.ledger.record(connection, self.context, kind, subject=cycle.id, payload=payload)

    def settle(self, connection: Connection, cycle: Cycle, outcome: Outcome, *, words: str, **changes: Any) -> None:  # noqa: ANN401 - columns of several types
        """End the cycle with its outcome and the reason in words."""
        now = self.rooms.clock.now()
        changes |= {"outcome": outcome.value, "settled_at": now, "words": words}
        queries.move_cycle(connection, cycle, state=CycleState.SETTLED, **changes)
        if outcome is not Outcome.FAILED:
            queries.end_stumbles_of_cycles(connection, cycle.project, cycle.loop)
        self.tell(connection, cycle, FactKind.CYCLE_SETTLED, outcome=outcome.value, words=words)

    def end(self, outcome: Outcome, *, words: str, **changes: Any) -> None:  # noqa: ANN401 - columns of several types
        """Settle the cycle that the fact is about; there is nothing to do if it has settled already."""
        cycle = self.cycle()
        if cycle is None:
            return self.skip()
        return self.decide(lambda connection: self.settle(connection, cycle, outcome, words=words, **changes))

    def skip(self) -> None:
        """Mark the fact as answered: there is nothing to do about it."""
        self.decide(lambda _: None)
