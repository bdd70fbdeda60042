"""Scene two: a candidate that was trained on a broken feature is refused by the gate, in words, with its evidence.

The join that brings each flight its schedule finds nothing any more, and somebody fills what is missing with 0.
Training ends well, the model loads and answers; only the comparison on flights that nobody was trained on tells.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

import noria as nr
from noria.boot import Platform, open_home
from noria.cli.demo.recipe import FLIGHTS, NUMBERS, TICK_HOUR, features, train
from noria.core.clock import SimulatedClock
from noria.loop.model import Cycle

if TYPE_CHECKING:
    import numpy as np

_BEGINS = datetime(2013, 5, 6, TICK_HOUR, tzinfo=UTC)
_WEEK = timedelta(days=7)
_EVERY = 2


def misjoined_features(rows: pl.DataFrame) -> "np.ndarray":
    """Turn rows into the numbers that the model reads, with 0 for each of the schedule's: the join finds none."""
    return features(rows.with_columns(pl.lit(0).cast(rows.schema[name]).alias(name) for name in NUMBERS))


@nr.step(cache=True)
def fit_misjoined(rows: pl.DataFrame) -> nr.Model:
    """Train the demonstration's recipe on the broken features."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - an extra, without stubs

    boosting: Any = cast("Any", HistGradientBoostingClassifier)(
        max_iter=100, max_leaf_nodes=15, min_samples_leaf=100, categorical_features=[0, 1], random_state=0
    )
    return nr.Model(boosting.fit(misjoined_features(rows), rows["late"].to_numpy()), preprocess=misjoined_features)


@nr.pipeline
def train_misjoined(rows: pl.DataFrame):  # noqa: ANN201 - a reference to a model, while the pipeline is drawn
    """Train one model on the rows with the broken feature."""
    return fit_misjoined(rows)


def play(flights: pl.DataFrame, home: str | Path) -> dict[str, Any]:
    """Play the scene in a home of its own, and return the gate's verdict with reasons and evidence."""
    with open_home(home, clock=SimulatedClock(_BEGINS)) as platform:
        good = nr.Loop(
            "late-flights",
            dataset=FLIGHTS,
            train=train,
            when=nr.manual(),
            evaluate=nr.Evaluation(slices=("origin",), holdout="7d", refit=False),
            gate=nr.Gate("log_loss", margin=0.02, guards=(("auc", 0.02),)),
        )
        first = _turned(platform, good, flights, since=_BEGINS, until=_BEGINS + 3 * _WEEK)
        broken = replace(good, train=train_misjoined)
        refused = _turned(platform, broken, flights, since=_BEGINS + 3 * _WEEK, until=_BEGINS + 4 * _WEEK)
        champion = platform.registry.alias(platform.context, good.model).version
    return _told(refused) | {"champion": champion, "stays": champion == first.promoted}


def _turned(platform: Platform, loop: nr.Loop, flights: pl.DataFrame, *, since: datetime, until: datetime) -> Cycle:
    """Let every second flight of some weeks arrive, ask for a cycle, and return it."""
    assert isinstance(platform.clock, SimulatedClock), "the scene plays in its own time"
    platform.clock.advance_to(until)
    rows = flights.filter((pl.col("scheduled_at") >= since) & (pl.col("known_at") <= until)).gather_every(_EVERY)
    platform.push(FLIGHTS, rows, source="departures")
    platform.start(loop)
    platform.loops.request(platform.context, loop.name, reason="a new recipe")
    with platform.worker(loop) as worker:
        worker.run_until_quiet()
    return platform.loops.cycles(platform.context, loop.name)[-1]


def _told(cycle: Cycle) -> dict[str, Any]:
    verdict = cycle.verdict
    return {
        "verdict": verdict["outcome"],
        "outcome": None if cycle.outcome is None else cycle.outcome.value,
        "reasons": list(verdict["reasons"]),
        "evidence": dict(cycle.evidence),
    }
