"""The world reaches a loop: facts add up to a standing, monitors look, triggers are asked, a due loop opens a cycle."""

from dataclasses import replace
from datetime import datetime

from noria.ledger.model import FactKind
from noria.loop import queries, rules, watching
from noria.loop.model import Cycle, CycleState, LoopRow, Reason, Standing
from noria.loop.turn import Turn
from noria.store.database import Connection


def take_note(turn: Turn) -> None:
    """Add the fact to what has come, look through the monitors, and open a cycle if one is due."""
    standing = rules.add(turn.row.standing, turn.fact)
    seen = watching.look(turn)
    snapshot = turn.rooms.datasets.latest(turn.context, turn.loop.dataset.name)

    def work(connection: Connection) -> None:
        for signal in seen.signals:
            turn.rooms.monitors.raise_in(connection, turn.context, signal)
        noticed = replace(turn.row, standing=standing, watch=seen.watch)
        _reopen_gate_if_labels_came(connection, turn)
        ask(connection, turn, noticed, snapshot=None if snapshot is None else snapshot.id)

    turn.decide(work)


def ask(connection: Connection, turn: Turn, row: LoopRow, *, snapshot: str | None) -> None:
    """Open a cycle if the loop has a reason, no open cycle, and its rest; else keep what has come for later."""
    now = turn.rooms.clock.now()
    reasons = rules.due(turn.loop, row.standing)
    opens = (
        bool(reasons)
        and snapshot is not None
        and queries.open_cycle(connection, row.project, row.name) is None
        and rules.may_open(turn.loop, row, now=now, last_opened=queries.last_opened(connection, row.project, row.name))
    )
    if opens and snapshot is not None:
        _open(connection, turn, _cycle(turn, row, reasons, now=now, snapshot=snapshot))
        row = replace(row, standing=Standing(), cycles=row.cycles + 1)
    standing = rules.to_plain(row.standing)
    queries.set_notice(connection, row, standing=standing, watch=dict(row.watch), cycles=row.cycles)


def _cycle(turn: Turn, row: LoopRow, reasons: tuple[Reason, ...], *, now: datetime, snapshot: str) -> Cycle:
    return Cycle(
        id=turn.rooms.ids.new("cycle"),
        project=row.project,
        loop=row.name,
        number=row.cycles + 1,
        state=CycleState.OPENED,
        reasons=reasons,
        opened_at=now,
        snapshot=snapshot,
    )


def _open(connection: Connection, turn: Turn, cycle: Cycle) -> None:
    queries.insert_cycle(connection, cycle)
    why = [[reason.trigger, reason.words] for reason in cycle.reasons]
    turn.tell(connection, cycle, FactKind.CYCLE_OPENED, reasons=why, snapshot=cycle.snapshot)


def _reopen_gate_if_labels_came(connection: Connection, turn: Turn) -> None:
    """Let a gate that was unsure look once more when the labels that it asked for have landed."""
    cycle = queries.open_cycle(connection, turn.context.project, turn.loop.name)
    if cycle is None or turn.fact.kind is not FactKind.FEEDBACK_LANDED or cycle.deadline is None:
        return
    if cycle.state is not CycleState.GATING:
        return
    landed = int(turn.fact.payload["labels"])
    if rules.labels_suffice(cycle, landed=landed):
        moved = queries.move_cycle(connection, cycle, state=cycle.state, deadline=None)
        turn.tell(connection, moved, FactKind.GATE_REOPENED, words="the labels it waited for have landed")
    else:
        verdict = {**cycle.verdict, "labels_landed": int(cycle.verdict.get("labels_landed", 0)) + landed}
        queries.move_cycle(connection, cycle, state=cycle.state, verdict=verdict)
