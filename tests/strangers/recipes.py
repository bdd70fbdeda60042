"""Writes the program of a world's team: a module with a dataset, a preprocess, a step, a pipeline and a loop."""

from worlds import ESTIMATORS, REGRESSORS, World

_PROGRAM = """
import numpy as np
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier,
                              RandomForestRegressor)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import noria as nr

DATA = nr.Dataset({dataset!r}, key={key!r}, time={time!r}, label={label!r})
NUMBERS = {numbers!r}
TEXTS = {texts!r}
{features}


@nr.step
def fit(rows: pl.DataFrame) -> nr.Model:
    answers = rows.get_column({label!r}).to_numpy()
    return nr.Model({estimator}.fit(features(rows), answers), preprocess=features)


@nr.pipeline
def train(rows):
    return fit(rows)


LOOP = nr.Loop({dataset!r}, dataset=DATA, train=train, when={trigger}, min_rows={min_rows}, rollout={rollout},
               evaluate=nr.Evaluation(metrics={metrics!r}, holdout={holdout!r}, min_rows={judged}),
               gate=nr.Gate({metric!r}, margin={margin}))
"""

_FUNCTION = """
def features(rows):
    columns = [rows.get_column(name).cast(pl.Float64).fill_null(-1.0).to_numpy() for name in NUMBERS]
    return np.column_stack([*columns, rows.get_column({time!r}).dt.hour().to_numpy()])
"""
_FRAME = """
def features(rows):
    numbers = [rows.get_column(name).cast(pl.Float64) for name in NUMBERS]
    texts = [rows.get_column(name).cast(pl.String).fill_null("none") for name in TEXTS]
    return pl.DataFrame([*numbers, *texts]).to_pandas()
"""
_FORGETFUL = """
def features(rows):
    kept = [name for name, kind in rows.schema.items() if kind.is_numeric() or kind == pl.Boolean]
    return np.column_stack([rows.get_column(name).cast(pl.Float64).fill_null(0.0).to_numpy() for name in kept])
"""
_TRIGGERS = {
    "labels": "nr.new_labels({n})",
    "rows": "nr.new_rows({n})",
    "arrival": "nr.all_of(nr.data_arrival(), nr.new_labels({n}))",
    "schedule": "nr.schedule('30 2 * * *')",
    "drift": "nr.any_of(nr.drift(psi=0.3, over='4d'), nr.new_labels({n}))",
}


def program(world: World) -> str:
    """Return the team's module as text."""
    numbers = [column.name for column in world.inputs if column.is_number]
    texts = [column.name for column in world.inputs if not column.is_number]
    n = max(5, min(400, world.rows_a_day * 4))
    metrics, metric, margin = (
        (["mae", "rmse"], "mae", 0.2) if world.is_regression else (["log_loss", "auc"], "log_loss", 0.05)
    )
    return _PROGRAM.format(
        dataset=f"data-{world.seed}",
        key=world.key,
        time=world.time,
        label=world.label,
        numbers=numbers,
        texts=texts,
        features=_features(world, numbers),
        estimator=_estimator(world),
        trigger=_TRIGGERS[world.trigger].format(n=n),
        min_rows=max(5, min(100, world.rows_a_day * 3)),
        rollout="nr.Canary(look_every='12h')" if world.rollout and world.is_binary else "None",
        metrics=metrics,
        metric=metric,
        margin=margin,
        holdout="4d" if world.rows_a_day > 1 else "10d",
        judged=max(4, min(60, world.rows_a_day * 2)),
    )


def _features(world: World, numbers: list[str]) -> str:
    if world.recipe == "columns":
        return f"features = nr.columns({', '.join(map(repr, numbers))})"
    return {"function": _FUNCTION.format(time=world.time), "frame": _FRAME, "forgetful": _FORGETFUL}[world.recipe]


def _estimator(world: World) -> str:
    made = (REGRESSORS if world.is_regression else ESTIMATORS)[world.estimator]
    if world.recipe != "frame":
        return made
    last = made.removeprefix("make_pipeline(").removesuffix(")") if made.startswith("make_pipeline(") else made
    split = (
        "make_column_transformer((SimpleImputer(keep_empty_features=True), NUMBERS), "
        "(OneHotEncoder(handle_unknown='ignore', sparse_output=False), TEXTS))"
    )
    return f"make_pipeline({split}, {last})"
