"""Scene three: a candidate that is better offline goes bad live, when a feed that only it reads breaks in the canary.

The candidate also reads how late the last flights left its airport. That makes it better on every past day: the gate
lets it pass, and three days of shadow on the real flights of those days find nothing. A day into the canary the feed
breaks, in two ways, each from the same moment on. Where it falls silent the model still answers, each time without its
best feature: that more is missing than at the champion is what the rollout sees, before the labels say anything. Where
it tells seconds for minutes nothing is missing, and the labels, as they come, show that the candidate is worse.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl

import noria as nr
from noria.boot import Platform, open_home
from noria.cli.demo import flights as tables
from noria.cli.demo.recipe import CARRIERS, NUMBERS, ORIGINS, TICK_HOUR
from noria.core.clock import SimulatedClock
from noria.loop.model import Cycle
from noria.rollouts.model import Rollout
from noria.rollouts.spec import Canary

_HOUR = timedelta(hours=1)
_DELIVERY = 4 * _HOUR
_USUAL = ("origin_place", "carrier_place", *NUMBERS)
_FEED = "recent_delay"
_DEPARTURES = nr.Dataset("flights", key="id", time="scheduled_at", label="late")


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """When what happens; every `every`-th flight of the past is learned from, all flights of the live days are asked about.

    `ends` is when it is over if no rollout is taken back before.
    """

    begins: datetime = datetime(2013, 4, 22, TICK_HOUR, tzinfo=UTC)
    champion: datetime = datetime(2013, 6, 3, TICK_HOUR, tzinfo=UTC)
    candidate: datetime = datetime(2013, 6, 17, TICK_HOUR, tzinfo=UTC)
    breaks: datetime = datetime(2013, 6, 21, TICK_HOUR, tzinfo=UTC)
    ends: datetime = datetime(2013, 6, 24, TICK_HOUR, tzinfo=UTC)
    every: int = 4


@nr.step(cache=True)
def fit(rows: pl.DataFrame, names: list[str]) -> nr.Model:
    """Train gradient boosting on labelled flights by these columns, the first two of them places."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - an extra, without stubs

    boosting: Any = cast("Any", HistGradientBoostingClassifier)(
        max_iter=40, max_leaf_nodes=15, min_samples_leaf=100, categorical_features=[0, 1], random_state=0
    )
    reads = nr.columns(*names)
    return nr.Model(boosting.fit(reads(rows), rows["late"].to_numpy()), preprocess=reads)


@nr.pipeline
def train(rows: pl.DataFrame, names: list[str]):  # noqa: ANN201 - a reference to a model, while the pipeline is drawn
    """Train one model on the rows."""
    return fit(rows, names=names)


def play(flights: pl.DataFrame, home: str | Path, *, days: Days | None = None) -> dict[str, Any]:
    """Play the scene in homes of its own below a folder; return what the rollouts saw, did, and how soon.

    What is told at first is of the feed that fell silent; `in_seconds` is of the other one.
    """
    days, home = days or Days(), Path(home)
    rows = _with_feed(flights, days)
    loop = _loop((*_USUAL, _FEED))
    with open_home(home / "until", clock=SimulatedClock(days.champion)) as platform:
        offline = _until_the_candidate(platform, loop, rows, days)
        before = _live(platform, loop, rows, days, until=days.breaks)
    silent, silent_live = _broken(home, "silent", loop, rows, days, feed=pl.lit(None, pl.Float64))
    seconds, seconds_live = _broken(home, "seconds", loop, rows, days, feed=60.0 * pl.col(_FEED))
    live = {name: before[name] + silent_live[name] + seconds_live[name] for name in before}
    judged = {"verdict": offline.verdict["outcome"], "reasons": list(offline.verdict["reasons"])}
    return {"offline": judged, **silent, "in_seconds": seconds, **live}


def _until_the_candidate(platform: Platform, loop: nr.Loop, rows: pl.DataFrame, days: Days) -> Cycle:
    """Let a champion learn from the past and a candidate be judged beside it; return the candidate's cycle."""
    _past(platform, rows, since=days.begins, until=days.champion, every=days.every)
    unjudged = replace(_loop(_USUAL), evaluate=nr.Evaluation(holdout=None), gate=None)
    _turned(platform, unjudged, reason="the first model")
    _clock(platform).advance_to(days.candidate)
    _past(platform, rows, since=days.champion, until=days.candidate, every=days.every)
    return _turned(platform, loop, reason="how late the last flights left, as a feature")


def _broken(
    home: Path, name: str, loop: nr.Loop, rows: pl.DataFrame, days: Days, *, feed: pl.Expr
) -> tuple[dict[str, Any], dict[str, int]]:
    """Go on in a copy of the home with a feed that tells something else; return what came of it, and the requests."""
    shutil.copytree(home / "until", home / name)
    broken = rows.with_columns(pl.when(pl.col("scheduled_at") < days.breaks).then(_FEED).otherwise(feed).alias(_FEED))
    with open_home(home / name, clock=SimulatedClock(days.breaks)) as platform:
        live = _live(platform, loop, broken, days, since=days.breaks, until=days.ends)
        return _told(platform, days), live


def _loop(names: tuple[str, ...]) -> nr.Loop:
    """Return the loop with a canary of one small share.

    Latency is left out: the replay asks about a whole hour's flights at once, on a machine that does other things too.
    """
    return nr.Loop(
        "departures",
        dataset=_DEPARTURES,
        train=train,
        when=nr.manual(),
        params={"names": list(names)},
        evaluate=nr.Evaluation(holdout="7d"),
        gate=nr.Gate("log_loss", margin=0.01),
        rollout=nr.Canary(
            shadow="3d",
            stages=(0.1, 1.0),
            abort_on=("error_rate", "missing_rate", "log_loss"),
            min_time="3d",
            look_every="1h",
        ),
    )


def _with_feed(flights: pl.DataFrame, days: Days) -> pl.DataFrame:
    """Return the scene's flights as they are asked about: places as numbers, and the feed."""
    scene = flights.filter((pl.col("scheduled_at") >= days.begins) & (pl.col("scheduled_at") < days.ends))
    board = tables.recent_delays(tables.folder(), months=days.ends.month)
    return scene.join(board, on="id", how="left", maintain_order="left").with_columns(
        _place("origin", ORIGINS), _place("carrier", CARRIERS)
    )


def _place(column: str, names: tuple[str, ...]) -> pl.Expr:
    places = [float(place) for place in range(len(names))]
    found = pl.col(column).replace_strict(names, places, default=None, return_dtype=pl.Float64)
    return found.alias(f"{column}_place")


def _past(platform: Platform, rows: pl.DataFrame, *, since: datetime, until: datetime, every: int) -> None:
    """Let a stretch of the past arrive at once, with the labels that were known at its end."""
    inside = rows.filter((pl.col("scheduled_at") >= since) & (pl.col("known_at") <= until)).gather_every(every)
    platform.push(_DEPARTURES, inside, source="departures")


def _turned(platform: Platform, loop: nr.Loop, *, reason: str) -> Cycle:
    """Declare the loop, ask for a cycle, turn it as far as it goes, and return it."""
    platform.start(loop)
    platform.loops.request(platform.context, loop.name, reason=reason)
    with platform.worker(loop) as worker:
        worker.run_until_quiet()
    return platform.loops.cycles(platform.context, loop.name)[-1]


def _live(
    platform: Platform, loop: nr.Loop, rows: pl.DataFrame, days: Days, *, until: datetime, since: datetime | None = None
) -> dict[str, int]:
    """Ask about every flight in its hour, land labels every few hours, and let the worker look each hour, until an end.

    It is over when the cycle has settled. Returns how many requests were asked, and how many of them failed.
    """
    requests = failed = 0
    with platform.worker(loop) as worker:
        for moment in _hours(since or days.candidate, until):
            _clock(platform).advance_to(moment)
            asked = _within(rows, "scheduled_at", moment - _HOUR, moment).drop("late", "known_at")
            if asked.height:
                said = platform.endpoints.predict(platform.context, loop.name, asked, key="id")
                requests, failed = requests + len(said), failed + sum(answer.score is None for answer in said)
            worker.run_until_quiet()
            if (moment - days.candidate) % _DELIVERY == timedelta(0):
                _land(platform, rows, days, until=moment)
            if platform.loops.cycles(platform.context, loop.name)[-1].outcome is not None:
                break
    return {"requests": requests, "failed_requests": failed}


def _hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the end of each hour between two moments."""
    moment = since + _HOUR
    while moment <= until:
        yield moment
        moment += _HOUR


def _land(platform: Platform, rows: pl.DataFrame, days: Days, *, until: datetime) -> None:
    """Land the labels that have become known in the last hours; the flights are there, the endpoint has met them."""
    landed = _within(rows, "known_at", until - _DELIVERY, until).filter(pl.col("scheduled_at") >= days.candidate)
    if landed.height:
        platform.land_labels(_DEPARTURES, landed.select("id", "late", "known_at"), source="arrivals")


def _within(rows: pl.DataFrame, column: str, since: datetime, until: datetime) -> pl.DataFrame:
    return rows.filter((pl.col(column) >= since) & (pl.col(column) < until))


def _told(platform: Platform, days: Days) -> dict[str, Any]:
    rollout = platform.rollouts.all(platform.context)[-1]
    route = platform.endpoints.route(platform.context, rollout.endpoint)
    settled = platform.loops.cycles(platform.context, rollout.endpoint)[-1]
    return {
        "shadow": [_spoken(one["look"]) for one in rollout.passed],
        "outcome": None if settled.outcome is None else settled.outcome.value,
        "state": rollout.state.value,
        "looks": rollout.looks,
        "stage": str(Canary.from_plain(rollout.spec).plan()[rollout.stage]),
        "exposure": rollout.exposed,
        "seconds_to_abort": _seconds(rollout, days),
        "aborted_on": list(rollout.look["aborted_on"]),
        "reasons": list(rollout.look["reasons"]),
        "readings": _spoken(rollout.look),
        "answers_now": [[variant.version, variant.weight] for variant in route.variants],
        "champion": rollout.champion,
        "candidate": rollout.candidate,
    }


def _seconds(rollout: Rollout, days: Days) -> float | None:
    """Return the simulated seconds from the feed's break to the abort, None if there was none."""
    return None if rollout.ended_at is None else (rollout.ended_at - days.breaks).total_seconds()


def _spoken(look: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = ("metric", "candidate", "champion", "difference", "low", "high", "keys", "unread")
    return [{name: one[name] for name in names} for one in look["readings"]]


def _clock(platform: Platform) -> SimulatedClock:
    assert isinstance(platform.clock, SimulatedClock), "the scene plays in its own time"
    return platform.clock
