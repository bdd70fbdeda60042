"""What every contestant imports: its home, the size of the work, and how it says what came out and how long it took."""

import json
import os
import sys
import time
from pathlib import Path

N = int(os.environ["BENCH_N"])
HOME = Path(os.environ["BENCH_HOME"])
TRACE = HOME / "trace"


class Timed:
    """The wall and CPU seconds that this process spends on the engine's call alone."""

    def __enter__(self):
        self.begun = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_problem):
        self.wall = time.perf_counter() - self.begun[0]
        self.cpu = time.process_time() - self.begun[1]


def traced(x):
    """Leave a line that says that a step was executed."""
    with TRACE.open("a") as file:
        file.write(f"{x}\n")
    return x + 1


def slow(x):
    """Be a step of a fifth of a second, in the middle of which one can die."""
    traced(x)
    time.sleep(0.2)
    return x + 1


def tell(result, timed):
    """Say what came out, as the last line."""
    print(json.dumps({"result": result, "wall": timed.wall, "cpu": timed.cpu}), flush=True)


def contend(**workloads):
    """Do the workload that the command line names."""
    workloads[sys.argv[1]]()
