"""Which rows a cycle learns from: those of its window, without what was held when its guards had judged."""

from datetime import datetime

from noria.datasets.holding import Held
from noria.datasets.model import Rows
from noria.loop import rules
from noria.loop.model import Cycle
from noria.loop.turn import Turn


def held(turn: Turn, cycle: Cycle) -> Held:
    """Return what was held when the cycle's guards had judged; what changed since counts for the next cycle."""
    if cycle.guarded is None:
        return Held()
    return turn.rooms.guards.held(turn.context, turn.loop.dataset.name, change=int(cycle.guarded["change"]))


def training_rows(turn: Turn, cycle: Cycle, *, as_of: datetime, held_back: bool, without: Held | None = None) -> Rows:
    """Return the rows of the training window; before its tail if one is held back, else through `as_of`."""
    window = rules.training_window(turn.loop, as_of=as_of, held_back=held_back)
    return turn.rooms.datasets.rows(
        turn.context,
        turn.loop.dataset.name,
        snapshot=cycle.snapshot if held_back else None,
        as_of=window.as_of,
        since=window.since,
        until=window.until,
        labelled=True,
        without=held(turn, cycle) if without is None else without,
    )
