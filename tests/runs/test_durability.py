"""Laws of durability: one run for one key, no finished step twice, and nothing from who lost the lease."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from datetime import timedelta
from pathlib import Path
from types import FunctionType

import pytest
from tests_runs_house import START, house_on, open_house

import noria.pipelines as nr
from noria.core.clock import SimulatedClock
from noria.core.errors import CodeChanged, Conflict, Invalid, LeaseLost, NotFound, Unavailable
from noria.runs.model import Run, RunState
from noria.store import leases
from noria.store.opening import open_database

calls = deque()  # not a list: what a step's own list holds is part of its code, and these change
failing = deque()


@nr.step
def note(name, after=None):
    calls.append(name)
    if name in failing:
        raise ValueError(name)
    return name


@nr.pipeline
def three(last="c"):
    a = note("a")
    b = note("b", a)
    return note(last, b)


@pytest.fixture(autouse=True)
def forget():
    calls.clear()
    failing.clear()


def test_the_same_key_and_arguments_are_the_same_run(any_house, ann):
    first = any_house.runs().run(ann, three, key="k")
    again = any_house.runs().run(ann, three, params={"last": "c"}, key="k")

    assert again == first
    assert again.result == "c"
    assert list(calls) == ["a", "b", "c"]


def test_the_same_key_with_other_arguments_is_a_conflict(any_house, ann):
    any_house.runs().run(ann, three, key="k")

    with pytest.raises(Conflict, match="other arguments") as caught:
        any_house.runs().run(ann, three, params={"last": "d"}, key="k")

    assert "another key" in caught.value.hint
    assert list(calls) == ["a", "b", "c"]


def test_another_pipeline_of_the_same_name_is_not_the_same_run(any_house, ann):
    def one():
        return note("a")

    def other():
        return note("b")

    other.__name__, other.__module__ = "one", "elsewhere"
    first = any_house.runs().run(ann, nr.pipeline(one), key="k")

    with pytest.raises(Conflict, match="and not of elsewhere:"):
        any_house.runs().run(ann, nr.pipeline(other), key="k")
    one.__module__ = "moved"
    assert any_house.runs().run(ann, nr.pipeline(one), key="k") == first


def test_a_key_that_cannot_be_stored_is_refused(runs, ann):
    with pytest.raises(Invalid, match="a key of 0 characters"):
        runs.run(ann, three, key="")


def test_keys_belong_to_their_project(runs, house, ann):
    from dataclasses import replace

    other = replace(ann, project="other")
    house.access.found(other)

    assert runs.run(ann, three, key="k").id != runs.run(other, three, key="k").id


def test_a_failed_run_is_returned_as_it_is_and_only_resume_reopens_it(any_house, ann):
    failing.append("b")
    runs = any_house.runs()
    failed = runs.run(ann, three, key="k")
    assert runs.run(ann, three, key="k").error == failed.error == "step 'note#2' raised ValueError: b"
    assert list(calls) == ["a", "b"]

    failing.clear()
    resumed = runs.resume(ann, failed.id)

    assert (resumed.id, resumed.state, resumed.result) == (failed.id, "succeeded", "c")
    assert list(calls) == ["a", "b", "b", "c"]
    assert [(a.step, a.attempt, a.state.value) for a in runs.attempts(ann, failed.id)] == [
        ("note", 1, "succeeded"),
        ("note#2", 1, "failed"),
        ("note#2", 2, "succeeded"),
        ("note#3", 1, "succeeded"),
    ]
    assert [kind for kind, _ in any_house.facts()] == ["run.failed", "run.resumed", "run.succeeded"]
    assert runs.resume(ann, failed.id) == resumed


@pytest.fixture
def exits_when_terminated():
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("ends", "how"), [(KeyboardInterrupt, signal.SIGINT), (SystemExit, signal.SIGTERM)])
def test_an_interrupted_run_goes_on_where_it_was(any_house, ann, exits_when_terminated, ends, how):
    @nr.step
    def stops(a):
        calls.append("stops")
        if calls.count("stops") == 1:
            signal.raise_signal(how)
        return a

    @nr.pipeline
    def whole():
        return stops(note("a"))

    runs = any_house.runs()
    with pytest.raises(ends):
        runs.run(ann, whole, key="k")
    assert runs.list(ann)[0].state == "interrupted"

    run = any_house.runs(holder="another process").run(ann, whole, key="k")

    assert run.result == "a"
    assert list(calls) == ["a", "stops", "stops"]


def edited(step, number):
    """The step's function with another constant in it, as if its file had been edited and loaded anew."""
    old = step.function
    code = old.__code__.replace(co_consts=(*old.__code__.co_consts, number))
    step.function = FunctionType(code, old.__globals__, old.__name__, old.__defaults__)
    step.function.__module__ = old.__module__


def test_finished_steps_of_other_code_are_reused_only_when_told_to(house, ann):
    @nr.step
    def first():
        return 1

    @nr.pipeline
    def whole():
        return note("b", first())

    failing.append("b")
    runs = house.runs()
    failed = runs.run(ann, whole)
    failing.clear()
    edited(first, 7)

    with pytest.raises(CodeChanged, match=r"step 'first' finished in run run_.* with other code") as caught:
        runs.resume(ann, failed.id)
    assert "allow_changed_code=True" in caught.value.hint

    assert runs.resume(ann, failed.id, allow_changed_code=True).result == "b"
    assert sum(a.step == "first" for a in runs.attempts(ann, failed.id)) == 1


def test_a_run_whose_code_changed_can_still_be_gone_on_with_later(house, ann):
    @nr.step
    def first():
        return 1

    @nr.pipeline
    def whole():
        return note("b", first())

    failing.append("b")
    runs = house.runs()
    failed = runs.run(ann, whole)
    failing.clear()
    kept = first.function
    edited(first, 7)
    with pytest.raises(CodeChanged):
        runs.resume(ann, failed.id)

    first.function = kept

    assert runs.resume(ann, failed.id).result == "b"


def test_a_pipeline_cannot_hide_that_its_engine_stopped(house, ann):
    @nr.step
    def first():
        return 1

    @nr.pipeline
    def hides():
        try:
            return nr.value(note("b", nr.value(first())))
        except Exception:
            return note("hidden")

    failing.append("b")
    failing.append("hidden")
    runs = house.runs()
    failed = runs.run(ann, hides)
    failing.clear()
    edited(first, 7)

    with pytest.raises(CodeChanged):
        runs.resume(ann, failed.id)

    assert list(calls) == ["b", "hidden"]


class Rows:
    digest = "d"

    def load(self):
        return "rows"


@nr.pipeline
def with_rows(rows):
    return note("b", rows)


def test_an_input_is_given_again_to_a_run_that_is_resumed(house, ann):
    failing.append("b")
    runs = house.runs()
    failed = runs.run(ann, with_rows, params={"rows": Rows()})
    failing.clear()

    again = runs.resume(ann, failed.id)
    assert again.error.startswith("step 'note' cannot be given its arguments: the value with the digest d")
    other = Rows()
    other.digest = "e"
    with pytest.raises(Conflict, match="was given other arguments"):
        runs.resume(ann, failed.id, params={"rows": other})

    assert runs.resume(ann, failed.id, params={"rows": Rows()}).result == "b"


def test_a_run_that_is_not_there_cannot_be_resumed(runs, ann):
    with pytest.raises(NotFound, match="no run named"):
        runs.resume(ann, "run_x")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_holder_that_lost_its_lease_commits_nothing(blobs, ids, ann, tmp_path, kind, request):
    lease_clock = SimulatedClock(START)
    address = (
        f"sqlite:///{tmp_path / 'noria.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql_address")
    )
    database = open_database(address, lease_clock=lease_clock)
    house = house_on(database, blobs, lease_clock, ids, ann, tmp_path)
    others = deque()

    @nr.step
    def slow(a):
        calls.append("slow")
        if calls.count("slow") == 1:  # frozen for longer than its lease; another process takes the run over meanwhile
            lease_clock.advance_to(START + timedelta(minutes=1))
            others.append(house.runs(holder="other").run(ann, whole, key="k"))
            return "late"
        return "in time"

    @nr.pipeline
    def whole():
        return slow(note("a"))

    with pytest.raises(LeaseLost):
        house.runs().run(ann, whole, key="k")

    (other,) = others
    assert other.result == "in time"
    assert house.runs().get(ann, other.id).result == "in time"
    assert list(calls) == ["a", "slow", "slow"]
    assert [a.step for a in house.runs().attempts(ann, other.id)] == ["note", "slow"]
    assert [kind for kind, _ in house.facts()] == ["run.succeeded"]
    database.close()


def test_threads_that_say_the_same_key_get_the_same_run_and_each_step_runs_once(any_house, ann):
    @nr.step
    def slow(x):
        calls.append(x)
        time.sleep(0.05)
        return x

    @nr.pipeline
    def whole():
        return [slow(i) for i in range(4)]

    runs, results = any_house.runs(sleep=time.sleep), []
    threads = [threading.Thread(target=lambda: results.append(runs.run(ann, whole, key="k"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({run.id for run in results}) == 1
    assert [run.result for run in results] == [[0, 1, 2, 3]] * 4
    assert sorted(calls) == [0, 1, 2, 3]


@nr.step
def thick():
    calls.append("thick")
    return "x" * 10_000


@nr.step
def length(text):
    calls.append("length")
    return len(text)


@nr.pipeline
def thick_and_length():
    return length(thick())


@pytest.mark.parametrize("verb", ["put", "payload"])
def test_a_storage_that_does_not_answer_for_a_while_is_waited_for_and_no_step_is_done_again(
    house, ann, monkeypatch, caplog, verb
):
    first = house.runs().run(ann, thick_and_length)
    calls.clear()
    whole, away = getattr(house.blobs, verb), [Unavailable("away", hint="later")] * 3

    def answer(what):
        if away:
            raise away.pop()
        return whole(what)

    monkeypatch.setattr(house.blobs, verb, answer)
    again = house.runs().rerun(ann, first.id, from_step="thick" if verb == "put" else "length")

    assert (again.state, again.result, away) == (RunState.SUCCEEDED, 10_000, [])
    assert list(calls) == ["thick" if verb == "put" else "length"]
    assert [record.message for record in caplog.records] == ["away; it is waited for, up to 300 seconds"]


def test_a_run_that_is_asked_for_while_the_database_does_not_answer_waits_to_begin(house, ann, monkeypatch):
    whole, away = house.database.read, [Unavailable("away", hint="later")] * 3

    def read(query):
        if away:
            raise away.pop()
        return whole(query)

    monkeypatch.setattr(house.database, "read", read)

    assert house.runs().run(ann, three).result == "c"
    assert away == []


def test_an_end_whose_answer_is_lost_is_found_again_though_others_have_looked_at_the_run_since(
    any_house, ann, monkeypatch
):
    database, lost, looked = any_house.database, [], {"name": "", "holder": "b", "seconds": 30}
    whole = database.write

    def write(work, **options):
        done = whole(work, **options)
        if isinstance(done, Run) and not done.state.is_open and not lost:
            lost.append(done)
            look = looked | {"name": f"run/{done.id}"}
            lease = whole(lambda c: leases.acquire(c, database.lease_time(c), **look))
            whole(lambda c: leases.release(c, lease))
            raise Unavailable("the answer was lost", hint="ask again")
        return done

    monkeypatch.setattr(database, "write", write)
    run = any_house.runs().run(ann, three)

    assert len(lost) == 1
    assert (run.state, run.result, list(calls)) == (RunState.SUCCEEDED, "c", ["a", "b", "c"])
    assert [kind for kind, _ in any_house.facts()] == ["run.succeeded"]


def test_what_a_run_is_given_is_kept_when_the_storage_answers_again(house, ann, monkeypatch):
    whole, away = house.blobs.put, [Unavailable("away", hint="later")] * 2

    def put(payload):
        if away:
            raise away.pop()
        return whole(payload)

    @nr.pipeline
    def measured(text):
        return length(text)

    monkeypatch.setattr(house.blobs, "put", put)

    assert house.runs().run(ann, measured, params={"text": "x" * 10_000}).result == 10_000
    assert away == []


def test_a_storage_that_is_away_for_long_ends_nothing_and_the_run_goes_on_later(house, ann, watch, monkeypatch):
    def away(_):
        raise Unavailable("the storage is away", hint="later")

    with monkeypatch.context() as patch:
        patch.setattr(house.blobs, "put", away)
        with pytest.raises(Unavailable, match="the storage is away"):
            house.runs(stopwatch=watch).run(ann, thick_and_length, key="k")
    (run,) = house.runs().list(ann)
    assert run.state is RunState.INTERRUPTED

    assert house.runs().run(ann, thick_and_length, key="k").result == 10_000


def test_a_long_step_keeps_its_lease(house, ann):
    @nr.step
    def long():
        house.wait_for_renewals()
        return 1

    @nr.pipeline
    def whole():
        return long()

    assert house.runs(lease_seconds=3.0).run(ann, whole).result == 1


PROGRAM = """
import os, sys, time
from pathlib import Path
import noria.pipelines as nr
from tests_runs_house import open_house, ANN

@nr.step
def work(i):
    with open("calls", "a") as calls:
        calls.write(f"{i}\\n")
    if i == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    time.sleep(float(sys.argv[2]))
    return i

@nr.pipeline
def chain():
    return [work(i) for i in range(6)]

if __name__ == "__main__":
    run = open_house(Path()).runs(sleep=time.sleep).run(ANN, chain, key="once")
    print(run.id, run.state.value, run.result)
"""


@pytest.fixture
def folder(tmp_path):
    open_house(tmp_path).database.close()
    return tmp_path


def program(folder, *, killed_at=-1, seconds=0.0):
    (folder / "program.py").write_text(PROGRAM)
    paths = [str(Path(__file__).parent), *sys.path]
    return subprocess.Popen(
        [sys.executable, "program.py", str(killed_at), str(seconds)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )


def calls_of(folder):
    return [int(line) for line in (folder / "calls").read_text().split()]


def test_a_run_killed_in_the_middle_is_finished_by_the_next_process_and_no_finished_step_runs_again(folder):
    killed = program(folder, killed_at=3)
    killed.communicate()
    assert killed.returncode == -9

    second = program(folder)
    told, _ = second.communicate()

    assert told.split(maxsplit=2)[1:] == ["succeeded", "[0, 1, 2, 3, 4, 5]\n"]
    assert calls_of(folder) == [0, 1, 2, 3, 3, 4, 5]


def test_two_processes_that_say_the_same_get_the_same_run(folder):
    both = [program(folder, seconds=0.1) for _ in range(2)]
    told = {process.communicate()[0] for process in both}

    assert len(told) == 1
    assert "succeeded [0, 1, 2, 3, 4, 5]" in told.pop()
    assert calls_of(folder) == [0, 1, 2, 3, 4, 5]


def test_a_process_waits_for_a_living_one_and_takes_over_when_it_dies(folder):
    first = program(folder, killed_at=3, seconds=0.2)
    while not (folder / "calls").exists():
        time.sleep(0.01)
    second = program(folder, seconds=0.0)
    told, _ = second.communicate()

    first.communicate()
    assert first.returncode == -9
    assert "succeeded [0, 1, 2, 3, 4, 5]" in told
    assert calls_of(folder) == [0, 1, 2, 3, 3, 4, 5]
