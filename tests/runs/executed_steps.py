"""Steps that the executors' tests execute; a module of its own, which is what other machines are sent."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl

import noria.pipelines as nr
from noria.registry.model import Model
from noria.runs.recorder import log_metric, log_param, progress


@nr.step
def add(a, b=1):
    return a + b


@nr.step
def tells(x):
    print(f"hello {x}")
    log_metric("x", x)
    log_param("p", [x])
    progress(1, 2, "half")
    return os.getpid()


@nr.step(retries=1, backoff_seconds=0)
def fails(x):
    raise KeyError(x)


class Own(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


@nr.step
def fails_oddly():
    raise Own(1, 2)


@nr.step
def double(rows, factors):
    return rows.with_columns(x=pl.col("x") * float(factors.sum()))


@nr.step
def odd():
    return object()


@nr.step(timeout_seconds=0.5)
def sleeps(seconds):
    time.sleep(seconds)
    return "slept"


@nr.step(memory_bytes=300_000_000)
def fills(megabytes):
    kept = bytearray(megabytes * 1_000_000)
    kept[::4096] = b"x" * len(kept[::4096])
    time.sleep(5 if megabytes > 300 else 0)
    return len(kept)


@nr.step(memory_bytes=300_000_000)
def fills_at_once():
    return len(b"x" * 3_000_000_000)


@nr.step(cpus=10_000)
def enormous():
    return 1


@nr.step
def dies():
    os._exit(3)


@nr.step(gpus=1, tags=["fast-disk"])
def greedy():
    return 1


@nr.pipeline
def fan(n):
    return add.map(list(range(n)), b=2, concurrency=3)


@nr.pipeline
def told(x):
    return tells(x)


@nr.pipeline
def frames(rows):
    return double(rows, np.array([1.0, 2.0]))


@nr.step
def make(rows):
    return pl.DataFrame({"x": np.arange(rows, dtype=np.int64)})


@nr.step
def total(frames, more):
    return sum(int(frame["x"].sum()) for frame in [*frames, *more.values()])


@nr.step
def waits(file, seconds):
    Path(file).write_text("begun")
    time.sleep(seconds)
    Path(file).write_text("went on")


def beats(file, seconds):
    """Write to a file again and again: whoever can read it sees whether this still runs, on whatever machine."""
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        with Path(file).open("a") as out:
            out.write(".")
        time.sleep(0.05)


@nr.step(timeout_seconds=0.5)
def waits_too_long(file):
    beats(file, 60)


@nr.step(timeout_seconds=0.5)
def starts_what_takes_too_long(file):
    with subprocess.Popen(["sleep", "60"]) as started:
        Path(file).write_text(str(started.pid))


class Named(ConnectionError):
    def __init__(self, *, name):
        super().__init__(f"named {name}")


@nr.step
def waits_long(file):
    beats(file, 600)


@nr.step(retries=2, retry_on=ConnectionError, backoff_seconds=0)
def tried(file, kind):
    with Path(file).open("a") as out:
        out.write("x")
    raise {"right": ConnectionError, "wrong": ValueError, "named": lambda name: Named(name=name)}[kind]("again")


@nr.step
def has_processes():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(abs, [-1, 2])


class Speechless(Exception):
    def __str__(self):
        raise OSError("nothing to say")


@nr.step
def fails_speechless():
    raise Speechless


@nr.step(cpus=2)
def both_cores(file):
    with Path(file).open("a") as out:
        out.write("+")
        out.flush()
        time.sleep(0.05)
        out.write("-")


@nr.pipeline
def large(rows):
    made = make(rows)
    return total([made, make(rows)], {"more": made})


@nr.pipeline
def side_by_side(file, n):
    return both_cores.map([file] * n, concurrency=n)


@nr.step
def exits():
    sys.exit("enough")


@nr.step(tags=["fast-disk"])
def begins(folder):
    """Wait on the first node that it is on, and end at once on any other."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    before = [file.name for file in Path(folder).iterdir()]
    (Path(folder) / node).touch()
    while not before:
        time.sleep(0.05)
    return node


@nr.step(cpus=2, tags=["fast-disk"])
def needs_together():
    return 1


@nr.step(tags=["tape"])
def on_tape():
    return 1


@nr.step(timeout_seconds=0.5)
def holds_the_interpreter():
    return re.match(r"(a+)+$", "a" * 60 + "b")


@nr.step
def runs_for_long(file):
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


@nr.step
def breaks_storage(folder):
    shutil.rmtree(folder)
    Path(folder).touch()


@nr.step
def speaks_twice(file):
    print("before", flush=True)
    while not Path(file).exists():
        time.sleep(0.05)
    print("after")


@nr.step
def size_of(frame):
    return frame.height


@nr.pipeline
def twice_used(rows):
    made = make(rows)
    return [size_of(made), size_of(make(rows + 1)), size_of(made)]


@nr.step(timeout_seconds=30.5, memory_bytes=2_000_000_000, cpus=1.5, gpus=1, tags=["fast-disk"])
def demanding():
    return 1


def slope_only(rows):
    return rows.select("x")


@nr.step
def fit(rows):
    from sklearn.linear_model import LinearRegression

    return Model(LinearRegression().fit(slope_only(rows), rows["y"].to_list()), preprocess=slope_only)


@nr.step
def predict(model, rows):
    return [round(float(score), 6) for score in model.predict(rows)]


@nr.pipeline
def models(rows):
    return predict(fit(rows), rows)


class Refused(Exception):
    """What clients raise: the types below derive from it, and none of them can be pickled, or be made from its arguments."""


class WithLock(Refused):
    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class WithMore(Refused):
    def __init__(self, code, *, where):
        super().__init__(f"{code} at {where}")
        self.where = where


class OfItself(Refused):
    def __str__(self):
        return f"{self.told()} of itself"


class Unwilling(Refused):
    def __reduce__(self):
        raise TypeError("not me")


class Forgetful(Refused):
    def __reduce__(self):
        return (ValueError, ("another",))


class Mute(Refused):
    def __str__(self):
        raise OSError("nothing to say")

    __repr__ = __str__


def refusal(kind):
    if kind == "local":

        class Local(Refused):
            pass

        return Local("local")
    if kind == "of itself":
        error = OfItself("x")
        error.told = lambda: "says"
        return error
    if kind == "caused":
        error = Refused("caused")
        error.__cause__ = WithLock("the cause")
        return error
    made = {
        "lock": lambda: WithLock("lock"),
        "more": lambda: WithMore(503, where="the store"),
        "argument": lambda: Refused("argument", threading.Lock()),
        "unwilling": lambda: Unwilling("unwilling"),
        "forgetful": lambda: Forgetful("forgetful"),
        "mute": lambda: Mute("mute"),
        "large": lambda: Refused("x" * 2_000_000),
        "plain": lambda: Refused("plain"),
    }
    return made[kind]()


@nr.step(retries=1, retry_on=Refused, backoff_seconds=0)
def is_refused(file, kind):
    with Path(file).open("a") as out:
        out.write("x")
    raise refusal(kind)


@nr.step(retries=1, retry_on=ExceptionGroup, backoff_seconds=0)
def groups(file):
    with Path(file).open("a") as out:
        out.write("x")
    raise ExceptionGroup("two", [WithLock("first"), ExceptionGroup("inner", [ValueError("second")])])


@nr.step(retries=1, retry_on=LookupError, backoff_seconds=0)
def ends_with(file, kind):
    with Path(file).open("a") as out:
        out.write("x")
    raise {"exit": SystemExit, "own": type("Own", (BaseException,), {}), "stop": StopIteration}[kind]("enough")


@nr.step
def logs_a_lock():
    log_param("lock", threading.Lock())


class Unread:
    def __reduce__(self):
        return (_only_there, (os.getpid(),))


def _only_there(process):
    if process != os.getpid():
        raise ModuleNotFoundError("no module named 'only_there'")
    return Unread()


@nr.step
def returns_what_only_it_can_read():
    return Unread()


@nr.step(retries=1, backoff_seconds=0)
def pops(fold, params, file):
    rounds = params.pop("rounds", "gone")
    with Path(file).open("a") as out:
        out.write("x")
    if len(Path(file).read_text()) == 1:
        raise ConnectionError("once")
    return [fold.pop(), rounds]


@nr.step
def folds():
    return [[0], [1]]


@nr.pipeline
def popped(params, file):
    return [pops.map(folds(), params=params, file=file), pops.map([[2]], params={"rounds": 3}, file=file)]


@nr.step
def written(text):
    folder = Path(tempfile.mkdtemp())
    (folder / "notes.txt").write_text(text)
    return folder / "notes.txt"


@nr.step
def overwrites(file):
    file.chmod(0o644)
    before = file.read_text()
    file.write_text("other")
    return before


@nr.pipeline
def overwritten(text):
    file = written(text)
    return [overwrites(file), overwrites(file), overwrites.map([file, file], concurrency=2)]
