"""The worker follows the ledger and lets each loop answer its facts, one after the other, exactly once each."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType

from noria.core.context import Context
from noria.core.errors import LeaseLost, NotFound, Stale, Unavailable
from noria.ledger.model import Fact, FactKind
from noria.ledger.service import FACTS
from noria.loop import queries, rolling, rules
from noria.loop.collecting import Collector
from noria.loop.model import Cycle, CycleState, LoopRow, LoopState
from noria.loop.spec import Loop
from noria.loop.table import STARTS, concerns
from noria.loop.turn import Rooms, Turn
from noria.store import leases
from noria.store.database import Connection, Durability
from noria.store.holders import this_process
from noria.store.leases import Lease

_log = logging.getLogger("noria.worker")
_LEASE_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 1.0
_SERVICE = "loop-worker"


class Worker(AbstractContextManager["Worker"]):
    """Turns the loops it is given. Several workers may share loops: each loop has one holder at a time.

    A worker that dies is replaced by the next one that asks: on the same machine at once, elsewhere when its lease
    has run out. Facts that were being answered are answered again; what was decided stays decided.
    """

    def __init__(
        self, rooms: Rooms, context: Context, loops: Sequence[Loop], *, on_turn: Callable[[Turn], None] | None = None
    ) -> None:
        self._rooms = rooms
        self._context = context.acting_as(_SERVICE)
        self._loops = {loop.name: loop for loop in loops}
        self._on_turn = on_turn
        self._holder = f"{this_process()}"
        self._leases: dict[str, Lease] = {}
        self._read: dict[str, int] = {}
        self._collector = Collector(rooms, self._context)
        self._closing = threading.Event()
        self._told = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="noria-lease-heartbeat", daemon=True)
        self._heart.start()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all loops."""
        self.close()

    def close(self) -> None:
        """Stop and let go of all loops; calling it twice is fine."""
        self._closing.set()
        self._heart.join()
        held, self._leases = self._leases, {}
        for lease in held.values():
            self._rooms.database.write(lambda connection, lease=lease: leases.release(connection, lease))

    def run_until_told(self, told: threading.Event) -> None:
        """Answer facts as they come until `told` is set; waits without working, and looks at the clock every second.

        What is being answered then is finished, and the rest goes on at the next start.
        """
        self._told = told
        with self._rooms.database.listen(FACTS) as ear:
            while not told.is_set():
                self._turn_what_is_ours()
                ear.wait(_LOOK_EVERY_SECONDS)

    def _turn_what_is_ours(self) -> None:
        """Answer facts; what another worker has taken over is let go, and an unreachable database is asked again."""
        try:
            self.run_until_quiet()
        except (LeaseLost, Stale, Unavailable) as problem:
            _log.warning("%s", problem.sentence)
            self._leases.clear()
            self._read.clear()

    def run_until_quiet(self) -> int:
        """Answer facts until no loop has anything to do now; return how many were answered."""
        answered = 0
        while True:
            self._rooms.ledger.seal()
            if self._told.is_set():
                return answered
            read = self._answer_all()
            if not read and not sum(self._tick(loop) for loop in self._loops.values()):
                return answered
            answered += read

    def next_due(self) -> datetime | None:
        """Return when a schedule, a deadline or a look at a rollout is due next."""
        times: list[datetime] = []
        for loop in self._loops.values():
            row = self._row(loop)
            scheduled = rules.next_due(loop, after=row.scheduled_through)
            times += [moment for moment in (scheduled, self._deadline(loop)) if moment is not None]
        return min(times, default=None)

    def _answer_all(self) -> int:
        """Let each loop that is ours answer the facts it has not heard; return how many were heard."""
        ours = [loop for loop in self._loops.values() if self._may_turn(loop)]
        if not ours:
            return 0
        facts = self._rooms.ledger.after(min(self._read[loop.name] for loop in ours), project=self._context.project)
        return sum(self._hear(loop, facts) for loop in ours)

    def _hear(self, loop: Loop, facts: Sequence[Fact]) -> int:
        """Let a loop answer the facts it has not heard, up to the first one that it may not answer now."""
        heard = 0
        for fact in facts:
            position = -1 if fact.position is None else fact.position
            if position <= self._read[loop.name]:
                continue
            if self._told.is_set() or (concerns(loop, fact) and not self._answer(loop, fact)):
                break
            self._read[loop.name] = position
            heard += 1
        return heard

    def _answer(self, loop: Loop, fact: Fact) -> bool:
        row, lease = self._row(loop), self._leases.get(loop.name)
        if row.state is LoopState.PAUSED or lease is None:
            return False
        turn = Turn(rooms=self._rooms, context=self._context, loop=loop, row=row, lease=lease, fact=fact)
        STARTS[fact.kind](turn)
        if self._on_turn is not None:
            self._on_turn(turn)
        return True

    def _may_turn(self, loop: Loop) -> bool:
        """Say whether the loop is ours to turn; what it has answered is read once, when it becomes ours."""
        if self._lease(loop) is None:
            self._read.pop(loop.name, None)
            return False
        if loop.name not in self._read:
            self._read[loop.name] = self._row(loop).cursor
        return True

    def _tick(self, loop: Loop) -> int:
        """Tell what time alone brings about: schedules that are due, rests that are over, deadlines that passed."""
        lease, now = self._leases.get(loop.name), self._rooms.clock.now()
        if lease is None:
            return 0
        if self._collector.collect(loop):
            return 1
        row, cycle, last = self._rooms.database.read(lambda connection: self._look(connection, loop))
        if row.state is LoopState.PAUSED:
            return 0
        told = _due(loop, row, now) | _rested(loop, row, cycle, now=now, last=last) | _expired(cycle, now)
        if not told:
            return int(rolling.look(self._rooms, self._context, cycle, lease))

        def work(connection: Connection) -> None:
            leases.check(connection, lease, self._rooms.database.lease_time(connection))
            if FactKind.SCHEDULE_DUE in told:
                queries.set_scheduled(connection, row, through=now)
            for kind, (subject, payload) in told.items():
                if kind in _EXPIRIES.values() and cycle is not None and not queries.end_wait(connection, cycle):
                    continue  # it was reviewed a moment ago
                self._rooms.ledger.record(connection, self._context, kind, subject=subject, payload=payload)

        self._rooms.database.write(work)
        return 1

    def _look(self, connection: Connection, loop: Loop) -> tuple[LoopRow, Cycle | None, datetime | None]:
        row = queries.loop(connection, self._context.project, loop.name)
        if row is None:
            raise _not_started(loop)
        return (
            row,
            queries.open_cycle(connection, row.project, row.name),
            queries.last_opened(connection, row.project, row.name),
        )

    def _deadline(self, loop: Loop) -> datetime | None:
        cycle = self._rooms.database.read(lambda c: queries.open_cycle(c, self._context.project, loop.name))
        if cycle is not None and cycle.state is CycleState.ROLLING_OUT:
            return rolling.look_due(self._rooms, self._context, cycle)
        return None if cycle is None else cycle.deadline

    def _row(self, loop: Loop) -> LoopRow:
        row = self._rooms.database.read(lambda c: queries.loop(c, self._context.project, loop.name))
        if row is None:
            raise _not_started(loop)
        return row

    def _lease(self, loop: Loop) -> Lease | None:
        held = self._leases.get(loop.name)
        if held is not None:
            return held
        database, ours = (
            self._rooms.database,
            {"name": f"loop/{self._context.project}/{loop.name}", "holder": self._holder},
        )
        if database.read(lambda c: leases.is_held(c, database.lease_time(c), **ours)):
            return None
        taken = database.write(
            lambda c: leases.acquire(c, database.lease_time(c), seconds=_LEASE_SECONDS, **ours),
            durability=Durability.STEP,
        )
        if taken is not None:
            self._leases[loop.name] = taken
        return taken

    def _beat(self) -> None:
        """Keep the leases while the worker lives."""
        while not self._closing.wait(_LEASE_SECONDS / 3):
            for name, lease in list(self._leases.items()):
                try:
                    self._leases[name] = self._renew(lease)
                except LeaseLost:
                    self._leases.pop(name, None)

    def _renew(self, lease: Lease) -> Lease:
        def work(connection: Connection) -> Lease:
            now = self._rooms.database.lease_time(connection)
            return leases.renew(connection, lease, now, seconds=_LEASE_SECONDS)

        return self._rooms.database.write(work, durability=Durability.STEP)


_EXPIRIES = {CycleState.GATING: FactKind.GATE_EXPIRED, CycleState.REVIEWING: FactKind.REVIEW_EXPIRED}
Told = dict[FactKind, tuple[str, Mapping[str, object]]]


def _due(loop: Loop, row: LoopRow, now: datetime) -> Told:
    schedules = rules.schedules_due(loop, after=row.scheduled_through, now=now)
    return {FactKind.SCHEDULE_DUE: (loop.name, {"loop": loop.name, "schedules": list(schedules)})} if schedules else {}


def _rested(loop: Loop, row: LoopRow, cycle: Cycle | None, *, now: datetime, last: datetime | None) -> Told:
    if cycle is not None or last is None or not rules.due(loop, row.standing):
        return {}
    if not rules.may_open(loop, row, now=now, last_opened=last):
        return {}
    return {FactKind.LOOP_RESTED: (loop.name, {"loop": loop.name, "since": last.isoformat()})}


def _expired(cycle: Cycle | None, now: datetime) -> Told:
    if cycle is None or cycle.deadline is None or cycle.deadline > now:
        return {}
    missing = (
        "nobody had reviewed it" if cycle.state is CycleState.REVIEWING else "the labels it waited for had not landed"
    )
    words = f"{missing} by {cycle.deadline:%Y-%m-%d %H:%M}"
    told = {"loop": cycle.loop, "cycle": cycle.id, "number": cycle.number, "words": words}
    return {_EXPIRIES[cycle.state]: (cycle.id, told)}


def _not_started(loop: Loop) -> NotFound:
    return NotFound("loop", loop.name, hint="start it first: noria loop start FILE")
