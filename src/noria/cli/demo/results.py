"""What came of the replay: quality by week and policy on true labels, with intervals, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from noria.boot import Platform
from noria.loop import scoring
from noria.loop.model import Cycle, Outcome
from noria.loop.spec import Loop
from noria.stats import bootstrap, scores
from noria.stats.intervals import Interval

_WEEK = timedelta(days=7)
_SEED = 2013
METRICS = ("auc", "log_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """One policy's quality in one week, on true labels."""

    begins: datetime
    auc: float
    log_loss: float
    rows: int


def weekly(platform: Platform, loop: Loop, *, since: datetime, until: datetime, as_of: datetime) -> list[Week]:
    """Score each full week in [since, until) by what the loop's champions said of its rows; weeks without are left out."""
    scored = scoring.live_scores(
        platform.rooms,
        platform.context,
        loop,
        since=since,
        until=until,
        as_of=as_of,
    )
    weeks = int((until - since) / _WEEK)
    begins = [since + _WEEK * number for number in range(weeks)]
    found = (_week(loop, scored, begin) for begin in begins)
    return [week for week in found if week is not None]


def _week(loop: Loop, scored: pl.DataFrame, begin: datetime) -> Week | None:
    when = pl.col(loop.dataset.time)
    inside = scored.filter((when >= begin) & (when < begin + _WEEK))
    labels, said = scoring.labelled(loop, inside)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 - AUC needs both classes
        return None
    return Week(begins=begin, auc=scores.auc(labels, said), log_loss=scores.log_loss(labels, said), rows=len(labels))


def tally(cycles: Sequence[Cycle], *, since: datetime | None = None) -> dict[str, Any]:
    """Count what cycles did and what their trainings cost, each charged in full, shared through the cache or not."""
    counted = [cycle for cycle in cycles if since is None or cycle.opened_at >= since]
    settled = [cycle.outcome for cycle in counted]
    return {
        "trainings": sum(_trainings(cycle) for cycle in counted),
        "promotions": settled.count(Outcome.PROMOTED),
        "refusals": settled.count(Outcome.REJECTED),
        "cpu_seconds": round(sum(cycle.charged_cpu_seconds for cycle in counted), 3),
    }


def _trainings(cycle: Cycle) -> int:
    candidate = int(cycle.candidate is not None)
    return candidate + int(cycle.promoted is not None and cycle.promoted != cycle.candidate)


def summary(weeks: Sequence[Week], cycles: Sequence[Cycle], *, since: datetime) -> dict[str, Any]:
    """Return one policy's line of the table: means of weeks with their intervals, counts and cost."""
    told: dict[str, Any] = {}
    for metric in METRICS:
        values = np.array([getattr(week, metric) for week in weeks])
        told[metric] = float(values.mean())
        told[f"{metric}_interval"] = _bounds(bootstrap.mean_of_blocks(values, chance=np.random.default_rng(_SEED)))
    return told | tally(cycles) | {"while_scored": tally(cycles, since=since)}


def differences(weeks: Mapping[str, Sequence[Week]], *, ours: str) -> dict[str, Any]:
    """Return our quality less each other policy's, week by week on the same rows, with intervals over weeks."""
    told: dict[str, Any] = {}
    for name, theirs in weeks.items():
        if name == ours:
            continue
        told[f"{ours} - {name}"] = {
            metric: _paired([getattr(w, metric) for w in weeks[ours]], [getattr(w, metric) for w in theirs])
            for metric in METRICS
        }
    return told


def _paired(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    found = bootstrap.paired_difference_of_blocks(first, second, chance=np.random.default_rng(_SEED))
    return {"difference": found.estimate, "interval": _bounds(found)}


def _bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
