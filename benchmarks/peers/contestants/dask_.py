"""Dask: threads, or a local cluster with MODE=distributed. Nothing is durable."""

import os

import dask
import work
from contest import N, Timed, contend, tell


def inc(x):
    return x + 1


def compute(graph):
    """Compute without fusing the steps, so that each is really scheduled."""
    with Timed() as timed:
        result = graph.compute(optimize_graph=False)
    tell(result, timed)


def chain():
    x, step = 0, dask.delayed(inc)
    for _ in range(N):
        x = step(x)
    compute(x)


def fan():
    step = dask.delayed(inc)
    compute(dask.delayed(sum)([step(x) for x in range(N)]))


def real():
    load, split, train, evaluate, best = map(
        dask.delayed, (work.load, work.split, work.train, work.evaluate, work.best)
    )
    parts = {name: split(load(name)) for name in work.SETS}
    compute(best([evaluate(train(parts[name], kind), parts[name]) for name, kind in work.pairs()]))


if __name__ == "__main__":
    workloads = {"chain": chain, "fan": fan, "real": real}
    if os.environ["MODE"] == "distributed":
        from dask.distributed import Client, LocalCluster

        shape = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
        with LocalCluster(**shape) as cluster, Client(cluster):
            contend(**workloads)
    else:
        with dask.config.set(scheduler="threads", num_workers=2):
            contend(**workloads)
