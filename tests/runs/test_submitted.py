"""Laws of runs that wait for a worker: the highest priority first, then the oldest; none is lost, none runs twice."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

import noria.pipelines as nr
from noria.core.clock import MachineStopwatch
from noria.core.errors import BadPipeline, Conflict, LeaseLost, NotFound, Unavailable
from noria.pipelines.model import Needs
from noria.runs import rules
from noria.runs.inprocess import InProcess
from noria.runs.waiting import next_waiting
from noria.store import leases

calls = deque()  # what a step's own list holds is part of its code
begun = deque()


@nr.step
def note(x):
    calls.append(x)
    return x


@nr.pipeline
def noting(x):
    return note(x)


@nr.step
def fail(x):
    raise ValueError(x)


@nr.pipeline
def failing(x):
    return fail(x)


@nr.step(gpus=1, tags=["fast-disk"])
def on_gpu(x):
    return x


@nr.step(cpus=4)
def on_cores(x):
    return x


def inner(x):
    return on_cores(x)


@nr.pipeline
def choosing(x):
    return nr.branch(note(x), lambda: on_gpu(x), lambda: inner(x))


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()
    begun.clear()


def finish_all(runs, ann):
    ended = []
    while (run := runs.run_next(ann)) is not None:
        ended.append(run)
    return ended


def test_submitted_runs_are_executed_by_priority_and_then_by_age(any_house, ann):
    runs = any_house.runs()
    for x, priority in ((1, 0), (2, 5), (3, 0), (4, 5), (5, -1)):
        waiting = runs.submit(ann, noting, params={"x": x}, priority=priority)
        assert (waiting.state, waiting.priority) == ("queued", priority)
        any_house.clock.advance_to(any_house.clock.now() + timedelta(seconds=1))

    ended = finish_all(any_house.runs(), ann)

    assert list(calls) == [2, 4, 1, 3, 5]
    assert [run.result for run in ended] == list(calls)
    assert runs.run_next(ann) is None


def test_a_key_is_one_run_however_it_was_asked_for(house, ann):
    runs = house.runs()
    waiting = runs.submit(ann, noting, params={"x": 1}, key="k")

    assert runs.submit(ann, noting, params={"x": 1}, key="k").id == waiting.id
    with pytest.raises(Conflict, match="other arguments"):
        runs.submit(ann, noting, params={"x": 2}, key="k")
    with pytest.raises(Conflict, match="still queued"):
        waiting.result  # noqa: B018 - reading it is what is refused
    assert runs.run(ann, noting, params={"x": 1}, key="k").result == 1
    assert runs.run_next(ann) is None


def test_a_run_that_waits_is_cancelled_at_once(any_house, ann):
    runs = any_house.runs()
    waiting = runs.submit(ann, noting, params={"x": 1})

    assert runs.cancel(ann, waiting.id).state == "cancelled"
    assert runs.run_next(ann) is None


def test_a_submitted_run_whose_worker_was_lost_is_the_next_ones(any_house, ann):
    any_house.runs().submit(ann, noting, params={"x": 1})
    lost = any_house.runs(holder=f"lost on {any_house.database.engine.dialect.name}")
    assert lost._claims.next(ann) is not None
    assert any_house.runs(holder="early").run_next(ann) is None

    with any_house.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = '2000-01-01 00:00:00+00:00'")
    run = any_house.runs(holder="next").run_next(ann)

    assert run is not None
    assert (run.state, list(calls)) == ("succeeded", [1])


def test_what_a_killed_process_had_sent_is_fenced_from_the_one_that_goes_on(any_house, ann):
    runs = any_house.runs(holder="a")
    runs.submit(ann, noting, params={"x": 1})
    claimed = runs.queue.claim(ann)

    again = runs.queue.again(ann, claimed)

    now = any_house.database.lease_time
    with pytest.raises(LeaseLost):
        any_house.database.write(lambda c: leases.check(c, claimed.lease, now(c)))
    any_house.database.write(lambda c: leases.check(c, again.lease, now(c)))
    assert runs.perform(ann, again, is_pinned=True).state == "succeeded"
    assert runs.queue.again(ann, again) is None, "it has ended"


def test_a_killed_process_s_run_that_somebody_else_has_taken_is_left_to_them(any_house, ann):
    one, other = any_house.runs(holder="a"), any_house.runs(holder="b")
    one.submit(ann, noting, params={"x": 1})
    claimed = one.queue.claim(ann)
    one.queue.end(claimed)  # two workers do not share a process
    with any_house.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = '2000-01-01 00:00:00+00:00'")
    taken = other.queue.claim(ann)

    assert one.queue.again(ann, claimed) is None

    any_house.database.write(lambda c: leases.check(c, taken.lease, any_house.database.lease_time(c)))
    other.queue.end(taken)


def test_of_workers_that_ask_at_once_each_gets_runs_of_its_own_and_none_starves(any_house, ann, caplog):
    for x in range(48):
        any_house.runs().submit(ann, noting, params={"x": x})
    with ThreadPoolExecutor(8) as workers:
        ended = list(workers.map(lambda name: finish_all(any_house.runs(holder=name), ann), "abcdefgh"))

    assert sorted(calls) == list(range(48))
    assert sorted(run.result for runs in ended for run in runs) == list(range(48))
    assert all(ended)
    assert caplog.records == []  # of a deadlock, which would be waited for


def test_a_database_that_does_not_answer_for_long_ends_no_run_that_was_just_claimed(any_house, ann, watch, monkeypatch):
    def away(_):
        raise Unavailable("away", hint="later")

    runs = any_house.runs(stopwatch=watch)
    run = runs.submit(ann, noting, params={"x": 1})

    with monkeypatch.context() as patch:
        patch.setattr(any_house.database, "read", away)
        with pytest.raises(Unavailable, match="away"):
            runs.run_next(ann)

    assert runs.get(ann, run.id).state.is_open
    assert runs.run_next(ann).result == 1


def test_a_worker_passes_over_what_another_one_is_just_taking(postgresql_house, ann):
    database, runs = postgresql_house.database, postgresql_house.runs()
    first, second = (runs.submit(ann, noting, params={"x": x}) for x in (1, 2))

    with database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        now = datetime.now(UTC)
        locked = next_waiting(connection, ann.project, now, beyond=(), but=())
        claimed = postgresql_house.runs(holder="another").queue.claim(ann)
        connection.exec_driver_sql("ROLLBACK")

    assert locked == (first.id, None)
    assert claimed.run.id == second.id


def test_a_worker_that_meets_what_it_has_not_the_means_for_takes_what_is_behind_it(any_house, ann):
    runs = any_house.runs()
    for x in range(3):
        runs.submit(ann, noting, params={"x": x}, priority=5, tags=["eu"])
    runs.submit(ann, noting, params={"x": 9})

    assert [run.result for run in finish_all(any_house.runs(), ann)] == [9]
    there = InProcess(MachineStopwatch(), tags=frozenset({"eu"}))
    assert len(finish_all(any_house.runs(executor=there), ann)) == 3


def test_a_run_says_what_it_needs_from_the_steps_that_its_pipeline_names(runs, ann):
    waiting = runs.submit(ann, choosing, params={"x": 1}, tags=["eu"])

    assert waiting.needs == Needs(cpus=4.0, gpus=1.0, tags=("eu", "fast-disk"))
    assert runs.get(ann, waiting.id).needs == waiting.needs
    assert rules.needed(waiting.needs) == "gpus=1, cpus=4, tag 'eu', tag 'fast-disk'"


def test_a_run_is_executed_here_only_by_the_code_that_it_was_submitted_with(house, ann):
    waiting = house.runs().submit(ann, noting, params={"x": 1})
    with house.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET bundle = 'another'")

    run = house.runs().run_next(ann)

    assert (run.id, run.state, list(calls)) == (waiting.id, "failed", [])
    assert "submitted with other code than this process has (noria work executes it with its own" in run.error


def test_a_failed_run_is_not_tried_again_by_the_next_worker(house, ann):
    house.runs().submit(ann, failing, params={"x": "no"})

    assert house.runs().run_next(ann).state == "failed"
    assert house.runs().run_next(ann) is None


def test_a_run_whose_code_is_not_here_fails_in_words(house, ann, monkeypatch):
    waiting = house.runs().submit(ann, noting, params={"x": 1})
    with house.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET reference = 'no_such_module:noting'")

    run = house.runs().run_next(ann)

    assert (run.id, run.state) == (waiting.id, "failed")
    assert "no function named 'no_such_module:noting'" in run.error
    assert "run it where 'no_such_module' can be imported" in run.error
    assert house.runs().run_next(ann) is None


@nr.step
def first():
    calls.append("first")
    return 1


@nr.step(priority=2)
def urgent(x):
    calls.append("urgent")
    return x


@nr.step
def needed(x):
    calls.append("needed")
    return x


@nr.step(priority=-1)
def late(x):
    calls.append("late")
    return x


def test_of_the_steps_that_wait_the_highest_priority_comes_first_with_what_it_needs(house, ann):
    @nr.pipeline
    def several():
        last = late(1)
        a = first()
        b = urgent(needed(2))
        return [last, a, b]

    assert house.runs().run(ann, several).result == [1, 1, 2]
    assert list(calls) == ["needed", "urgent", "first", "late"]


def test_a_priority_is_a_whole_number():
    with pytest.raises(BadPipeline, match="priority='high' is no priority"):
        nr.step(priority="high")(lambda: None)


def test_a_run_that_a_step_starts_knows_in_which_run_that_was(house, ann):
    runs = house.runs()

    @nr.step
    def starts():
        return runs.run(ann, noting, params={"x": 7}).id

    @nr.pipeline
    def outer():
        return starts()

    run = runs.run(ann, outer)

    inner = runs.get(ann, run.result)
    assert inner.started_in == run.id
    assert [found.id for found in runs.started_in(ann, run.id)] == [inner.id]
    assert run.started_in is None
    with pytest.raises(NotFound):
        runs.started_in(ann, "nothing")


@nr.step
def begins(x):
    begun.append("begins")
    return x


@nr.step
def breaks_once(x):
    begun.append("breaks_once")
    if begun.count("breaks_once") == 1:
        raise OSError("once")
    return x


@nr.pipeline
def breaking(x):
    return breaks_once(begins(x))


def test_a_run_that_a_step_starts_is_the_same_one_when_the_step_is_tried_again(any_house, ann):
    runs = any_house.runs()

    @nr.step(retries=1)
    def starts(x):
        return runs.run(ann, breaking, params={"x": x}).result

    @nr.pipeline
    def outer():
        return starts(3)

    run = runs.run(ann, outer)

    assert run.result == 3
    assert list(begun) == ["begins", "breaks_once", "breaks_once"]
    assert [inner.state for inner in runs.started_in(ann, run.id)] == ["succeeded"]


def test_a_run_that_a_step_starts_is_the_same_one_when_the_outer_run_was_interrupted(any_house, ann):
    runs = any_house.runs()

    @nr.step
    def starts(x):
        made = [runs.run(ann, noting, params={"x": x}).id for _ in range(2)]
        if len(calls) == 2:
            calls.append("interrupted")
            raise KeyboardInterrupt
        return made

    @nr.pipeline
    def outer():
        return starts("inner")

    with pytest.raises(KeyboardInterrupt):
        runs.run(ann, outer, key="k")
    run = runs.run(ann, outer, key="k")

    assert list(calls) == ["inner", "inner", "interrupted"]
    assert sorted(run.result) == sorted(inner.id for inner in runs.started_in(ann, run.id))
    assert len(set(run.result)) == 2
