"""The law of a regressor's rollout in its loop: live labels judge it, and one that is off is taken back in words."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import noria as nr
from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.loop.model import Outcome
from noria.settings import Settings

DAY = timedelta(days=1)
TRIPS = nr.Dataset("trips", key="id", time="at", label="minutes")
CANARY = nr.Canary(
    shadow="1d", stages=(0.5, 1.0), abort_on=("error_rate", "latency", "absolute_error"), worst_error=20.0,
    margins={"error_rate": 0.2, "latency": 0.2, "absolute_error": 0.05}, min_time="1d", min_requests=50, look_every="1d",
)  # fmt: skip


def features(rows):
    return rows.select("km").to_numpy()


@nr.step
def fit(rows: pl.DataFrame, late_by: float = 0.0) -> nr.Model:
    return nr.Model(LinearRegression().fit(features(rows), rows["minutes"].to_numpy() + late_by), preprocess=features)


@nr.pipeline
def train(rows, late_by=0.0):
    return fit(rows, late_by=late_by)


def a_loop(**params):
    evaluate = nr.Evaluation(metrics=["mae"], holdout=None)
    return nr.Loop(
        "trips", dataset=TRIPS, train=train, when=nr.manual(), evaluate=evaluate, gate=None, rollout=CANARY, guards=(),
        params=params,
    )  # fmt: skip


def day(home, loop, chance, *, answered):
    begin = home.clock.now()
    home.clock.advance_to(begin + DAY)
    km, moments = chance.uniform(1, 20, size=300), [begin + DAY * place / 300 for place in range(300)]
    rows = pl.DataFrame({"id": [moment.isoformat() for moment in moments], "at": moments, "km": km})
    home.push(TRIPS, rows)
    if answered:
        home.endpoints.predict(home.context, "trips", rows, key="id")
    took = 3 * km + chance.normal(scale=2, size=300)
    home.land_labels(TRIPS, rows.select("id", minutes=pl.Series(took), known_at=pl.lit(home.clock.now())))
    with home.worker(loop) as worker:
        worker.run_until_quiet()


@pytest.mark.parametrize(("late_by", "outcome"), [(0.0, Outcome.PROMOTED), (9.0, Outcome.ROLLED_BACK)])
def test_a_regressor_is_let_in_or_taken_back_by_its_live_errors(tmp_path, late_by, outcome):
    settings = Settings(home=str(tmp_path / "home"), actor="ann")
    chance = np.random.default_rng(5)
    with open_home(clock=SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC)), settings=settings) as home:
        for number, loop in enumerate((a_loop(), a_loop(late_by=late_by))):
            home.start(loop)
            home.loops.request(home.context, "trips", reason=str(number))
            for _ in range(3):
                day(home, loop, chance, answered=number > 0)

        (rollout,) = home.rollouts.all(home.context)
        last = home.loops.cycles(home.context)[-1]
        assert last.outcome is outcome
        assert "absolute_error" in last.words
        assert rollout.spec["slow_ms"] == 20.0  # the champion's 95th percentile is less than anybody notices
