"""Dagster; MODE=inprocess or multiprocess. Jobs are made at import: their processes import this file again."""

import os
import sys

import dagster as dg
import work
from contest import N, Timed, contend, slow, tell

EXECUTOR = (
    dg.multiprocess_executor.configured({"max_concurrent": 2})
    if os.environ["MODE"] == "multiprocess"
    else dg.in_process_executor
)


@dg.op
def zero() -> int:
    return 0


@dg.op
def inc(x: int) -> int:
    return x + 1


@dg.op
def slept(x: int) -> int:
    return slow(x)


@dg.op
def total(values: list) -> int:
    return sum(values)


@dg.op(out=dg.DynamicOut(int))
def items():
    for x in range(N):
        yield dg.DynamicOutput(x, mapping_key=str(x))


def chained(step):
    @dg.job(executor_def=EXECUTOR)
    def chain():
        x = zero()
        for number in range(N):
            x = step.alias(f"s{number}")(x)

    return chain


def chain_job():
    return chained(inc)


def crash_job():
    return chained(slept)


def fan_job():
    @dg.job(executor_def=EXECUTOR)
    def fan():
        total(items().map(inc).collect())

    return fan


def real_job():
    best = dg.op(name="best")(work.best)
    split = dg.op(name="split")(work.split)
    evaluate = dg.op(name="evaluate")(work.evaluate)

    def loading(name):
        return dg.op(name=f"load_{name}", ins={})(lambda: work.load(name))

    def training(name, kind):
        return dg.op(name=f"train_{name}_{kind}")(lambda frame: work.train(frame, kind))

    @dg.job(executor_def=EXECUTOR)
    def real():
        parts = {name: split.alias(f"split_{name}")(loading(name)()) for name in work.SETS}
        scores = [
            evaluate.alias(f"evaluate_{name}_{kind}")(training(name, kind)(parts[name]), parts[name])
            for name, kind in work.pairs()
        ]
        best(scores)

    return real


def run(job, last, *, again=None):
    with (
        Timed() as timed,
        dg.execute_job(dg.reconstructable(job), instance=dg.DagsterInstance.get(), reexecution_options=again) as done,
    ):
        result = done.output_for_node(last)
    tell(result, timed)


def crash():
    """Run; or, as the dead run still says that it is started, say that it failed and execute what is missing."""
    instance, again = dg.DagsterInstance.get(), None
    if "again" in sys.argv:
        dead = instance.get_runs(limit=1)[0]
        instance.report_run_failed(dead)
        again = dg.ReexecutionOptions.from_failure(dead.run_id, instance)
    run(crash_job, f"s{N - 1}", again=again)


if __name__ == "__main__":
    contend(
        chain=lambda: run(chain_job, f"s{N - 1}"),
        fan=lambda: run(fan_job, "total"),
        real=lambda: run(real_job, "best"),
        crash=crash,
    )
