"""DBOS on SQLite."""

import sys

import work
from contest import HOME, TRACE, N, Timed, contend, slow, tell, traced
from dbos import DBOS, SetWorkflowID

DBOS(
    config={
        "name": "bench",
        "system_database_url": f"sqlite:///{HOME}/dbos.sqlite",
        "application_version": "v1",
        "executor_id": "local",
        "log_level": "WARNING",
    }
)


@DBOS.step()
def inc(x):
    return x + 1


@DBOS.step()
def kept(x):
    return traced(x)


@DBOS.step()
def slept(x):
    return slow(x)


STEPS = {"inc": inc, "kept": kept, "slept": slept}


@DBOS.workflow()
def chained(name, n):
    x = 0
    for _ in range(n):
        x = STEPS[name](x)
    return x


@DBOS.workflow()
def inced(x):
    return x + 1


@DBOS.workflow()
def fanned(n):
    return sum(handle.get_result() for handle in [DBOS.enqueue_workflow("fan", inced, x) for x in range(n)])


load, split, train, evaluate = (
    DBOS.step(name=function.__name__)(function) for function in (work.load, work.split, work.train, work.evaluate)
)


@DBOS.workflow()
def trained(part, kind):
    return evaluate(train(part, kind), part)


@DBOS.workflow()
def compared():
    parts = {name: split(load(name)) for name in work.SETS}
    begun = [DBOS.start_workflow(trained, parts[name], kind) for name, kind in work.pairs()]
    return work.best([handle.get_result() for handle in begun])


def run(workflow, *arguments):
    with Timed() as timed:
        result = workflow(*arguments)
    tell(result, timed)


def same(*arguments):
    """Run under one id."""
    with SetWorkflowID("same"):
        run(chained, *arguments)


def cached():
    """Run; and then once more from its last step, before which everything is replayed."""
    if not TRACE.exists():
        return same("kept", N)
    with Timed() as timed:
        result = DBOS.fork_workflow("same", N).get_result()
    return tell(result, timed)


def crash():
    """Run, or wait for what `launch` has recovered by itself."""
    if "again" not in sys.argv:
        return same("slept", N)
    with Timed() as timed:
        result = DBOS.retrieve_workflow("same").get_result()
    return tell(result, timed)


DBOS.launch()
DBOS.register_queue("fan")
contend(
    chain=lambda: run(chained, "inc", N),
    fan=lambda: run(fanned, N),
    cached=cached,
    real=lambda: run(compared),
    crash=crash,
)
DBOS.destroy()
