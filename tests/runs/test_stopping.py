"""Laws of stopping and of doing again: cancel, pause, resume, and reruns that reuse what their parent finished."""

import contextlib
import threading
from collections import deque

import pytest

import noria.pipelines as nr
from noria.core.errors import BadPipeline, Conflict, LeaseLost, NotFound
from noria.runs.recorder import log_metric, log_param, progress

calls = deque()
failing = deque()


@pytest.fixture(autouse=True)
def forget():
    calls.clear()
    failing.clear()


@nr.step
def load(rows):
    calls.append("load")
    return list(range(rows))


@nr.step
def fit(rows, rate):
    calls.append("fit")
    if "fit" in failing:
        raise ValueError("fit")
    return len(rows) * rate


@nr.step
def judge(model):
    calls.append("judge")
    return model > 1


@nr.pipeline
def train(rows=3, rate=1):
    return judge(fit(load(rows), rate))


def test_a_rerun_with_one_changed_parameter_reuses_everything_that_does_not_depend_on_it(any_house, ann):
    runs = any_house.runs()
    first = runs.run(ann, train)
    calls.clear()

    second = runs.rerun(ann, first.id, params={"rate": 0})

    assert (second.parent, second.result) == (first.id, False)
    assert second.id != first.id
    assert list(calls) == ["fit", "judge"]
    assert [(hit.step, hit.source_run) for hit in runs.hits(ann, second.id)] == [("load", first.id)]
    assert [(p.name, p.words) for p in runs.params(ann, second.id)] == [("rate", "0"), ("rows", "3")]


def test_a_rerun_of_a_rerun_reuses_what_its_parent_had_reused(runs, ann):
    first = runs.run(ann, train)
    second = runs.rerun(ann, first.id, params={"rate": 5})
    calls.clear()

    third = runs.rerun(ann, second.id, params={"rate": 7})

    assert list(calls) == ["fit", "judge"]
    assert third.result is True


def test_a_rerun_of_a_failed_run_begins_at_the_step_that_failed(any_house, ann):
    failing.append("fit")
    runs = any_house.runs()
    failed = runs.run(ann, train)
    failing.clear()
    calls.clear()

    again = runs.rerun(ann, failed.id)

    assert again.result is True
    assert list(calls) == ["fit", "judge"]
    assert runs.get(ann, failed.id).state == "failed"


def test_a_rerun_from_a_step_executes_it_and_what_sees_another_result(runs, ann):
    first = runs.run(ann, train)
    calls.clear()

    runs.rerun(ann, first.id, from_step="fit")

    assert list(calls) == ["fit"]


def test_a_rerun_is_refused_for_what_is_not_there(runs, ann):
    first = runs.run(ann, train)

    with pytest.raises(NotFound, match="no run named"):
        runs.rerun(ann, "run_x")
    with pytest.raises(NotFound, match="no step named 'fitt'") as caught:
        runs.rerun(ann, first.id, from_step="fitt")
    assert caught.value.hint == "did you mean 'fit'?"
    with pytest.raises(BadPipeline, match="has no parameter 'rats'"):
        runs.rerun(ann, first.id, params={"rats": 1})


def test_a_rerun_executes_steps_of_other_code_anew(house, ann):
    from test_durability import edited

    @nr.step
    def changes():
        calls.append("changes")
        return 1

    @nr.pipeline
    def whole():
        return [load(2), changes()]

    runs = house.runs()
    first = runs.run(ann, whole)
    calls.clear()
    edited(changes, 7)

    runs.rerun(ann, first.id)

    assert list(calls) == ["changes"]


@nr.step
def stops(x, how):
    how(x)
    calls.append(x)
    return x


@pytest.mark.parametrize("asked", ["cancel", "pause"])
def test_a_running_run_is_stopped_before_its_next_step_and_resume_goes_on_from_there(any_house, ann, asked):
    runs = any_house.runs()

    @nr.step
    def ask(x):
        calls.append(x)
        if x == 1 and calls.count(1) == 1:
            getattr(any_house.runs(holder="somebody else"), asked)(ann, runs.list(ann)[0].id)
        return x

    @nr.pipeline
    def whole():
        x = 0
        for number in range(4):
            x = ask(number)
        return x

    stopped = runs.run(ann, whole, key="k")
    state = {"cancel": "cancelled", "pause": "paused"}[asked]

    assert stopped.state == state
    assert list(calls) == [0, 1]
    assert stopped.error == f"{state} by person:ann"
    assert runs.run(ann, whole, key="k").state == state
    with pytest.raises(Conflict, match=f"was {state}"):
        _ = stopped.result
    assert runs.resume(ann, stopped.id).result == 3
    assert list(calls) == [0, 1, 2, 3]
    assert [kind for kind, _ in any_house.facts()] == [f"run.{state}", "run.resumed", "run.succeeded"]


def test_a_step_that_waits_for_its_next_try_is_stopped_before_it(house, ann):
    runs, waits = house.runs(sleep=lambda seconds: waits.append(seconds)), []

    @nr.step(retries=5)
    def breaks():
        (run,) = runs.list(ann)
        runs.cancel(ann, run.id)
        raise ConnectionError("once more")

    @nr.pipeline
    def whole():
        return breaks()

    run = runs.run(ann, whole)

    assert (run.state, len(runs.attempts(ann, run.id)), waits) == ("cancelled", 1, [])


def cancelled_by_somebody_else(any_house, ann, runs, pipeline, *, begun):
    """Return what a run comes to that another process cancels as soon as its step has begun."""
    ended = deque()
    thread = threading.Thread(target=lambda: ended.append(runs.run(ann, pipeline)))
    thread.start()
    begun.wait(20)
    any_house.runs(holder="somebody else").cancel(ann, runs.list(ann)[0].id)
    thread.join(20)
    return ended[0]


def test_who_waits_for_a_step_s_next_try_is_not_waited_for(any_house, ann):
    runs, begun = any_house.runs(sleep=None), threading.Event()

    @nr.step(retries=5, backoff_seconds=600)
    def breaks():
        begun.set()
        raise ConnectionError("once more")

    @nr.pipeline
    def whole():
        return breaks()

    assert cancelled_by_somebody_else(any_house, ann, runs, whole, begun=begun).state == "cancelled"


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_run_that_a_step_has_started_is_stopped_with_the_one_around_it_and_goes_on_with_it(
    any_house, ann, verb, state
):
    runs = any_house.runs()

    @nr.step
    def item(x):
        calls.append(x)
        if len(calls) == 2:
            getattr(runs, verb)(ann, next(run.id for run in runs.list(ann) if run.pipeline == "outer"))
        return x

    @nr.pipeline
    def inner():
        return [item(x) for x in range(5)]

    @nr.step
    def starts():
        return runs.run(ann, inner).result

    @nr.pipeline
    def outer():
        return starts()

    run = runs.run(ann, outer)

    assert [found.state for found in runs.list(ann)] == [state, state]
    assert list(calls) == [0, 1]
    assert runs.resume(ann, run.id).result == [0, 1, 2, 3, 4]
    assert list(calls) == [0, 1, 2, 3, 4]


def test_a_map_is_stopped_between_its_items(house, ann):
    runs = house.runs()

    @nr.step
    def item(x):
        calls.append(x)
        if x == 5:
            runs.cancel(ann, runs.list(ann)[0].id)
        return x

    @nr.pipeline
    def whole():
        return item.map(list(range(50)))

    run = runs.run(ann, whole)

    assert run.state == "cancelled"
    assert list(calls) == [0, 1, 2, 3, 4, 5]
    assert len(runs.attempts(ann, run.id)) == 6
    assert runs.resume(ann, run.id).result == list(range(50))
    assert len(calls) == 50


def test_a_run_whose_process_died_is_cancelled_at_once(any_house, ann):
    @nr.step
    def dies():
        raise KeyboardInterrupt

    @nr.pipeline
    def whole():
        return dies()

    with pytest.raises(KeyboardInterrupt):
        any_house.runs().run(ann, whole)
    runs = any_house.runs()
    (left,) = runs.list(ann)

    assert left.state == "interrupted"
    assert runs.cancel(ann, left.id).state == "cancelled"
    assert runs.get(ann, left.id).ended_at is not None
    assert runs.cancel(ann, left.id).state == "cancelled"


@pytest.mark.parametrize("tells", [lambda: progress(1), lambda: log_metric("x", 1), lambda: log_param("x", 1)])
def test_a_step_in_this_process_is_cancelled_when_it_next_tells_something(any_house, ann, tells):
    runs = any_house.runs()

    @nr.step
    def long():
        any_house.runs(holder="somebody else").cancel(ann, runs.list(ann)[0].id)
        progress(0)  # what is told is committed, and that hears what was asked
        with contextlib.suppress(Exception):  # a step that catches every error does not catch this
            tells()
        calls.append("went on")

    @nr.pipeline
    def whole():
        return long()

    run = runs.run(ann, whole)

    assert (run.state, list(calls), runs.attempts(ann, run.id)) == ("cancelled", [], ())


def test_a_step_in_this_process_hears_that_its_run_is_cancelled_while_it_tells_nothing(any_house, ann):
    begun, heard = threading.Event(), threading.Event()
    runs = any_house.runs()

    @nr.step
    def long():
        begun.set()
        while not heard.wait(0.05):
            log_metric("x", 1)

    @nr.pipeline
    def whole():
        return long()

    run = cancelled_by_somebody_else(any_house, ann, runs, whole, begun=begun)
    heard.set()

    assert run.state == "cancelled"


def test_a_paused_run_ends_the_step_that_is_under_way(any_house, ann):
    runs = any_house.runs()

    @nr.step
    def long():
        runs.pause(ann, runs.list(ann)[0].id)
        log_metric("x", 1)
        calls.append("went on")
        return 1

    @nr.pipeline
    def whole():
        return [long(), load(1)]

    run = runs.run(ann, whole)

    assert (run.state, list(calls)) == ("paused", ["went on"])


def test_what_a_process_leaves_is_free_at_once_and_nothing_more_of_it_is_committed(any_house, ann):
    first, second = any_house.runs(holder="first"), any_house.runs(holder="second")

    @nr.step
    def once():
        calls.append("once")
        if len(calls) == 1:
            assert len(first.leave()) == 1
            assert second.resume(ann, first.list(ann)[0].id, pipeline=whole).result == [2, [0]]
        return calls.count("once")

    @nr.pipeline
    def whole():
        return [once(), load(1)]

    with pytest.raises(LeaseLost):
        first.run(ann, whole)

    (run,) = first.list(ann)
    assert (run.state, run.result) == ("succeeded", [2, [0]])
    assert [(a.step, a.attempt) for a in first.attempts(ann, run.id)] == [("once", 1), ("load", 1)]


def test_cancelling_what_has_ended_changes_nothing(runs, ann):
    done = runs.run(ann, train)

    assert runs.cancel(ann, done.id) == done
    assert runs.pause(ann, done.id) == done


def test_who_waits_for_another_ones_run_is_woken_when_it_ends(any_house, ann):
    begun, may_end = threading.Event(), threading.Event()

    @nr.step
    def slow():
        begun.set()
        may_end.wait(20)
        return 1

    @nr.pipeline
    def whole():
        return slow()

    results = deque()
    first = threading.Thread(target=lambda: results.append(any_house.runs().run(ann, whole, key="k")))
    first.start()
    begun.wait(20)
    second = threading.Thread(target=lambda: results.append(any_house.runs(holder="other").run(ann, whole, key="k")))
    second.start()
    may_end.set()
    first.join()
    second.join()

    assert [run.result for run in results] == [1, 1]


@pytest.mark.parametrize("any_database", ["postgresql"], indirect=True)  # SQLite has only one that writes
def test_a_cancel_that_comes_while_a_run_ends_leaves_its_end_as_it_is(any_house, ann, monkeypatch):
    runs, other = any_house.runs(), any_house.runs(holder="somebody else")
    begun, go = threading.Event(), threading.Event()

    @nr.step
    def waits():
        begun.set()
        go.wait(20)
        return 1

    @nr.pipeline
    def whole():
        return waits()

    thread = threading.Thread(target=lambda: runs.run(ann, whole))
    thread.start()
    begun.wait(20)
    (found,) = runs.list(ann)
    holder = other._around.holder
    acquire = holder.acquire

    def acquires_when_it_has_ended(connection, run):
        go.set()
        thread.join(20)
        return acquire(connection, run)

    monkeypatch.setattr(holder, "acquire", acquires_when_it_has_ended)
    told = other.cancel(ann, found.id)

    assert (told.state, told.result) == ("succeeded", 1)
    assert (runs.get(ann, told.id).state, runs.get(ann, told.id).result) == ("succeeded", 1)
    assert [kind for kind, _ in any_house.facts()] == ["run.succeeded"]


def test_an_item_whose_run_was_stopped_is_no_failure_and_is_taken_again(any_house, ann):
    runs = any_house.runs()

    @nr.step
    def item(x):
        calls.append(x)
        if len(calls) == 2:
            runs.pause(ann, next(run.id for run in runs.list(ann) if run.pipeline == "outer"))
        return x

    @nr.pipeline
    def inner(n):
        return [item(x) for x in range(n)]

    @nr.step
    def starts(n):
        try:
            return runs.run(ann, inner, params={"n": n}).result
        except Exception:
            return "tolerated"

    @nr.pipeline
    def outer():
        return starts.map([3, 1], on_failure="continue")

    run = runs.run(ann, outer)

    assert (run.state, runs.attempts(ann, run.id)) == ("paused", ())
    assert runs.resume(ann, run.id).result == [[0, 1, 2], [0]]


def test_a_step_that_catches_even_its_own_end_is_not_kept(any_house, ann):
    runs = any_house.runs()

    @nr.step(cache=True)
    def partial():
        if not calls:
            calls.append("cancelled")
            runs.cancel(ann, runs.list(ann)[0].id)
        try:
            progress(1)
        except BaseException:
            return "partial"
        return "whole"

    @nr.pipeline
    def trains():
        return partial()

    run = runs.run(ann, trains)

    assert (run.state, runs.attempts(ann, run.id)) == ("cancelled", ())
    assert runs.resume(ann, run.id).result == "whole"


def test_a_cancel_that_nobody_has_heard_is_heard_by_who_takes_the_run_over(any_house, ann):
    first = any_house.runs(holder="first", lease_seconds=30.0)

    @nr.step
    def dies():
        calls.append("dies")
        first.cancel(ann, first.list(ann)[0].id)
        first.pause(ann, first.list(ann)[0].id)
        raise KeyboardInterrupt

    @nr.pipeline
    def whole():
        return dies()

    with pytest.raises(KeyboardInterrupt):
        first.run(ann, whole, key="k")
    run = any_house.runs(holder="second").run(ann, whole, key="k")

    assert (run.state, list(calls)) == ("cancelled", ["dies"])


def test_a_heartbeat_that_stumbles_goes_on(any_house, ann, monkeypatch, caplog):
    runs = any_house.runs(lease_seconds=3.0)
    holder = runs._around.holder
    renew, stumbles = holder._renew, iter([OSError("no space left")])

    def renews(run, lease):
        for problem in stumbles:
            raise problem
        renew(run, lease)

    monkeypatch.setattr(holder, "_renew", renews)

    @nr.step
    def long():
        any_house.wait_for_renewals()
        return 1

    @nr.pipeline
    def whole():
        return long()

    assert runs.run(ann, whole).result == 1
    assert "no space left" in caplog.text


def test_the_lease_is_kept_while_a_run_s_code_is_imported(any_house, ann, monkeypatch):
    runs = any_house.runs(lease_seconds=3.0)
    run = runs.submit(ann, train)
    found = runs._pipeline_of

    def slowly(*asked):
        any_house.wait_for_renewals()
        return found(*asked)

    monkeypatch.setattr(runs, "_pipeline_of", slowly)

    assert (runs.run_next(ann).id, runs.get(ann, run.id).state) == (run.id, "succeeded")


def test_a_run_that_a_step_has_started_is_a_new_one_when_its_code_has_changed(any_house, ann):
    runs = any_house.runs()

    def inner_of(result):
        @nr.step
        def made():
            return result

        @nr.pipeline
        def inner():
            return made()

        return inner

    versions = deque([inner_of(1), inner_of(2)])

    @nr.step
    def starts():
        got = runs.run(ann, versions.popleft()).result
        if got == 1:
            raise ValueError("not good enough")
        return got

    @nr.pipeline
    def outer():
        return starts()

    run = runs.run(ann, outer)

    assert run.state == "failed"
    assert runs.resume(ann, run.id, allow_changed_code=True).result == 2
