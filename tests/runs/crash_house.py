"""A program that meets a fault when told: `python crash_house.py ADDRESS FOLDER KEY [COMMIT kill|cut before|after]`.

It runs one mixed pipeline (a chain, a map, retries, cached steps, a branch, a nested pipeline, a program that waits for
a value) under a key, and prints its result. With a number it kills itself with SIGKILL just before or just after that
commit, and never gets to tell anybody; or it loses the connection to PostgreSQL there, before the commit was sent, or
when it was sent and its answer is still to come.
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


class Faults:
    """Counts a database's commits, and lets one of them meet a fault."""

    def __init__(self, database, wanted=0, kind="", when=""):
        self.count = 0
        self.wanted = wanted
        self.fault = {"kill": self.kill, "cut": self.cut}.get(kind)
        self.when = when
        self.write, self.put = database.write, database.put
        database.write, database.put = self.writes, self.puts

    def is_now(self):
        self.count += 1
        return self.count == self.wanted

    def writes(self, work, **options):
        if not self.is_now():
            return self.write(work, **options)

        def meets_it(connection):
            answer = work(connection)
            if self.when == "before":
                self.fault(connection)
            elif self.fault == self.cut:
                connection.connection.driver_connection.pgconn.send_query(b"COMMIT")
                connection.connection.driver_connection.pgconn.flush()
                self.fault(connection)
            return answer

        answer = self.write(meets_it, **options)
        self.fault(None)
        return answer

    def puts(self, insert, lease, row):
        if not self.is_now():
            return self.put(insert, lease, row)
        faults = self

        class MeetsIt:
            def put_alone(self, connection, *told):
                if faults.when == "after":
                    insert.put_alone(connection, *told)
                faults.fault(connection)
                return insert.put_alone(connection, *told)  # on a connection that is gone

        return self.put(MeetsIt(), lease, row)

    @staticmethod
    def kill(_):
        os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def cut(connection):
        connection.connection.driver_connection.pgconn.finish()


def main():
    address, folder, key, *how = sys.argv[1:]
    clock = RealClock()
    with closing(open_database(address)) as database:
        blobs = open_blobs(str(Path(folder) / "blobs"))
        house = house_on(database, blobs, clock, TimedIds(clock), ANN, Path(folder))
        faults = Faults(database, *((int(how[0]), *how[1:]) if how else ()))
        run = house.runs(sleep=time.sleep, lease_seconds=30.0).run(ANN, mixed, params={"n": 4}, key=key)
        print(run.id, run.state.value, run.result == EXPECTED, faults.count, flush=True)


if __name__ == "__main__":
    main()
