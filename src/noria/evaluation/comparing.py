"""Compares a candidate with its rivals on the same rows, resampling whole days or entities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from noria.core.errors import Invalid, NotFound
from noria.evaluation import metrics
from noria.evaluation.model import Comparison, Evidence, Flips, Rival, SliceComparison
from noria.evaluation.spec import Evaluation, Gate
from noria.stats import bootstrap

Floats = NDArray[np.float64]
_FEWEST_BLOCKS = 2
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The rows that judge, with every rival's scores on them: arrays of shape (n,), in the rows' order."""

    rows: pl.DataFrame
    labels: Floats
    candidate: Floats
    champion: Floats | None
    anchor: Floats | None
    since: datetime
    until: datetime
    time: str


def compare(judged: Judged, *, evaluation: Evaluation, gate: Gate, chance: Generator) -> Evidence:
    """Return the evidence: what cannot be read is said, never passed over."""
    rival = Rival.BASE_RATE if judged.champion is None else Rival.CHAMPION
    found = Evidence(rival=rival, rows=len(judged.labels), since=judged.since, until=judged.until)
    unread = tuple(_unread(judged, evaluation))
    if unread:
        return replace(found, unread=unread)
    other = _base_rate(judged.labels) if judged.champion is None else judged.champion
    blocks = _blocks(judged, evaluation)
    tail = gate.alpha_per_look
    try:
        names = dict.fromkeys((*gate.watched, *evaluation.metrics))
        pairs = [_pair(name, rival, judged, other=other, blocks=blocks, tail=tail, chance=chance) for name in names]
        anchor = None
        if judged.anchor is not None:
            anchor = _pair(
                gate.metric, Rival.ANCHOR, judged, other=judged.anchor, blocks=blocks, tail=tail, chance=chance
            )
    except Invalid as problem:
        return replace(found, unread=(problem.sentence,))
    slices = (
        _slices(judged, other, evaluation=evaluation, gate=gate, blocks=blocks, chance=chance)
        if judged.champion is not None
        else ()
    )
    flips = None if judged.champion is None else _flips(judged.labels, judged.candidate, judged.champion)
    return replace(found, comparisons=tuple(pairs), anchor=anchor, slices=slices, flips=flips)


def _unread(judged: Judged, evaluation: Evaluation) -> Sequence[str]:
    reasons: list[str] = []
    rows = len(judged.labels)
    if rows < evaluation.min_rows:
        reasons.append(f"{rows:,} labelled rows to judge on, {evaluation.min_rows:,} wanted")
    named: Mapping[str, Floats | None] = {
        "candidate": judged.candidate,
        "champion": judged.champion,
        "anchor": judged.anchor,
    }
    for name, said in named.items():
        bad = 0 if said is None else int((~np.isfinite(said)).sum())
        if bad:
            reasons.append(f"{bad:,} of {rows:,} scores of the {name} are no numbers")
    if not reasons and len(np.unique(_blocks(judged, evaluation))) < _FEWEST_BLOCKS:
        reasons.append(f"all rows are of one {evaluation.block}, which shows no spread")
    return reasons


def _blocks(judged: Judged, evaluation: Evaluation) -> NDArray[np.generic]:
    if evaluation.block == "day":
        return judged.rows[judged.time].dt.date().to_physical().to_numpy()
    if evaluation.block not in judged.rows.columns:
        raise NotFound("column", evaluation.block, known=judged.rows.columns)
    return judged.rows[evaluation.block].cast(pl.String).fill_null("").to_numpy().astype(str)


def _base_rate(labels: Floats) -> Floats:
    """Return the best constant there is for these very rows: a stricter rival than any that could be known before."""
    return np.full(len(labels), labels.mean())


def _pair(
    name: str,
    rival: Rival,
    judged: Judged,
    *,
    other: Floats,
    blocks: NDArray[np.generic],
    tail: float,
    chance: Generator,
) -> Comparison:
    return _compared(name, rival, judged.labels, (judged.candidate, other), blocks=blocks, tail=tail, chance=chance)


def _compared(
    name: str,
    rival: Rival,
    labels: Floats,
    sides: tuple[Floats, Floats],
    *,
    blocks: NDArray[np.generic],
    tail: float,
    chance: Generator,
) -> Comparison:
    metric = metrics.named(name)
    ours, theirs = (metric.by_group(labels, side, blocks) for side in sides)
    first, second = (ours, theirs) if metric.higher_is_better else (theirs, ours)
    found = bootstrap.paired_difference(first, second, chance=chance, tail=tail, resamples=_RESAMPLES)
    return Comparison(
        metric=name,
        rival=rival,
        candidate=metric.of(labels, sides[0]),
        other=metric.of(labels, sides[1]),
        gain=found.estimate,
        low=found.low,
        high=found.high,
        standard_error=found.standard_error,
        tail=tail,
        units=found.units,
    )


def _slices(
    judged: Judged,
    other: Floats,
    *,
    evaluation: Evaluation,
    gate: Gate,
    blocks: NDArray[np.generic],
    chance: Generator,
) -> tuple[SliceComparison, ...]:
    found: list[SliceComparison] = []
    for column in evaluation.slices:
        if column not in judged.rows.columns:
            raise NotFound("column", column, known=judged.rows.columns)
        values = judged.rows[column].cast(pl.String).fill_null("missing").to_numpy().astype(str)
        for value in np.unique(values):
            inside = values == value
            comparison = None
            if inside.sum() >= gate.min_slice_rows:
                sides = (judged.candidate[inside], other[inside])
                comparison = _read(gate, judged.labels[inside], sides, blocks=blocks[inside], chance=chance)
            found.append(
                SliceComparison(column=column, value=str(value), rows=int(inside.sum()), comparison=comparison)
            )
    return tuple(found)


def _read(
    gate: Gate,
    labels: Floats,
    sides: tuple[Floats, Floats],
    *,
    blocks: NDArray[np.generic],
    chance: Generator,
) -> Comparison | None:
    """Compare within a slice; a slice that shows nothing (one class, one block) is not judged and blocks nothing."""
    try:
        return _compared(
            gate.metric, Rival.CHAMPION, labels, sides, blocks=blocks, tail=gate.alpha_per_look, chance=chance
        )
    except Invalid:
        return None


def _flips(labels: Floats, candidate: Floats, champion: Floats) -> Flips | None:
    if not np.isin(labels, (0, 1)).all():
        return None
    ours, theirs = ((side >= 0.5) == (labels == 1) for side in (candidate, champion))  # noqa: PLR2004 - the usual threshold
    return Flips(negative=int((theirs & ~ours).sum()), positive=int((ours & ~theirs).sum()))
