"""A worker that knows nothing of restarts: `python restart_house.py ADDRESS FOLDER NAME RUNS STEPS`.

It runs pipelines under keys that other workers use too, in an order of its own, and prints each run that it saw end.
Each step notes what it was handed: that was acknowledged by the database, for a step starts only after the one before
it was committed.
"""

import os
import random
import sys
import time
from contextlib import closing
from pathlib import Path

from tests_runs_house import ANN, house_on

import noria.pipelines as nr
from noria.core.clock import RealClock
from noria.core.errors import LeaseLost
from noria.core.ids import TimedIds
from noria.runs.recorder import log_metric
from noria.store.blobs import open_blobs
from noria.store.opening import open_database

FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()


@nr.step
def mark(key, place, before):
    if place % 3 == 0:
        log_metric("place", place)  # so that its commit has more than one statement
    result = os.urandom(8).hex()
    with (FOLDER / f"handed {sys.argv[3]}").open("a") as handed:
        handed.write(f"{key} {place} {before} {result}\n")
    return result


@nr.pipeline
def marks(key, steps):
    last = "nothing"
    for place in range(steps):
        last = mark(key, place, last)
    return last


def finish(runs, key, steps):
    """Run until the run has ended, as a worker does: what another one has taken over is waited for."""
    while True:
        try:
            return runs.run(ANN, marks, params={"key": key, "steps": steps}, key=key)
        except LeaseLost:
            continue


def main():
    address, folder, name, count, steps = sys.argv[1:]
    clock = RealClock()
    keys = [f"run-{number}" for number in range(int(count))]
    random.Random(int(name)).shuffle(keys)
    with closing(open_database(address)) as database:
        house = house_on(database, open_blobs(f"{folder}/blobs"), clock, TimedIds(clock), ANN, Path(folder))
        runs = house.runs(sleep=time.sleep, lease_seconds=5.0)
        (Path(folder) / f"ready {name}").touch()
        for key in keys:
            run = finish(runs, key, int(steps))
            print(key, run.state.value, run.result, flush=True)


if __name__ == "__main__":
    main()
