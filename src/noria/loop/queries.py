"""All SQL of the loop."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Stale
from noria.loop import rules
from noria.loop.model import Cycle, CycleState, CyclesWanted, Event, LoopRow, LoopState, Outcome, Reason, Stumble
from noria.loop.streaks import MOST_SEEN, Ended
from noria.loop.tables import cycles, events, loops, stumbles

_LOOP = tuple(entry.name for entry in fields(LoopRow))
_CYCLE = tuple(entry.name for entry in fields(Cycle))
_STUMBLE = tuple(entry.name for entry in fields(Stumble))


def put_loop(connection: Connection, row: LoopRow) -> None:
    """Store a loop's declaration; of one that is known already, what it has answered stays.

    Raises `Stale` if somebody else was first with a new one.
    """
    declared = {"state": row.state.value, "dataset": row.dataset, "spec": dict(row.spec), "digest": row.digest}
    declared |= {"counts_from": {words: moment.isoformat() for words, moment in row.counts_from.items()}}
    if loop(connection, row.project, row.name) is None:
        begun = {
            "project": row.project,
            "name": row.name,
            "started_at": row.started_at,
            "started_by": row.started_by,
            "cursor": row.cursor,
            "scheduled_through": row.scheduled_through,
            "standing": rules.to_plain(row.standing),
            "watch": dict(row.watch),
            "cycles": 0,
        }
        try:
            with connection.begin_nested():
                connection.execute(insert(loops), declared | begun)
        except IntegrityError as problem:
            raise Stale(
                f"loop {row.name!r} was declared by somebody else just now", hint="declare it again"
            ) from problem
    else:
        connection.execute(_this(row.project, row.name).values(declared))


def loop(connection: Connection, project: str, name: str) -> LoopRow | None:
    """Return a loop, if there is one of that name."""
    found = (
        connection.execute(select(loops).where(loops.c.project == project, loops.c.name == name))
        .mappings()
        .one_or_none()
    )
    return None if found is None else _loop(found)


def all_loops(connection: Connection, project: str) -> list[LoopRow]:
    """Return all loops of a project, by name."""
    query = select(loops).where(loops.c.project == project).order_by(loops.c.name)
    return [_loop(row) for row in connection.execute(query).mappings()]


def set_state(connection: Connection, project: str, name: str, state: LoopState) -> None:
    """Pause a loop, or let it run."""
    connection.execute(_this(project, name).values(state=state.value))


def wake(connection: Connection, project: str, name: str, *, now: datetime) -> None:
    """Let a paused loop run: its schedules count from now, and what they missed is not made up."""
    connection.execute(_this(project, name).values(state=LoopState.RUNNING.value, scheduled_through=now))


def move_cursor(connection: Connection, row: LoopRow, *, to: int) -> None:
    """Mark a fact as answered; raises `Stale` if somebody else has answered it."""
    moved = connection.execute(_this(row.project, row.name).where(loops.c.cursor == row.cursor).values(cursor=to))
    if moved.rowcount != 1:
        raise Stale(f"loop {row.name!r} has already answered fact {to}", hint="another worker goes on with it")


def set_scheduled(connection: Connection, row: LoopRow, *, through: datetime) -> None:
    """Mark all schedule times up to a moment as told; raises `Stale` if somebody else has told them."""
    same = loops.c.scheduled_through == row.scheduled_through
    if connection.execute(_this(row.project, row.name).where(same).values(scheduled_through=through)).rowcount != 1:
        raise Stale(f"the schedule of loop {row.name!r} was told already", hint="another worker goes on with it")


def latest_times(connection: Connection, row: LoopRow) -> dict[str, datetime]:
    """Return the latest of the times that a loop has stored of what has happened, by what they are."""
    here = (cycles.c.project == row.project) & (cycles.c.loop == row.name)
    opened, settled = connection.execute(
        select(func.max(cycles.c.opened_at), func.max(cycles.c.settled_at)).where(here)
    ).one()
    told = max([row.scheduled_through, *row.counts_from.values()])
    found = {"its schedules": told, "the opening of a cycle": opened, "the end of a cycle": settled}
    return {name: moment for name, moment in found.items() if moment is not None}


def latest_retry(connection: Connection, row: LoopRow) -> datetime | None:
    """Return when the last of what the loop has stumbled over is tried again."""
    here = (stumbles.c.project == row.project) & (stumbles.c.loop == row.name)
    return connection.execute(select(func.max(stumbles.c.retry_at)).where(here)).scalar_one()


def bring_back(connection: Connection, row: LoopRow, *, now: datetime, limit: datetime, tried_by: datetime) -> None:
    """Set times of a loop that lie beyond a limit to now, and remember when: the clock was set back."""
    counted = {words: min(moment, now).isoformat() for words, moment in row.counts_from.items()}
    through = min(row.scheduled_through, now)
    changes = {"set_back_at": now, "scheduled_through": through, "counts_from": counted}
    connection.execute(_this(row.project, row.name).values(**changes))
    here = update(cycles).where(cycles.c.project == row.project, cycles.c.loop == row.name)
    for column in (cycles.c.opened_at, cycles.c.settled_at):
        connection.execute(here.where(column > limit).values({column: now}))
    late = (stumbles.c.project == row.project) & (stumbles.c.loop == row.name) & (stumbles.c.retry_at > tried_by)
    connection.execute(update(stumbles).where(late).values(retry_at=now))


def set_deadline(connection: Connection, cycle: Cycle, deadline: datetime) -> None:
    """Let an open cycle wait until another time than it did, if it still waits."""
    waits = (cycles.c.id == cycle.id) & cycles.c.deadline.is_not(None)
    connection.execute(update(cycles).where(waits).values(deadline=deadline))


def set_notice(connection: Connection, row: LoopRow, **changes: Any) -> None:  # noqa: ANN401 - columns of several types
    """Store what has come to the loop (standing, watch, cycles)."""
    connection.execute(_this(row.project, row.name).values(**changes))


def insert_event(connection: Connection, project: str, event: Event, *, received_at: datetime) -> bool:
    """Keep an event; False if one of this source and id is there already."""
    values = {
        "project": project,
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "data": event.data,
        "received_at": received_at,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(events), values)
    except IntegrityError:  # heard before
        return False
    return True


def put_stumble(connection: Connection, found: Stumble) -> None:
    """Keep what a loop stumbled over, in place of what was kept of it before."""
    end_stumble(connection, found)
    connection.execute(insert(stumbles), {name: getattr(found, name) for name in _STUMBLE})


def end_stumble(connection: Connection, found: Stumble) -> None:
    """Forget a stumble: it was got over, or somebody has it tried again."""
    this = (stumbles.c.project == found.project) & (stumbles.c.loop == found.loop) & (stumbles.c.over == found.over)
    connection.execute(delete(stumbles).where(this))


def end_stumbles_of_cycles(connection: Connection, project: str, loop_name: str) -> None:
    """Forget what has ended earlier cycles of a loop: a later one came through."""
    here = (stumbles.c.project == project) & (stumbles.c.loop == loop_name) & stumbles.c.cycle.is_not(None)
    connection.execute(delete(stumbles).where(here))


def all_stumbles(connection: Connection, project: str, loop_name: str | None = None) -> list[Stumble]:
    """Return what the project's loops, or one of them, have stumbled over and not got over, oldest first."""
    query = select(stumbles).where(stumbles.c.project == project)
    if loop_name is not None:
        query = query.where(stumbles.c.loop == loop_name)
    rows = connection.execute(query.order_by(stumbles.c.began_at, stumbles.c.loop, stumbles.c.over)).mappings()
    return [Stumble(**{name: row[name] for name in _STUMBLE}) for row in rows]


def insert_cycle(connection: Connection, cycle: Cycle) -> None:
    """Store a new cycle."""
    connection.execute(
        insert(cycles),
        {
            "id": cycle.id,
            "project": cycle.project,
            "loop": cycle.loop,
            "number": cycle.number,
            "state": cycle.state.value,
            "reasons": [[reason.trigger, reason.words] for reason in cycle.reasons],
            "opened_at": cycle.opened_at,
            "snapshot": cycle.snapshot,
            "words": cycle.words,
            "looks": cycle.looks,
            "evidence": dict(cycle.evidence),
            "verdict": dict(cycle.verdict),
            "charged_cpu_seconds": cycle.charged_cpu_seconds,
        },
    )


def move_cycle(connection: Connection, cycle: Cycle, *, state: CycleState, **changes: Any) -> Cycle:  # noqa: ANN401 - columns of several types
    """Move a cycle on from the state it was read in; raises `Stale` if it is no longer there."""
    here = update(cycles).where(cycles.c.id == cycle.id, cycles.c.state == cycle.state.value)
    if connection.execute(here.values(state=state.value, **changes)).rowcount != 1:
        raise Stale(f"cycle {cycle.number} of loop {cycle.loop!r} has left the state {cycle.state.value!r}")
    return one_cycle(connection, cycle.id)


def end_wait(connection: Connection, cycle: Cycle) -> bool:
    """End a cycle's wait for labels or a person; False if it was ended already, for a wait ends once."""
    waits = (cycles.c.id == cycle.id) & (cycles.c.state == cycle.state.value) & cycles.c.deadline.is_not(None)
    return connection.execute(update(cycles).where(waits).values(deadline=None)).rowcount == 1


def one_cycle(connection: Connection, cycle_id: str) -> Cycle:
    """Return a cycle that is known to be there."""
    return _cycle(connection.execute(select(cycles).where(cycles.c.id == cycle_id)).mappings().one())


def find_cycle(connection: Connection, project: str, cycle_id: str) -> Cycle | None:
    """Return a cycle, if it is there."""
    found = (
        connection.execute(select(cycles).where(cycles.c.project == project, cycles.c.id == cycle_id))
        .mappings()
        .one_or_none()
    )
    return None if found is None else _cycle(found)


def open_cycle(connection: Connection, project: str, loop_name: str) -> Cycle | None:
    """Return the loop's open cycle, if there is one."""
    here = (cycles.c.project == project) & (cycles.c.loop == loop_name) & (cycles.c.state != CycleState.SETTLED.value)
    found = connection.execute(select(cycles).where(here)).mappings().one_or_none()
    return None if found is None else _cycle(found)


def waiting_cycles(connection: Connection, project: str, state: CycleState) -> list[Cycle]:
    """Return the cycles that are in a state and wait there until a deadline."""
    here = (cycles.c.project == project) & (cycles.c.state == state.value) & cycles.c.deadline.is_not(None)
    return [_cycle(row) for row in connection.execute(select(cycles).where(here)).mappings()]


def charged(connection: Connection, project: str, loop_name: str, *, since: datetime) -> tuple[float, float]:
    """Return the CPU seconds charged to the cycles opened since a moment, and to the last cycle that trained."""
    here = (cycles.c.project == project) & (cycles.c.loop == loop_name)
    whole = select(func.sum(cycles.c.charged_cpu_seconds)).where(here, cycles.c.opened_at >= since)
    last = select(cycles.c.charged_cpu_seconds).where(here, cycles.c.charged_cpu_seconds > 0)
    newest = connection.execute(last.order_by(cycles.c.number.desc()).limit(1)).scalar_one_or_none()
    return connection.execute(whole).scalar_one() or 0.0, newest or 0.0


def last_opened(connection: Connection, project: str, loop_name: str) -> datetime | None:
    """Return when the loop's newest cycle was opened."""
    query = select(func.max(cycles.c.opened_at)).where(cycles.c.project == project, cycles.c.loop == loop_name)
    return connection.execute(query).scalar_one_or_none()


def all_cycles(connection: Connection, project: str, loop_name: str | None = None) -> list[Cycle]:
    """Return the cycles of a loop, or of all loops, oldest first."""
    query = (
        select(cycles).where(cycles.c.project == project).order_by(cycles.c.opened_at, cycles.c.loop, cycles.c.number)
    )
    if loop_name is not None:
        query = query.where(cycles.c.loop == loop_name)
    return [_cycle(row) for row in connection.execute(query).mappings()]


def page_of_cycles(connection: Connection, project: str, wanted: CyclesWanted, *, after: Cycle | None) -> list[Cycle]:
    """Return the cycles that are wanted and older than `after`, newest first."""
    query = select(cycles).where(cycles.c.project == project)
    exactly = {cycles.c.loop: wanted.loop, cycles.c.state: wanted.state, cycles.c.outcome: wanted.outcome}
    for column, value in exactly.items():
        query = query if value is None else query.where(column == value)
    order = (cycles.c.opened_at, cycles.c.loop, cycles.c.number)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(after.opened_at, after.loop, after.number))
    query = query.order_by(*(column.desc() for column in order)).limit(wanted.limit)
    return [_cycle(row) for row in connection.execute(query).mappings()]


def newest_ended(connection: Connection, project: str, loop_name: str) -> list[Ended]:
    """Return how a loop's newest cycles have ended, the newest first."""
    here = (cycles.c.project == project) & (cycles.c.loop == loop_name) & cycles.c.outcome.is_not(None)
    columns = (cycles.c.number, cycles.c.outcome, cycles.c.words, cycles.c.verdict, cycles.c.settled_at)
    query = select(*columns).where(here).order_by(cycles.c.number.desc()).limit(MOST_SEEN)
    return [
        Ended(
            number=row.number,
            outcome=Outcome(row.outcome),
            words=row.words,
            is_unsure=row.outcome == Outcome.REJECTED.value and row.verdict.get("outcome") == "unsure",
            at=row.settled_at,
        )
        for row in connection.execute(query)
    ]


def cycle_of_version(connection: Connection, project: str, loop_name: str, number: int) -> Cycle | None:
    """Return the cycle that made a model version, as its candidate or as the one it promoted."""
    made = (cycles.c.candidate == number) | (cycles.c.promoted == number)
    here = select(cycles).where(cycles.c.project == project, cycles.c.loop == loop_name, made)
    found = connection.execute(here.order_by(cycles.c.number)).mappings().first()
    return None if found is None else _cycle(found)


def _this(project: str, name: str) -> Any:  # noqa: ANN401 - SQLAlchemy's Update is generic over nothing useful
    return update(loops).where(loops.c.project == project, loops.c.name == name)


def _loop(row: RowMapping) -> LoopRow:
    values: dict[str, Any] = {name: row[name] for name in _LOOP}
    stored: dict[str, str] = row["counts_from"] or {}
    counted = {words: datetime.fromisoformat(moment) for words, moment in stored.items()}
    typed: dict[str, Any] = {
        "state": LoopState(row["state"]),
        "standing": rules.from_plain(row["standing"]),
        "counts_from": counted,
    }
    values.update(typed)
    return LoopRow(**values)


def _cycle(row: RowMapping) -> Cycle:
    values: dict[str, Any] = {name: row[name] for name in _CYCLE}
    typed = {
        "state": CycleState(row["state"]),
        "outcome": None if row["outcome"] is None else Outcome(row["outcome"]),
        "reasons": tuple(Reason(trigger=trigger, words=words) for trigger, words in row["reasons"]),
    }
    values.update(typed)
    return Cycle(**values)
