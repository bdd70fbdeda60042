"""Scene one: the labels of one large carrier come flipped for three weeks, through that carrier's own feed.

Three loops retrain each week on the same four weeks of flights: `guarded` and `unguarded` on the poisoned labels, each with
a dataset of its own, `clean` on the true ones. Each week's champion is scored on the flights of the week after, on true labels. Then the
quarantine is erased, and then the feed is corrected; what the guarded loop learns after each is scored again.
The guard's bars are its defaults; they were chosen on January to April, and the scene plays in June.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import noria as nr
from noria.boot import Platform, open_home
from noria.cli.demo.recipe import FLIGHTS, TICK_HOUR, train
from noria.core.clock import SimulatedClock
from noria.guards.rules import Choice
from noria.loop import scoring
from noria.stats import scores

_WEEK = timedelta(days=7)
_SEED = 2013
_EVERY = 2  # every second flight is enough to see all of it, in half of the time
_TWIN, _TRUE = (nr.Dataset(f"flights-{name}", key="id", time="scheduled_at", label="late") for name in ("twin", "true"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Whose labels are flipped, how many of them, from when on and for how many weeks."""

    carrier: str = "UA"
    share: float = 1.0
    begins: datetime = datetime(2013, 6, 3, TICK_HOUR, tzinfo=UTC)
    weeks: int = 3

    @property
    def source(self) -> str:
        """Return the feed through which the flipped labels come."""
        return _feed(self.carrier)

    def moments(self) -> list[datetime]:
        """Return the ends of the poisoned weeks."""
        return [self.begins + _WEEK * number for number in range(1, self.weeks + 1)]


def play(flights: pl.DataFrame, home: str | Path, *, attack: Attack | None = None) -> dict[str, Any]:
    """Play the scene in a home of its own, and return its numbers."""
    attack = attack or Attack()
    begins, end = attack.begins - 4 * _WEEK, attack.moments()[-1]
    flights = flights.filter((pl.col("scheduled_at") >= begins) & (pl.col("scheduled_at") < end + 3 * _WEEK))
    flights = flights.gather_every(_EVERY)
    told = poisoned(flights, attack)
    feeds, loops = {FLIGHTS: told, _TWIN: told, _TRUE: flights}, _loops()
    with open_home(home, clock=SimulatedClock(begins)) as platform:
        for moment in [attack.begins, *attack.moments()]:
            _deliver(platform, feeds, since=begins if moment == attack.begins else moment - _WEEK, until=moment)
            _turn(platform, loops)
        found = _quarantined(platform, attack, flights, told)
        met = _scores(platform, loops, flights, since=attack.moments()[0], until=end + _WEEK)
        return found | _numbers(met) | {"after_repair": _repaired(platform, feeds, loops, attack)}


def poisoned(flights: pl.DataFrame, attack: Attack) -> pl.DataFrame:
    """Return the flights with the labels that the attacked feed tells."""
    end = attack.moments()[-1]
    hit = (
        (pl.col("carrier") == attack.carrier) & (pl.col("scheduled_at") >= attack.begins) & (pl.col("known_at") <= end)
    )
    drawn = pl.Series(np.random.default_rng(_SEED).random(flights.height) < attack.share)
    return flights.with_columns((pl.col("late") ^ (hit & drawn)).alias("late"))


def _loops() -> list[nr.Loop]:
    shared: Mapping[str, Any] = {
        "train": train,
        "when": nr.manual(),
        "evaluate": nr.Evaluation(holdout=None),
        "gate": None,
        "window": 4 * _WEEK,
    }
    usual = (nr.check_schema(), nr.check_quality())
    return [
        nr.Loop("guarded", dataset=FLIGHTS, guards=(*usual, nr.check_poisoning()), **shared),
        nr.Loop("unguarded", dataset=_TWIN, guards=usual, **shared),
        nr.Loop("clean", dataset=_TRUE, guards=usual, **shared),
    ]


def _deliver(platform: Platform, feeds: Mapping[nr.Dataset, pl.DataFrame], *, since: datetime, until: datetime) -> None:
    """Let the flights of some weeks arrive, and the labels that are known by then, those of each carrier by its feed."""
    assert isinstance(platform.clock, SimulatedClock), "the scene plays in its own time"
    platform.clock.advance_to(until)
    for dataset, flights in feeds.items():
        rows = flights.filter((pl.col("scheduled_at") >= since) & (pl.col("scheduled_at") < until))
        platform.push(dataset, rows.drop("late", "known_at"), source="departures")
        known = flights.filter((pl.col("known_at") > since) & (pl.col("known_at") <= until))
        if dataset == FLIGHTS:
            for (carrier,), part in sorted(known.group_by("carrier"), key=lambda pair: pair[0]):
                _land(platform, dataset, part, source=_feed(str(carrier)))
        else:
            _land(platform, dataset, known, source="arrivals")


def _land(platform: Platform, dataset: nr.Dataset, labels: pl.DataFrame, *, source: str) -> None:
    platform.land_labels(dataset, labels.select("id", "late", "known_at"), source=source)


def _turn(platform: Platform, loops: Sequence[nr.Loop]) -> None:
    started = {row.name for row in platform.loops.all(platform.context, with_retired=True)}
    for loop in loops:
        if loop.name not in started:
            platform.start(loop)
        platform.loops.request(platform.context, loop.name, reason="a week has passed")
    with platform.worker(*loops) as worker:
        worker.run_until_quiet()


def _quarantined(platform: Platform, attack: Attack, true: pl.DataFrame, told: pl.DataFrame) -> dict[str, Any]:
    """Return what the guard holds, and how much of it was really flipped."""
    flipped = set(true.filter(pl.col("late") != told["late"])["id"].to_list())
    entries = platform.guards.entries(platform.context, FLIGHTS.name, Choice())
    held = {entry.key for entry in entries}
    return {
        "source": attack.source,
        "share": attack.share,
        "weeks": [attack.begins.isoformat(), attack.moments()[-1].isoformat()],
        "sources_held": sorted({entry.source for entry in entries}),
        "labels_flipped": len(flipped),
        "rows_quarantined": len(held),
        "true_positives": len(held & flipped),
        "false_positives": len(held - flipped),
        "reasons": sorted({entry.reason for entry in entries}),
    }


def _scores(
    platform: Platform, loops: Sequence[nr.Loop], flights: pl.DataFrame, *, since: datetime, until: datetime
) -> dict[str, dict[str, float]]:
    """Score what each loop's champions say of the flights of some weeks, on true labels."""
    rows = flights.filter((pl.col("scheduled_at") >= since) & (pl.col("scheduled_at") < until))
    labels = rows["late"].cast(pl.Float64).to_numpy()
    told: dict[str, dict[str, float]] = {}
    for loop in loops:
        said = np.full(rows.height, np.nan)
        for reign in scoring.reigns(platform.rooms, platform.context, loop.model):
            met = (rows["scheduled_at"] >= reign.since).to_numpy()
            version = platform.registry.version(platform.context, loop.model, reign.version)
            said[met] = platform.loader.load(version.artifact).predict(rows.filter(pl.Series(met)))
        told[loop.name] = {"auc": scores.auc(labels, said), "log_loss": scores.log_loss(labels, said)}
    return told


def _numbers(met: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return each metric by loop, and what the poison cost the loop without the guard."""
    return {
        **{metric: {name: found[metric] for name, found in met.items()} for metric in ("auc", "log_loss")},
        "damage": {
            "auc": met["clean"]["auc"] - met["unguarded"]["auc"],
            "log_loss": met["unguarded"]["log_loss"] - met["clean"]["log_loss"],
        },
    }


def _repaired(
    platform: Platform, feeds: Mapping[nr.Dataset, pl.DataFrame], loops: Sequence[nr.Loop], attack: Attack
) -> dict[str, dict[str, float]]:
    """Erase the quarantine and correct the feed; compare guarded and clean before and after on the same two weeks.

    Before the correction the guarded champion has learned without the erased labels, a day later with the right ones.
    """
    end, flights = attack.moments()[-1], feeds[_TRUE]
    later = end + timedelta(days=1)
    compared = [loop for loop in loops if loop.name != "unguarded"]
    window = {"since": later, "until": later + 2 * _WEEK}
    erased = platform.guards.erase(platform.context, FLIGHTS.name, Choice(source=attack.source), reason="flipped")
    before = _scores(platform, compared, flights, **window)
    hit = flights.filter((pl.col("carrier") == attack.carrier) & (pl.col("scheduled_at") >= attack.begins))
    corrected = hit.filter(pl.col("known_at") <= end).with_columns(pl.lit(end).alias("known_at"))
    _land(platform, FLIGHTS, corrected, source=f"{attack.source}/corrected")
    _deliver(platform, feeds, since=end, until=later)
    _turn(platform, compared)
    after = _scores(platform, compared, flights, **window)
    return {
        "erased": _distance(before) | {"labels": float(erased.labels)},
        "corrected": _distance(after) | {"labels": float(corrected.height)},
    }


def _distance(met: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    ours, clean = met["guarded"]["auc"], met["clean"]["auc"]
    return {"auc_guarded": ours, "auc_clean": clean, "auc_difference": ours - clean}


def _feed(carrier: str) -> str:
    return f"arrivals/{carrier}"
