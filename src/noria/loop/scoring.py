"""What a loop's champions said of the rows they met: each row is scored by the version that was champion at its time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from noria.core.context import Context
from noria.core.errors import Invalid, ModelFailed
from noria.core.raised import RAISED, in_words
from noria.loop import queries
from noria.loop.model import Cycle
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.runs.model import Artifact

Floats = NDArray[np.float64]
_HINT = "look into its preprocess and its estimator"
_SCORE = "score"
_VERSION = "version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """The time in which one version was champion: [since, until), still so when until is None."""

    version: int
    since: datetime
    until: datetime | None


def reigns(rooms: Rooms, context: Context, model: str, *, set_back_at: datetime | None = None) -> list[Reign]:
    """Return a model's champions in the order in which they were.

    A move was made before the one that follows it; the last one, if it lies ahead of the clock, when that was set back.
    """
    found: list[Reign] = []
    end = None
    latest = rooms.clock.now()
    for move in reversed(rooms.registry.moves(context, model)):
        since = move.at if end is None else min(move.at, end)
        if since > latest and set_back_at is not None:
            since = set_back_at
        if move.to is not None and since != end:
            found.append(Reign(version=move.to, since=since, until=end))
        end = since
    return found[::-1]


def live_scores(
    rooms: Rooms,
    context: Context,
    loop: Loop,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime,
    set_back_at: datetime | None = None,
) -> pl.DataFrame:
    """Return rows in [since, until) with `score` and `version` of the champion at their time; labels as of then.

    `set_back_at` is when the clock was last found set back. Rows from before the first champion, and what is held in quarantine, are left out.
    """
    held = rooms.guards.held(context, loop.dataset.name)
    rows = rooms.datasets.read(context, loop.dataset.name, as_of=as_of, since=since, until=until, without=held)
    when = pl.col(loop.dataset.time)
    parts: list[pl.DataFrame] = []
    for reign in reigns(rooms, context, loop.model, set_back_at=set_back_at):
        inside = when >= reign.since if reign.until is None else (when >= reign.since) & (when < reign.until)
        met = rows.filter(inside)
        if met.height:
            version = rooms.registry.version(context, loop.model, reign.version)
            scores = scores_of(rooms, str(version), version.artifact, met)
            parts.append(met.with_columns(pl.Series(_SCORE, scores), pl.lit(reign.version).alias(_VERSION)))
    return pl.concat(parts) if parts else rows.clear().with_columns(pl.lit(None, pl.Float64).alias(_SCORE))


def cycle_of(rooms: Rooms, context: Context, loop: str, version: int) -> Cycle | None:
    """Return the cycle that made a version, None for one that was registered by hand."""
    return rooms.database.read(lambda connection: queries.cycle_of_version(connection, context.project, loop, version))


def labelled(loop: Loop, scored: pl.DataFrame) -> tuple[Floats, Floats]:
    """Return labels and scores, each of shape (n,), of the rows whose label is known."""
    known = scored.filter(scored[_label(loop)].is_not_null())
    return numbers_of(known[_label(loop)]), known[_SCORE].to_numpy()


def scores_of(rooms: Rooms, name: str, model: Artifact, rows: pl.DataFrame) -> Floats:
    """Return a model's score of each row, shape (n,); raises `ModelFailed`, with its name, for whatever else comes."""
    try:
        said: Any = rooms.loader.load(model).predict(rows)
        scores = np.asarray(said, dtype=np.float64)
    except RAISED as problem:
        raise ModelFailed(name, in_words(problem), hint=_HINT) from problem
    if scores.shape != (rows.height,):
        raise ModelFailed(name, f"it gave scores of shape {scores.shape} for {rows.height:,} rows", hint=_HINT)
    return scores


def numbers_of(labels: pl.Series) -> Floats:
    """Return labels as the numbers that a gate compares scores with, shape (n,); raises `Invalid` for texts and times."""
    if labels.dtype.is_numeric() or labels.dtype == pl.Boolean:
        return labels.cast(pl.Float64).to_numpy()
    some = ", ".join(repr(value) for value in labels.drop_nulls().unique().sort().head(3).to_list())
    raise Invalid(
        f"the labels {labels.name!r} are not numbers but {labels.dtype}, such as {some}",
        hint="push them as true and false, 0 and 1, or numbers; or give the loop gate=None",
    )


def _label(loop: Loop) -> str:
    return loop.dataset.label or ""
