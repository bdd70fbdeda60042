"""Gathers what a gate judges: the candidate beside champion and anchor on rows that none of them was trained on."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from noria.core.errors import Invalid, NotFound
from noria.evaluation import comparing
from noria.evaluation.comparing import Judged
from noria.evaluation.model import Evidence, Rival
from noria.loop import rules, scoring, training
from noria.loop.model import Cycle
from noria.loop.turn import Turn
from noria.registry.loading import MODEL_CODEC
from noria.registry.model import ANCHOR, CHAMPION, ModelVersion
from noria.runs.model import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The evidence, and the champion that it is about."""

    evidence: Evidence
    champion: ModelVersion | None


def version_of(turn: Turn, alias: str) -> ModelVersion | None:
    """Return the version that an alias of the loop's model points to, None for nowhere.

    One that was trained while the clock was ahead has learned from rows through when it was set back, no later ones.
    """
    state = turn.rooms.registry.alias(turn.context, turn.loop.model, alias)
    if state.version is None:
        return None
    found = turn.rooms.registry.version(turn.context, turn.loop.model, state.version)
    through = rules.on_this_clock(found.trained_through, turn.row, now=turn.rooms.clock.now())
    return replace(found, trained_through=through)


def evidence(turn: Turn, cycle: Cycle, run: Run, *, as_of: datetime, trained_through: datetime) -> Found:
    """Score the candidate and its rivals on the rows after everything that any of them learned from.

    Raises `Invalid` if the candidate is no model; nothing is scored where no gate will judge.
    """
    candidate = run.artifact
    if candidate is None or candidate.codec != MODEL_CODEC:
        raise Invalid(
            f"the pipeline {run.pipeline!r} returned no model",
            hint="end it with nr.Model(estimator, preprocess=function)",
        )
    champion, anchor = version_of(turn, CHAMPION), version_of(turn, ANCHOR)
    if champion is None or anchor is None or anchor.number == champion.number or not _anchored(turn):
        anchor = None
    rivals = [version for version in (champion, anchor) if version is not None]
    window = rules.judging_window(trained_through, *(rival.trained_through for rival in rivals), as_of=as_of)
    rows = _rows(turn, cycle, window)
    if turn.loop.gate is None or rows.height == 0:
        rival = Rival.BASE_RATE if champion is None else Rival.CHAMPION
        said = () if turn.loop.gate is None else (_no_labels(turn, cycle, window),)
        nothing = Evidence(rival=rival, rows=rows.height, since=window.since or as_of, until=as_of, unread=said)
        return Found(evidence=nothing, champion=champion)
    judged = Judged(
        rows=rows,
        labels=scoring.numbers_of(rows[turn.loop.dataset.label or ""]),
        candidate=scoring.scores_of(turn.rooms, "the candidate", candidate, rows),
        champion=None if champion is None else scoring.scores_of(turn.rooms, str(champion), champion.artifact, rows),
        anchor=None if anchor is None else scoring.scores_of(turn.rooms, str(anchor), anchor.artifact, rows),
        since=window.since or as_of,
        until=as_of,
        time=turn.loop.dataset.time,
    )
    chance = np.random.default_rng([cycle.number, cycle.looks])
    found = comparing.compare(judged, evaluation=turn.loop.evaluate, gate=turn.loop.gate, chance=chance)
    return Found(evidence=found, champion=champion)


def _no_labels(turn: Turn, cycle: Cycle, window: rules.Window) -> str:
    waiting = _rows(turn, cycle, window, labelled=False).height
    if not waiting:
        return "no rows to judge on"
    return f"no labelled rows to judge on: {waiting:,} rows wait for theirs; hold back longer than labels take to come"


def _rows(turn: Turn, cycle: Cycle, window: rules.Window, *, labelled: bool = True) -> pl.DataFrame:
    try:
        return turn.rooms.datasets.read(
            turn.context,
            turn.loop.dataset.name,
            as_of=window.as_of,
            since=window.since,
            until=window.until,
            labelled=labelled,
            without=training.held(turn, cycle),
        )
    except NotFound:
        return pl.DataFrame()


def _anchored(turn: Turn) -> bool:
    return turn.loop.gate is not None and turn.loop.gate.anchor_margin is not None
