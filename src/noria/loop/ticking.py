"""What time alone brings about: schedules that are due, rests that are over, deadlines that have passed."""

from collections.abc import Mapping
from datetime import datetime

from noria.core.context import Context
from noria.core.errors import NotFound
from noria.ledger.model import FactKind
from noria.loop import queries, rolling, rules
from noria.loop.model import Cycle, CycleState, LoopRow, LoopState
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.store import leases
from noria.store.database import Connection
from noria.store.leases import Lease

_EXPIRIES = {CycleState.GATING: FactKind.GATE_EXPIRED, CycleState.REVIEWING: FactKind.REVIEW_EXPIRED}
Told = dict[FactKind, tuple[str, Mapping[str, object]]]


def row_of(rooms: Rooms, context: Context, loop: Loop) -> LoopRow:
    """Return how a loop stands; raises `NotFound` for one that was never started."""
    return rooms.database.read(lambda connection: _row(connection, context, loop))


def tell(rooms: Rooms, context: Context, loop: Loop, lease: Lease) -> bool:
    """Tell what is due now, as facts; say whether anything was. Nothing is due to a paused loop."""
    now = rooms.clock.now()
    row, cycle, last = rooms.database.read(lambda connection: _look(connection, context, loop))
    if row.state is LoopState.PAUSED:
        return False
    told = _due(loop, row, now) | _rested(loop, row, cycle, now=now, last=last) | _expired(cycle, now)
    if not told:
        return False

    def work(connection: Connection) -> None:
        leases.check(connection, lease, rooms.database.lease_time(connection))
        if FactKind.SCHEDULE_DUE in told:
            queries.set_scheduled(connection, row, through=now)
        for kind, (subject, payload) in told.items():
            if kind in _EXPIRIES.values() and cycle is not None and not queries.end_wait(connection, cycle):
                continue  # it was reviewed a moment ago
            rooms.ledger.record(connection, context, kind, subject=subject, payload=payload)

    rooms.database.write(work)
    return True


def next_due(rooms: Rooms, context: Context, loop: Loop) -> datetime | None:
    """Return when a schedule, a deadline or a look at a rollout of the loop is due next."""
    row, cycle, _ = rooms.database.read(lambda connection: _look(connection, context, loop))
    looked_at = None if cycle is None else rolling.look_due(rooms, context, cycle)
    times = [rules.next_due(loop, row), cycle and cycle.deadline, looked_at]
    return min((moment for moment in times if moment is not None), default=None)


def _look(connection: Connection, context: Context, loop: Loop) -> tuple[LoopRow, Cycle | None, datetime | None]:
    row = _row(connection, context, loop)
    cycle = queries.open_cycle(connection, row.project, row.name)
    return row, cycle, queries.last_opened(connection, row.project, row.name)


def _row(connection: Connection, context: Context, loop: Loop) -> LoopRow:
    row = queries.loop(connection, context.project, loop.name)
    if row is None:
        raise NotFound("loop", loop.name, hint="start it first: noria loop start FILE")
    return row


def _due(loop: Loop, row: LoopRow, now: datetime) -> Told:
    schedules = rules.schedules_due(loop, row, now=now)
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
