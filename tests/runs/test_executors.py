"""One contract for all executors that can run here, and what only some of them can do."""

import os
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

import noria.pipelines as nr
from noria.adapters.executors.processes import Processes
from noria.core.clock import MachineStopwatch
from noria.runs.inprocess import InProcess
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


def only(step, *args):
    @nr.pipeline
    def one():
        return step(*args)

    return one


@pytest.fixture(scope="module")
def processes():
    executor = Processes(MachineStopwatch(), most=2)
    yield executor
    executor.close()


@pytest.fixture(params=["in-process", "processes"])
def runs(request, house):
    if request.param == "in-process":
        return house.runs(executor=InProcess(MachineStopwatch()))
    return house.runs(executor=request.getfixturevalue("processes"))


@pytest.fixture
def apart(house, processes):
    return house.runs(executor=processes)


def test_steps_are_executed_with_their_arguments(runs, ann):
    assert runs.run(ann, only(add, 2, 3)).result == 5


def test_items_of_a_map_are_executed_several_at_a_time(runs, ann):
    assert runs.run(ann, fan, params={"n": 20}).result == [x + 2 for x in range(20)]


def test_frames_and_arrays_come_through(runs, ann):
    run = runs.run(ann, frames, params={"rows": pl.DataFrame({"x": [1.0, 2.0]})})

    assert run.result.equals(pl.DataFrame({"x": [3.0, 6.0]}))


def test_what_a_step_tells_arrives(runs, ann):
    run = runs.run(ann, told, params={"x": 3})

    assert [(m.name, m.value) for m in runs.metrics(ann, run.id)] == [("x", 3.0)]
    assert ("tells", "p", "[3]") in [(p.step, p.name, p.words) for p in runs.params(ann, run.id)]
    assert [part.text for part in runs.logs(ann, run.id)] == ["hello 3\n"]
    assert [(p.done, p.words) for p in runs.progress(ann, run.id)] == [(1.0, "half")]


def test_what_a_step_raises_is_its_failure_with_its_traceback(runs, ann):
    run = runs.run(ann, only(fails, "k"))

    assert run.error == "step 'fails' raised KeyError: 'k'"
    assert isinstance(run.cause, KeyError)
    attempts = runs.attempts(ann, run.id)
    assert [a.state.value for a in attempts] == ["failed", "failed"]
    assert "raise KeyError(x)" in attempts[0].error


def test_an_error_that_cannot_be_sent_says_the_same(runs, ann):
    assert "Own: 1 2" in runs.run(ann, only(fails_oddly)).error


def test_a_value_that_nobody_can_keep_fails_its_step(runs, ann):
    assert "step 'odd' returned what cannot be" in runs.run(ann, only(odd)).error


def test_a_step_that_needs_more_than_there_is_is_refused_in_words(runs, ann):
    run = runs.run(ann, only(greedy))

    assert "step 'greedy' needs what the executor" in run.error
    assert "gpus=1: it has 0; tag 'fast-disk': it has none such" in run.error
    assert runs.attempts(ann, run.id) == ()


def test_a_process_of_its_own_is_one(apart, ann):
    assert apart.run(ann, told, params={"x": 1}).result != os.getpid()


def test_a_step_that_takes_too_long_is_ended(apart, ann):
    begun = time.perf_counter()
    run = apart.run(ann, only(sleeps, 60))

    assert run.error == "step 'sleeps' raised TimeoutError: it took longer than 0.5 s and was ended"
    assert time.perf_counter() - begun < 30
    assert apart.run(ann, only(sleeps, 0)).result == "slept"


def test_a_step_that_takes_too_much_memory_is_ended(apart, ann):
    assert apart.run(ann, only(fills, 10)).result == 10_000_000
    assert apart.run(ann, only(fills, 400)).error == (
        "step 'fills' raised MemoryError: it took more than 300,000,000 bytes and was ended"
    )


def test_a_process_that_dies_fails_its_step_and_no_other(apart, ann):
    assert apart.run(ann, only(dies)).error == "step 'dies' was lost: its process died (exit status 3)"
    assert apart.run(ann, only(add, 1)).result == 2


def test_what_this_process_cannot_do_is_refused_before_it_is_tried(house, ann):
    run = house.runs().run(ann, only(sleeps, 0))

    assert run.error == (
        "step 'sleeps' needs what the executor 'in-process' cannot give: timeout_seconds=0.5: it cannot end a step"
    )
    assert "processes" in run.cause.hint


def test_a_step_that_no_other_process_can_find_is_refused_in_words(apart, ann):
    @nr.step
    def local():
        return 1

    assert "step 'local' is local to a function" in apart.run(ann, only(local)).error


SCRIPT = """
import noria as nr
from noria.settings import Settings

@nr.step
def one(x):
    return x + 1

@nr.pipeline
def whole():
    return one(1)

def main():
    with nr.open("home", settings=Settings(executor="processes")) as home:
        run = home.run(whole)
        print(run.error or run.result)
"""


@pytest.mark.parametrize(("end", "said"), [("if __name__ == '__main__':\n    main()", "2"), ("main()", "__main__")])
def test_a_script_is_executed_by_processes_and_one_without_a_guard_is_told_so(tmp_path, end, said):
    (tmp_path / "script.py").write_text(f"{SCRIPT}\n\n{end}\n")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert said in done.stdout, done.stderr
