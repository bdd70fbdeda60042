"""Plain Python: the work without an engine."""

import work
from contest import N, Timed, contend, tell


def inc(x):
    return x + 1


def chain():
    with Timed() as timed:
        x = 0
        for _ in range(N):
            x = inc(x)
    tell(x, timed)


def fan():
    with Timed() as timed:
        total = sum([inc(x) for x in range(N)])
    tell(total, timed)


def real():
    with Timed() as timed:
        parts = {name: work.split(work.load(name)) for name in work.SETS}
        scores = [work.evaluate(work.train(parts[name], kind), parts[name]) for name, kind in work.pairs()]
        found = work.best(scores)
    tell(found, timed)


contend(chain=chain, fan=fan, real=real)
