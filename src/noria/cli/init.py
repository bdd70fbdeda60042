"""`noria init`: a small loop that runs, and rows to run it on."""

from datetime import datetime, timedelta
from pathlib import Path

import click
import numpy as np
import polars as pl

from noria.boot import open_home
from noria.core.clock import RealClock
from noria.core.errors import Conflict
from noria.datasets.model import Dataset
from noria.settings import read_settings, with_user

_ROWS, _DAYS = 6_000, 60
_LOOP = '''"""Will a machine fail within a day? A loop to begin with: edit it, and start it again."""

import noria as nr
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

machines = nr.Dataset("machines", key="id", time="seen_at", label="failed")


def features(rows: pl.DataFrame):
    """The same function in training, in the gate and live."""
    return rows.select("temperature", "vibration", "age_days", "load").to_numpy()


@nr.step(retries=1)
def fit(rows: pl.DataFrame, *, learning_rate: float) -> nr.Model:
    estimator = HistGradientBoostingClassifier(learning_rate=learning_rate, max_iter=60, max_leaf_nodes=6, random_state=0)
    return nr.Model(estimator.fit(features(rows), rows["failed"].to_numpy()), preprocess=features)


@nr.pipeline
def train(rows: pl.DataFrame, learning_rate: float = 0.1):
    return fit(rows, learning_rate=learning_rate)


loop = nr.Loop(
    "machines",
    dataset=machines,
    train=train,
    when=nr.any_of(nr.new_labels(500), nr.schedule("0 3 * * *"), nr.drift(psi=0.25), nr.metric_drop("auc", by=0.05)),
    evaluate=nr.Evaluation(metrics=["auc", "log_loss"], slices=["site"], holdout="7d"),
    gate=nr.Gate("log_loss", margin=0.01, guards=[("auc", 0.01)]),
)
'''
_NEXT = """wrote {loop} and {rows} ({count:,} rows of the last {days} days, made up), and pushed them into {home}

next{where}:
  noria up                           (API and pages, predictions, a worker; until Ctrl-C)
  noria cycles
  noria why machines@2"""


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a small loop into FOLDER (here, if not given) and push rows for it; nothing is overwritten."""
    loop, rows = folder / "loop.py", folder / "machines.csv"
    there = [file for file in (loop, rows) if file.exists()]
    if there:
        raise Conflict(f"{there[0]} is there already", hint="name another folder: noria init FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    loop.write_text(_LOOP, encoding="utf-8")
    sample(now=RealClock().now()).write_csv(rows)
    home = _push(rows, home=read_settings().home, folder=folder)
    where = "" if folder == Path() else f", in {folder}"
    click.echo(_NEXT.format(loop=loop, rows=rows, count=_ROWS, days=_DAYS, home=home, where=where))


def _push(rows: Path, *, home: str, folder: Path) -> str:
    """Commit the rows, once, into the home that commands in the folder will open; return its address."""
    place = home if "://" in home else str(folder / with_user(home))
    with open_home(place) as platform:
        machines = Dataset("machines", key="id", time="seen_at", label="failed")
        platform.datasets.create(platform.context, machines)
        platform.push(machines, rows, source="noria init", key="noria init")
    return place


def sample(*, now: datetime) -> pl.DataFrame:
    """Return made-up machines of the last sixty days that fail when hot, shaking and old; each label a day later."""
    chance = np.random.default_rng(7)
    temperature, vibration = chance.normal(60, 12, _ROWS), chance.gamma(2.0, 1.5, _ROWS)
    age, load = chance.integers(0, 2_000, _ROWS), chance.uniform(0, 1, _ROWS)
    danger = 0.08 * (temperature - 72) + 0.5 * (vibration - 3.5) + age / 1_500 + load - 2.2
    failed = chance.random(_ROWS) < 1 / (1 + np.exp(-danger))
    first = now - timedelta(days=_DAYS)
    step = (timedelta(days=_DAYS - 1) - timedelta(hours=1)) / _ROWS
    seen = [first + step * place for place in range(_ROWS)]
    return pl.DataFrame(
        {
            "id": [f"m{place:05d}" for place in range(_ROWS)],
            "seen_at": seen,
            "site": chance.choice(["north", "south", "west"], _ROWS),
            "temperature": temperature.round(1),
            "vibration": vibration.round(2),
            "age_days": age,
            "load": load.round(3),
            "failed": failed,
            "known_at": [moment + timedelta(days=1) for moment in seen],
        },
    )
