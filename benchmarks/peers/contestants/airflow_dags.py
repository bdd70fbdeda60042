"""The work as Airflow's DAGs; what is large goes by files, as its documentation says."""

import os
from datetime import UTC, datetime
from pathlib import Path

import joblib
import work
from airflow.sdk import dag, task

N = int(os.environ["BENCH_N"])
HOME = Path(os.environ["BENCH_HOME"])
TOLD = {"start_date": datetime(2024, 1, 1, tzinfo=UTC), "catchup": False}


@task
def inc(x):
    return x + 1


@task
def tell(result):
    (HOME / "result").write_text(str(result))


@task
def total(values):
    (HOME / "result").write_text(str(sum(values)))


@task
def part(name):
    return kept(work.split(work.load(name)), f"{name}.part")


@task
def train(frame, name, kind):
    return kept(work.train(joblib.load(frame), kind), f"{name}.{kind}")


@task
def evaluate(model, frame):
    return work.evaluate(joblib.load(model), joblib.load(frame))


@task
def best(scores):
    (HOME / "result").write_text(str(work.best(list(scores))))


def kept(value, name):
    joblib.dump(value, HOME / name)
    return str(HOME / name)


@dag(dag_id="chain", schedule=None, **TOLD)
def chain():
    x = 0
    for number in range(N):
        x = inc.override(task_id=f"s{number}")(x)
    tell(x)


@dag(dag_id="fan", schedule=None, **TOLD)
def fan():
    total(inc.expand(x=list(range(N))))


@dag(dag_id="real", schedule=None, **TOLD)
def real():
    parts = {name: part.override(task_id=f"part_{name}")(name) for name in work.SETS}
    scores = []
    for name, kind in work.pairs():
        model = train.override(task_id=f"train_{name}_{kind}")(parts[name], name, kind)
        scores.append(evaluate.override(task_id=f"evaluate_{name}_{kind}")(model, parts[name]))
    best(scores)


chain()
fan()
real()
