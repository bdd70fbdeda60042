"""Trains a cycle's candidate, and the accepted recipe once more; registers what came of it."""

from datetime import datetime
from typing import Any

from noria.datasets.holding import Held
from noria.datasets.model import Rows
from noria.ledger.model import Fact
from noria.loop import preparing, rules
from noria.loop.model import Cycle
from noria.loop.spec import Loop
from noria.loop.turn import Turn
from noria.registry.model import Trained
from noria.runs.model import Run
from noria.serving.preparing import Prepared
from noria.store.database import Connection

TRAIN = "train"
REFIT = "refit"


def is_training_of(loop: Loop, fact: Fact) -> bool:
    """Say whether a run's fact tells of a candidate's training in this loop."""
    key = str(fact.payload.get("key") or "")
    return key.startswith(f"{loop.name}/") and key.endswith(f"/{TRAIN}")


def held(turn: Turn, cycle: Cycle) -> Held:
    """Return what was held when the cycle's guards had judged; what changed since counts for the next cycle."""
    if cycle.guarded is None:
        return Held()
    return turn.rooms.guards.held(turn.context, turn.loop.dataset.name, change=int(cycle.guarded["change"]))


def rows(turn: Turn, cycle: Cycle, *, as_of: datetime, held_back: bool, without: Held | None = None) -> Rows:
    """Return the rows of the training window, without those that are held; before its tail if one is held back."""
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


def run(turn: Turn, cycle: Cycle, purpose: str, *, as_of: datetime, held_back: bool) -> Run:
    """Run the training pipeline under a key of its own: run again, it goes on from its finished steps."""
    found = rows(turn, cycle, as_of=as_of, held_back=held_back)
    first = turn.loop.train.parameters[0]
    params: dict[str, Any] = {first: found, **turn.loop.params}
    key = f"{turn.loop.name}/{cycle.number}/{found.digest[:12]}/{purpose}"  # what was erased meanwhile makes it another run
    return turn.rooms.runs.run(turn.context, turn.loop.train, params=params, key=key)


def register(
    connection: Connection, turn: Turn, cycle: Cycle, run: Run, ready: Prepared, *, trained_through: datetime,
    parent: int | None = None,
) -> int:  # fmt: skip
    """Register what a run trained, ready to be served, in the transaction of a decision; return the version's number."""
    trained = Trained(
        artifact=preparing.result_of(run),
        run=run.id,
        snapshot=cycle.snapshot,
        trained_through=trained_through,
        code=run.code,
        parent=parent,
        params=turn.loop.plain_params(),
        bundle=ready.bundle,
    )
    version = turn.rooms.registry.register_in(connection, turn.context, turn.loop.model, trained)
    turn.rooms.endpoints.serve_in(connection, turn.context, version, ready)
    return version.number
