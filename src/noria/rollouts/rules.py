"""Pure decisions of rollouts: what a look shows, and whether to wait, go on, finish or go back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from noria.core.durations import spell_duration
from noria.rollouts.model import SHADOW, Look, Next, Reading, Rollout, Stage
from noria.rollouts.observing import Sample
from noria.rollouts.spec import OPERATIONAL, Canary
from noria.stats import sequential
from noria.stats.sequential import Bounds, Sureness

_FEWEST_KEYS = 20
"""Fewer keys of either version show nothing: the bounds hold in the limit of many."""

_HARM = 0.1
"""Going back is soonest for differences of about this size, an event or a nat in ten requests: what harms is found first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look has before it: the stage, since when, the samples, the candidate's requests, what was shown before."""

    stage: int
    since: datetime
    now: datetime
    samples: tuple[Sample, ...]
    requests: int
    shown: tuple[str, ...] = ()


def decide(canary: Canary, seen: Seen) -> Look:
    """Go back if any metric is surely worse, go on if all are surely good enough, else wait, but not for ever."""
    stage = canary.plan()[seen.stage]
    readings = tuple(reading(sample, canary) for sample in seen.samples)
    losses = (found.metric for found in readings if found.metric not in OPERATIONAL and found.is_within)
    shown = tuple(dict.fromkeys((*seen.shown, *losses)))
    worse = tuple(found for found in readings if found.is_worse)
    missing = tuple(_missing(canary, seen, stage, readings, shown=shown))
    if worse:
        chosen, reasons = Next.ABORT, tuple(_surely_worse(found) for found in worse)
    elif not missing:
        is_last = seen.stage == len(canary.plan()) - 1
        chosen, reasons = Next.FINISH if is_last else Next.ADVANCE, tuple(found.words() for found in readings)
    elif seen.now >= seen.since + stage.lasts + canary.waits:
        told = f"{stage} has waited {spell_duration(canary.waits)} for its evidence in vain"
        chosen, reasons = Next.ABORT, (told, *missing)
    else:
        chosen, reasons = Next.WAIT, missing
    return Look(
        next=chosen,
        reasons=reasons,
        readings=readings,
        requests=seen.requests,
        shown=shown,
        aborted_on=tuple(found.metric for found in worse),
    )


def reading(sample: Sample, canary: Canary) -> Reading:
    """Read one metric; too few keys are said, never passed over."""
    margin, tolerance = canary.margin(sample.metric), canary.tolerance(sample.metric)
    keys = min(sample.candidate.units, sample.champion.units)
    unread = sample.unread or (f"{keys} keys, {_FEWEST_KEYS} wanted" if keys < _FEWEST_KEYS else "")
    if unread:
        return Reading(metric=sample.metric, margin=margin, tolerance=tolerance, keys=keys, unread=unread)
    found = _bounds(sample, canary)
    return Reading(
        metric=sample.metric,
        margin=margin,
        tolerance=tolerance,
        candidate=sample.candidate.mean,
        champion=sample.champion.mean,
        difference=found.estimate,
        low=_finite(found.low),
        high=_finite(found.high),
        keys=sample.candidate.units,
    )


def next_look(canary: Canary, *, stage: int, since: datetime, now: datetime) -> datetime:
    """Return when to look again: after a pause, but not later than the moment at which the stage has lasted."""
    lasted = since + canary.plan()[stage].lasts
    return min(now + canary.pause, lasted) if lasted > now else now + canary.pause


def _bounds(sample: Sample, canary: Canary) -> Bounds:
    low = Sureness(alpha=canary.alpha_to_abort, spread=_HARM)
    high = Sureness(alpha=canary.alpha_to_pass, spread=canary.margin(sample.metric))
    if sample.pairs is not None:
        return sequential.bounds_of_pairs(sample.pairs, low=low, high=high)
    return sequential.bounds_of_two(sample.candidate, sample.champion, low=low, high=high)


def _missing(
    canary: Canary, seen: Seen, stage: Stage, readings: Sequence[Reading], *, shown: Sequence[str]
) -> list[str]:
    """Say what is still missing before the stage is passed."""
    said: list[str] = []
    lasted = seen.now - seen.since
    if lasted < stage.lasts:
        said.append(f"{stage} has lasted {_whole(lasted)}, {spell_duration(stage.lasts)} wanted")
    if seen.requests < canary.min_requests:
        said.append(f"{seen.requests:,} requests of the candidate at {stage}, {canary.min_requests:,} wanted")
    for found in readings:
        if not found.is_within and found.metric not in shown:
            more = "" if found.unread else f": not yet surely within {found.margin:g}"
            said.append(found.words() + more)
    return said


def _surely_worse(found: Reading) -> str:
    more = "" if not found.tolerance else f" by more than {found.tolerance:g}"
    return f"{found.words()}: surely worse{more}"


def _whole(duration: timedelta) -> str:
    return spell_duration(timedelta(seconds=int(duration.total_seconds())))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def exposed(canary: Canary, rollout: Rollout, look: Look) -> int:
    """Return how many live requests the candidate has answered, over the stages behind it and this one."""
    stage = canary.plan()[rollout.stage]
    behind = sum(int(one["look"]["requests"]) for one in rollout.passed if one["stage"] != SHADOW)
    return behind + (0 if stage.is_shadow else look.requests)
