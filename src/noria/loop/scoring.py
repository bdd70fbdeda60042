"""What a loop's champions said of the rows they met: each row is scored by the version that was champion at its time."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from noria.core.context import Context
from noria.loop import queries
from noria.loop.model import Cycle
from noria.loop.spec import Loop
from noria.loop.turn import Rooms

_SCORE = "score"
_VERSION = "version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """The time in which one version was champion: [since, until), still so when until is None."""

    version: int
    since: datetime
    until: datetime | None


def reigns(rooms: Rooms, context: Context, model: str) -> list[Reign]:
    """Return a model's champions in the order in which they were."""
    moves = rooms.registry.moves(context, model)
    ends: list[datetime | None] = [*(move.at for move in moves[1:]), None]
    return [
        Reign(version=move.to, since=move.at, until=end)
        for move, end in zip(moves, ends, strict=False)  # a model without champions has no moves, but one end
        if move.to is not None and move.at != end
    ]


def live_scores(
    rooms: Rooms,
    context: Context,
    loop: Loop,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime,
) -> pl.DataFrame:
    """Return rows in [since, until) with `score` and `version` of the champion at their time; labels as of then.

    Rows from before the first champion, and what is held in quarantine, are left out.
    """
    held = rooms.guards.held(context, loop.dataset.name)
    rows = rooms.datasets.read(context, loop.dataset.name, as_of=as_of, since=since, until=until, without=held)
    when = pl.col(loop.dataset.time)
    parts: list[pl.DataFrame] = []
    for reign in reigns(rooms, context, loop.model):
        inside = when >= reign.since if reign.until is None else (when >= reign.since) & (when < reign.until)
        met = rows.filter(inside)
        if met.height:
            version = rooms.registry.version(context, loop.model, reign.version)
            scores = rooms.loader.load(version.artifact).predict(met)
            parts.append(met.with_columns(pl.Series(_SCORE, scores), pl.lit(reign.version).alias(_VERSION)))
    return pl.concat(parts) if parts else rows.clear().with_columns(pl.lit(None, pl.Float64).alias(_SCORE))


def cycle_of(rooms: Rooms, context: Context, loop: str, version: int) -> Cycle | None:
    """Return the cycle that made a version, None for one that was registered by hand."""
    return rooms.database.read(lambda connection: queries.cycle_of_version(connection, context.project, loop, version))


def labelled(loop: Loop, scored: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores, each of shape (n,), of the rows whose label is known."""
    known = scored.filter(scored[_label(loop)].is_not_null())
    return known[_label(loop)].cast(pl.Float64).to_numpy(), known[_SCORE].to_numpy()


def _label(loop: Loop) -> str:
    return loop.dataset.label or ""
