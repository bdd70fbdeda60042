"""A chain of 200 steps, each result committed before the next step starts, beside one SQLite commit per step."""

import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import noria as nr

STEPS, RUNS = 200, 5


@nr.step
def inc(x: int) -> int:
    return x + 1


@nr.pipeline
def chain(n: int = STEPS):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def with_noria(folder):
    with nr.open(folder) as home:
        home.run(chain, params={"n": 3})
        return timed(lambda: home.run(chain, params={"n": STEPS}).result)


def with_sqlite(folder, synchronous):
    base = sqlite3.connect(folder / f"{synchronous}.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute(f"PRAGMA synchronous={synchronous}")
    base.execute("CREATE TABLE steps (number INTEGER PRIMARY KEY, result TEXT)")

    def work():
        for number in range(STEPS):
            base.execute("BEGIN IMMEDIATE")
            base.execute("INSERT INTO steps VALUES (?, ?)", (number, str(number)))
            base.execute("COMMIT")

    figures = timed(work)
    base.close()
    return figures


def main():
    rows = {"noria": [], "one SQLite commit a step, NORMAL": [], "one SQLite commit a step, FULL": []}
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            rows["noria"].append(with_noria(folder))
            rows["one SQLite commit a step, NORMAL"].append(with_sqlite(Path(folder), "NORMAL"))
            rows["one SQLite commit a step, FULL"].append(with_sqlite(Path(folder), "FULL"))
    print(f"a chain of {STEPS} steps, median of {RUNS} (ms a step)")
    for name, figures in rows.items():
        wall, cpu = (statistics.median(figure[place] for figure in figures) / STEPS * 1000 for place in (0, 1))
        print(f"  {name:<34} wall {wall:7.3f}  CPU {cpu:7.3f}")


if __name__ == "__main__":
    main()
