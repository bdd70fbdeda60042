"""Recognises that the clock was set back: a stored time further ahead than it can be is brought back to the present.

A schedule that was told, a cooldown, a deadline, a look at a rollout: each is a time that is only compared with the
clock. One that was written while the clock was ahead would stop its loop until that date.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from noria.core.context import Context
from noria.core.durations import spell_duration
from noria.ledger.model import FactKind
from noria.loop import queries, rules
from noria.loop.model import Cycle, CycleState, LoopRow
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.rollouts.model import Rollout
from noria.store import leases
from noria.store.database import Connection
from noria.store.leases import Lease

_SKEW = timedelta(minutes=1)
"""What the clocks of two machines may differ by; such a time needs no mending, for it is soon reached."""
_DECISION = "the deadline of the open cycle"
_ROLLOUT = "the rollout on its way"
_DECIDED_BY = {CycleState.GATING: FactKind.GATE_UNSURE, CycleState.REVIEWING: FactKind.REVIEW_REQUESTED}
_log = logging.getLogger("noria.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What of a loop lies ahead of the clock, by its name: the time that is stored, and the latest that it can be."""

    now: datetime
    times: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict[str, tuple[datetime, datetime]])

    @property
    def by(self) -> timedelta:
        """Return by how much the clock was set back, as far as can be seen."""
        return max((stored - latest for stored, latest in self.times.values()), default=timedelta(0))

    def words(self) -> str:
        """Return it as a person would say it."""
        by = spell_duration(timedelta(seconds=int(self.by.total_seconds())))
        return f"the clock was set back by {by} or more; brought back to the present: {', '.join(sorted(self.times))}"


def set_right(rooms: Rooms, context: Context, loop: Loop, lease: Lease) -> bool:
    """Bring back what of the loop lies ahead of the clock, with a fact about it; say whether anything did.

    Schedules count from now, a cooldown has passed, a deadline is as far away as it was given, a rollout's stage
    begins anew. Only the holder of the loop's lease may.
    """
    now = rooms.clock.now()
    row, cycle, rollout, ahead = rooms.database.read(lambda c: _look(c, rooms, context, loop, now))
    if row is None or not ahead.times:
        return False

    def work(connection: Connection) -> None:
        leases.check(connection, lease, rooms.database.lease_time(connection))
        queries.bring_back(connection, row, now=now, limit=now + _SKEW, tried_by=now + rules.LONGEST_WAIT + _SKEW)
        if cycle is not None and _DECISION in ahead.times:
            queries.set_deadline(connection, cycle, now + _waits(loop, cycle))
        if rollout is not None and _ROLLOUT in ahead.times:
            rooms.rollouts.bring_back_in(connection, rollout)
        told: dict[str, object] = {"loop": loop.name, "by_seconds": ahead.by.total_seconds(), "words": ahead.words()}
        told["ahead"] = {name: stored.isoformat() for name, (stored, _) in ahead.times.items()}
        rooms.ledger.record(connection, context, FactKind.CLOCK_SET_BACK, subject=loop.name, payload=told)

    rooms.database.write(work)
    _log.warning("loop %s: %s", loop.name, ahead.words())
    return True


def _look(
    connection: Connection, rooms: Rooms, context: Context, loop: Loop, now: datetime
) -> tuple[LoopRow | None, Cycle | None, Rollout | None, Ahead]:
    """Return the loop, what of it is open, and which of their times lie ahead."""
    row = queries.loop(connection, context.project, loop.name)
    if row is None:
        return None, None, None, Ahead(now=now)
    times = {name: (stored, now) for name, stored in queries.latest_times(connection, row).items()}
    cycle, rollout = queries.open_cycle(connection, row.project, row.name), None
    if cycle is not None and cycle.state in _DECIDED_BY and cycle.deadline is not None:
        decided = rooms.ledger.last_time(connection, context, cycle.id, _DECIDED_BY[cycle.state])
        if decided is not None and decided > now + _SKEW:  # else the patience was given anew, and is shorter
            times[_DECISION] = (cycle.deadline, now + _waits(loop, cycle))
    if cycle is not None and cycle.rollout is not None:
        rollout = rooms.rollouts.get(context, cycle.rollout)
        times |= {_ROLLOUT: (rollout.stage_at, now)} if rollout.is_open else {}
    retried = queries.latest_retry(connection, row)
    if retried is not None:
        times["a next try"] = (retried, now + rules.LONGEST_WAIT)
    ahead = {name: pair for name, pair in times.items() if pair[0] > pair[1] + _SKEW}
    return row, cycle, rollout, Ahead(now=now, times=ahead)


def _waits(loop: Loop, cycle: Cycle) -> timedelta:
    if cycle.state is CycleState.REVIEWING:
        return loop.review.waits
    return timedelta(0) if loop.gate is None else loop.gate.waits
