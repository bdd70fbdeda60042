"""Noria on SQLite; NORIA_SYNC_STEPS=true syncs each step before the next one."""

import work
from contest import HOME, N, Timed, contend, slow, tell, traced

import noria as nr


@nr.step
def inc(x: int) -> int:
    return x + 1


@nr.step(cache=True)
def kept(x: int) -> int:
    return traced(x)


@nr.step
def slept(x: int) -> int:
    return slow(x)


@nr.step
def total(values: list[int]) -> int:
    return sum(values)


def chained(step):
    @nr.pipeline
    def chain(n: int):
        x = 0
        for _ in range(n):
            x = step(x)
        return x

    return chain


@nr.pipeline
def fanned(n: int):
    return total(inc.map(list(range(n))))


load, split, train, evaluate, best = map(nr.step, (work.load, work.split, work.train, work.evaluate, work.best))


@nr.pipeline
def compared():
    parts = {name: split(load(name)) for name in work.SETS}
    return best([evaluate(train(parts[name], kind), parts[name]) for name, kind in work.pairs()])


def run(pipeline, params=None, key=None):
    with nr.open(HOME / "noria") as home, Timed() as timed:
        result = home.run(pipeline, params=params, key=key).result
    tell(result, timed)


if __name__ == "__main__":
    contend(
        chain=lambda: run(chained(inc), {"n": N}),
        fan=lambda: run(fanned, {"n": N}),
        cached=lambda: run(chained(kept), {"n": N}),
        real=lambda: run(compared),
        crash=lambda: run(chained(slept), {"n": N}, key="chain"),
    )
