"""Laws of what threads and processes of a step say: it is kept with the step, or with the run where nobody can tell."""

import asyncio
import ctypes
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import pytest

import noria.pipelines as nr
from noria.runs import output
from noria.runs.recorder import Recorder, log_metric

log = logging.getLogger("mine")
POOL = ThreadPoolExecutor(1)


def says(who):
    print(f"{who} prints")
    log.warning("%s logs", who)
    log_metric("told", 1.0)


class Own(threading.Thread):
    def run(self):
        says("subclass")


async def awaits():
    await asyncio.to_thread(says, "to_thread")
    await asyncio.get_running_loop().run_in_executor(None, says, "run_in_executor")


@nr.step
def with_threads():
    for thread in (threading.Thread(target=says, args=("thread",)), Own(), threading.Timer(0, says, ["timer"])):
        thread.start()
        thread.join()
    POOL.submit(says, "older pool").result()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: pool_of_a_pool()).result()
    with ThreadPool(1) as pool:
        pool.map(says, ["multiprocessing"])
    asyncio.run(awaits())
    return 1


def pool_of_a_pool():
    with ThreadPoolExecutor(1) as inner:
        inner.submit(says, "nested pool").result()


@nr.step
def with_processes():
    print("first")
    subprocess.run([sys.executable, "-c", "print('a command')"], check=True)
    os.system("echo a shell >&2")
    os.write(1, b"a descriptor\n")
    ctypes.CDLL(None).puts(b"a library")
    print("last")
    return 1


@nr.pipeline
def threads():
    return with_threads()


@nr.pipeline
def processes():
    os.system("echo the pipeline itself")
    return with_processes()


def words(runs, ann, run, step=None):
    return "".join(part.text for part in runs.logs(ann, run.id, step=step))


@pytest.fixture
def warmed():
    POOL.submit(int).result()


WHO = ["thread", "subclass", "timer", "older pool", "nested pool", "multiprocessing", "to_thread", "run_in_executor"]


def test_threads_say_and_tell_for_the_step_that_starts_them(house, ann, warmed):
    runs = house.runs()
    run = runs.run(ann, threads)

    assert words(runs, ann, run, "with_threads") == "".join(f"{w} prints\nWARNING mine: {w} logs\n" for w in WHO)
    assert [(m.step, m.name, m.position) for m in runs.metrics(ann, run.id)] == [
        ("with_threads", "told", position) for position in range(len(WHO))
    ]


def test_threads_are_started_as_before_once_no_run_is_executed(house, ann):
    before = threading.Thread.start, ThreadPoolExecutor.submit
    house.runs().run(ann, threads)

    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before


def test_what_processes_and_libraries_write_is_kept_in_its_place_and_passed_on(house, ann, capfd):
    runs = house.runs()
    run = runs.run(ann, processes)

    kept = words(runs, ann, run, "with_processes").splitlines()
    assert kept[:2] == ["first", "a command"]
    assert kept[-1] == "last"
    assert sorted(kept[2:-1]) == ["a descriptor", "a library", "a shell"]
    shown = capfd.readouterr()
    assert shown.out.splitlines()[0] == "the pipeline itself"  # which is no step
    assert {"a command", "a descriptor", "a library"} <= set(shown.out.splitlines())
    assert "a shell" in shown.err.splitlines()


FORKS = """
import multiprocessing, sys, tempfile
import noria as nr

@nr.step
def forks() -> int:
    print("before")
    for how in ("fork", "spawn"):
        child = multiprocessing.get_context(how).Process(target=print, args=("a child by", how), kwargs={"flush": True})
        child.start()
        child.join()
    return 1

@nr.pipeline
def forking():
    return forks()

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, nr.open(folder) as home:
        run = home.run(forking)
        sys.stderr.write("".join(part.text for part in home.runs.logs(home.context, run.id)))
"""


def test_what_processes_of_multiprocessing_print_is_kept_and_passed_on(tmp_path):
    (tmp_path / "forks_of_output.py").write_text(FORKS)
    done = subprocess.run(
        [sys.executable, "forks_of_output.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stderr == done.stdout == "before\na child by fork\na child by spawn\n"


@nr.step
def meets(name):
    barrier.wait()
    os.system(f"echo of {name}")
    print("mine", name)
    barrier.wait()
    return name


barrier = threading.Barrier(2)


@nr.pipeline
def together():
    return meets.map(["a", "b"], concurrency=2)


def test_of_several_steps_at_a_time_the_run_keeps_what_a_process_writes_and_says_so(house, ann):
    runs = house.runs()
    run = runs.run(ann, together)

    of_run = words(runs, ann, run, "/")
    assert "while meets[0], meets[1] ran]\n" in of_run or "while meets[1], meets[0] ran]\n" in of_run
    assert {"of a", "of b"} <= set(of_run.splitlines())
    assert words(runs, ann, run, "meets[0]") == "mine a\n"
    assert words(runs, ann, run, "meets[1]") == "mine b\n"


@nr.step
def leaves_a_thread():
    leaves.append(threading.Thread(target=speaks_late))
    leaves[-1].start()
    return 1


leaves, over = [], threading.Event()


def speaks_late():
    over.wait()
    log_metric("late", 1.0)
    print("late words")


@nr.step
def waits_for_it(_before):
    over.set()
    leaves.pop().join()
    return 1


@nr.pipeline
def outlives():
    return waits_for_it(leaves_a_thread())


def test_a_thread_that_outlives_its_step_is_neither_lost_in_silence_nor_breaks_anything(house, ann, caplog):
    runs = house.runs()
    run = runs.run(ann, outlives)
    time.sleep(0)

    assert run.result == 1
    assert runs.metrics(ann, run.id) == ()
    assert "metric 'late' of step 'leaves_a_thread' is not kept" in caplog.text


@nr.step
def counts():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: log_metric("many", 1.0), range(400)))
    return 1


@nr.pipeline
def count():
    return counts()


def test_no_metric_of_many_threads_is_lost(house, ann):
    runs = house.runs()
    run = runs.run(ann, count)

    assert [metric.position for metric in runs.metrics(ann, run.id)] == list(range(400))


def test_much_that_is_written_keeps_no_memory_and_stops_nobody():
    told = Recorder(run="run", step="step")
    output.begin_capture([])
    try:
        output.begin(told)
        for _ in range(40):
            os.write(1, b"x" * 1_000_000)  # nobody in this process reads meanwhile: a pipe would be full
        output.end(told)
    finally:
        output.end_capture()

    assert told.log.take().startswith("xxx")
