"""Makes a trained model ready to be served, before it is registered: slow work, outside of any decision."""

from datetime import datetime, timedelta

import polars as pl

from noria.core.errors import Conflict, NotFound
from noria.datasets.model import KNOWN_AT
from noria.loop.turn import Turn
from noria.runs.model import Artifact, Run
from noria.serving.preparing import Prepared

_ENOUGH = timedelta(days=7)
"""How far back rows are taken to try a model on, where it has learned from all there are."""


def result_of(run: Run) -> Artifact:
    """Return what a run has trained; raises `Conflict` if it has no result."""
    if run.artifact is None:
        raise Conflict(f"run {run.id} has no result", hint=f"look at it: noria run, state {run.state.value}")
    return run.artifact


def prepare(turn: Turn, run: Run, *, trained_through: datetime, as_of: datetime) -> Prepared:
    """Prepare a model with rows that it was not trained on, or, where there are none, with those it was."""
    dataset = turn.loop.dataset
    rows = _rows(turn, since=trained_through, as_of=as_of)
    if rows.height == 0:
        rows = _rows(turn, since=trained_through - _ENOUGH, as_of=trained_through)
    others = (dataset.key, dataset.label, KNOWN_AT)
    return turn.rooms.preparer.prepare(
        turn.rooms.loader.load(result_of(run)),
        rows,
        features=[name for name in rows.columns if name not in others],
        functions=[turn.loop.train.function],
        key=dataset.key,
    )


def _rows(turn: Turn, *, since: datetime | None, as_of: datetime) -> pl.DataFrame:
    try:
        return turn.rooms.datasets.read(turn.context, turn.loop.dataset.name, as_of=as_of, since=since, until=as_of)
    except NotFound:
        return pl.DataFrame()
