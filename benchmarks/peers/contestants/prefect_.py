"""Prefect with its ephemeral server, or with a server of its own when PREFECT_API_URL is set."""

import work
from contest import N, Timed, contend, slow, tell, traced
from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE


@task
def inc(x):
    return x + 1


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def kept(x):
    return traced(x)


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def slept(x):
    return slow(x)


@task
def total(values):
    return sum(values)


def chained(step):
    @flow
    def chain(n):
        x = 0
        for _ in range(n):
            x = step(x)
        return x

    return chain


@flow
def fanned(n):
    return total(inc.map(range(n)))


load, split, train, evaluate, best = map(task, (work.load, work.split, work.train, work.evaluate, work.best))


@flow
def compared():
    parts = {name: split(load(name)) for name in work.SETS}
    models = [(name, train.submit(parts[name], kind)) for name, kind in work.pairs()]
    scores = [evaluate.submit(model, parts[name]) for name, model in models]
    return best([score.result() for score in scores])


def run(called, *arguments):
    with Timed() as timed:
        result = called(*arguments)
    tell(result, timed)


contend(
    chain=lambda: run(chained(inc), N),
    fan=lambda: run(fanned, N),
    cached=lambda: run(chained(kept), N),
    real=lambda: run(compared),
    crash=lambda: run(chained(slept), N),
)
