"""The recipe that all policies share, and the five loops that differ only in when they train and what they promote."""

import zlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl

import noria as nr
from noria.cli.demo.flights import WEATHER

ORIGINS = ("EWR", "JFK", "LGA")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
NUMBERS = ("hour", "minute", "weekday", "distance", "block_minutes", "departures_hour", *WEATHER)
TICK_HOUR = (
    8  # in UTC: three in the morning in New York, before the first departure and after the last label of the day
)

MOST_ROWS = 60_000  # of all that are labelled; measured on January to April: as good as all, at two thirds of the cost

FLIGHTS = nr.Dataset("flights", key="id", time="scheduled_at", label="late")


def features(rows: pl.DataFrame) -> np.ndarray:
    """Turn rows into the numbers that the model reads, shape (n, 16); an unknown carrier or airport is missing."""
    table = rows.select(
        _place("origin", ORIGINS),
        _place("carrier", CARRIERS),
        *(pl.col(name).cast(pl.Float64) for name in NUMBERS),
    )
    return table.to_numpy()


def _place(column: str, names: Sequence[str]) -> pl.Expr:
    places = [float(place) for place in range(len(names))]
    return pl.col(column).replace_strict(names, places, default=None, return_dtype=pl.Float64)


def sample(rows: pl.DataFrame) -> pl.DataFrame:
    """Return at most 60,000 rows, those whose keys have the smallest checksums: a sample that hardly changes as rows come."""
    if rows.height <= MOST_ROWS:
        return rows
    sums = np.fromiter((zlib.crc32(key.encode()) for key in rows["id"].to_list()), dtype=np.int64, count=rows.height)
    return rows[np.sort(np.argsort(sums, kind="stable")[:MOST_ROWS])]


@nr.step(cache=True)
def fit(rows: pl.DataFrame) -> nr.Model:
    """Train gradient boosting on labelled flights; its settings were chosen on January to April."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - an extra, without stubs

    boosting: Any = cast("Any", HistGradientBoostingClassifier)(
        max_iter=100,
        learning_rate=0.1,
        max_leaf_nodes=15,
        min_samples_leaf=100,
        categorical_features=[0, 1],
        early_stopping=False,
        random_state=0,
    )
    chosen = sample(rows)
    return nr.Model(boosting.fit(features(chosen), chosen["late"].to_numpy()), preprocess=features)


@nr.pipeline
def train(rows: pl.DataFrame):  # noqa: ANN201 - a reference to a model, while the pipeline is drawn
    """Train one model on the rows."""
    return fit(rows)
