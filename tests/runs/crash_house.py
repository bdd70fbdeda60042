"""A program that dies when told: `python crash_house.py ADDRESS FOLDER KEY [COMMIT before|after]`.

It runs one mixed pipeline (a chain, a map, retries, cached steps, a branch, a nested pipeline, a program that waits for
a value) under a key, and prints its result. With a number it kills itself with SIGKILL just before or just after that
commit; it then never got to tell anybody.
"""

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

from tests_runs_house import ANN, house_on

import noria.pipelines as nr
from noria.core.clock import RealClock
from noria.core.ids import TimedIds
from noria.runs.recorder import log_metric, log_param
from noria.store.blobs import open_blobs
from noria.store.opening import open_database

FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()


def called(name):
    """Note a call outside the database, so that even one that was cut short is known."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{name}\n")


@nr.step
def inc(x):
    called("inc")
    return x + 1


@nr.step
def square(x, plus=0):
    called(f"square {x}")
    log_metric("x", x)
    return x * x + plus


@nr.step(retries=2, backoff_seconds=0)
def flaky(x):
    called("flaky")
    marker = FOLDER / "flaky has failed"
    if not marker.exists():
        marker.touch()
        raise ConnectionError("once")
    log_param("tried", x)
    return x


@nr.step(cache=True)
def costly(x):
    called("costly")
    return list(range(x))


@nr.step
def total(numbers):
    called("total")
    return sum(numbers)


@nr.pipeline
def nested(x):
    return inc(inc(x))


@nr.pipeline
def mixed(n):
    x = inc(inc(0))
    squares = square.map(costly(n), plus=x)
    found = nr.branch(flaky(x), lambda: total(squares), lambda: inc(100))
    if nr.value(found) > 3:
        x = nested(x)
    return {"found": found, "x": x, "again": costly(n)}


EXPECTED = {"found": 0 + 1 + 4 + 9 + 4 * 2, "x": 4, "again": [0, 1, 2, 3]}


def die_at(database, wanted, when):
    """Arrange for SIGKILL around a commit; return how many there have been so far, as a list of one."""
    written, count = database.write, [0]

    def write(work, **options):
        count[0] += 1
        if count[0] == wanted and when == "before":
            written_too = {"done": False}

            def dies(connection):
                work(connection)
                written_too["done"] = True
                os.kill(os.getpid(), signal.SIGKILL)

            return written(dies, **options)
        answer = written(work, **options)
        if count[0] == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    database.write = write
    return count


def main():
    address, folder, key, *how = sys.argv[1:]
    clock = RealClock()
    with closing(open_database(address)) as database:
        blobs = open_blobs(str(Path(folder) / "blobs"))
        house = house_on(database, blobs, clock, TimedIds(clock), ANN, Path(folder))
        count = die_at(database, *((int(how[0]), how[1]) if how else (0, "never")))
        run = house.runs(sleep=time.sleep, lease_seconds=30.0).run(ANN, mixed, params={"n": 4}, key=key)
        print(run.id, run.state.value, run.result == EXPECTED, count[0], flush=True)


if __name__ == "__main__":
    main()
