"""Builds homes in which a loop has turned, and clients of their control app."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from starlette.testclient import TestClient

import noria as nr
from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.server.control.app import make_app
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")


@nr.step
def fit(rows: pl.DataFrame, flip: bool = False) -> nr.Model:
    labels = rows["bought"].to_numpy()
    return nr.Model(LogisticRegression().fit(features(rows), ~labels if flip else labels), preprocess=features)


def features(rows):
    return rows.select("x", "y").to_numpy()


@nr.pipeline
def train(rows, flip=False):
    return fit(rows, flip=flip)


def a_loop(name="clicks", **changes):
    told = {
        "dataset": CLICKS,
        "train": train,
        "when": nr.any_of(nr.new_labels(400), nr.event(type="com.shop.refreshed")),
        "evaluate": nr.Evaluation(metrics=["log_loss", "auc"], slices=["site"], holdout="5d", min_rows=50),
        "gate": nr.Gate("log_loss", margin=0.02),
    }
    return nr.Loop(name, **told | changes)


def push_days(home, count, *, per_day=60):
    chance = np.random.default_rng(3)
    for _ in range(count):
        begin = home.clock.now()
        home.clock.advance_to(begin + DAY)
        x, y = chance.normal(size=(2, per_day))
        moments = [begin + DAY * place / per_day for place in range(per_day)]
        keys = [moment.isoformat() for moment in moments]
        bought = chance.random(per_day) < 1 / (1 + np.exp(-2 * x - y))
        rows = pl.DataFrame({"id": keys, "at": moments, "x": x, "y": y, "site": chance.choice(["a", "b"], per_day)})
        home.push(CLICKS, rows, source="site")
        known = [home.clock.now()] * per_day
        home.land_labels(CLICKS, pl.DataFrame({"id": keys, "bought": bought, "known_at": known}), source="shop")


def turn(home, *loops):
    with home.worker(*loops) as worker:
        return worker.run_until_quiet()


def opened(place, folder):
    settings = Settings(home=place, blobs=str(folder / "blobs"), key_file=str(folder / "key"), actor="ann")
    return open_home(clock=SimulatedClock(START), settings=settings)


def client_of(platform, *, at="127.0.0.1"):
    return TestClient(make_app(platform), base_url="http://127.0.0.1:7878", client=(at, 50_000))
