"""Laws of trying again, and of reusing what the same code made from the same inputs."""

import itertools
import random
from collections import Counter, deque
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

import noria.pipelines as nr
from noria.pipelines.model import Retry
from noria.runs import rules

calls = deque()


@pytest.fixture(autouse=True)
def forget():
    calls.clear()


@nr.step(retries=2, backoff_seconds=4.0, retry_on=(ConnectionError, TimeoutError))
def flaky(problems):
    calls.append("flaky")
    if len(calls) <= len(problems):
        raise {"connection": ConnectionError, "value": ValueError}[problems[len(calls) - 1]]("no")
    return len(calls)


@nr.pipeline
def tries(problems):
    return flaky(problems)


def test_a_step_is_tried_again_after_waits_that_double(any_house, ann):
    waits = []
    run = any_house.runs(sleep=waits.append, chance=random.Random(1)).run(
        ann, tries, params={"problems": ["connection"] * 2}
    )

    chance = random.Random(1)
    assert run.result == 3
    assert waits == [4.0 * (0.5 + chance.random()), 8.0 * (0.5 + chance.random())]
    assert [(a.attempt, a.state.value) for a in any_house.runs().attempts(ann, run.id)] == [
        (1, "failed"),
        (2, "failed"),
        (3, "succeeded"),
    ]


def test_when_no_tries_are_left_the_run_fails(runs, ann):
    run = runs.run(ann, tries, params={"problems": ["connection"] * 3})

    assert run.error == "step 'flaky' raised ConnectionError: no"
    assert len(calls) == 3


@nr.step(retries=2, backoff_seconds=40)
def breaks(cut_at):
    calls.append("breaks")
    raise KeyboardInterrupt if len(calls) == cut_at else ConnectionError("no")


@nr.pipeline
def broken(cut_at):
    return breaks(cut_at)


def test_who_takes_over_has_the_tries_that_are_left_after_the_wait_that_is_left(any_house, ann, clock):
    waits, chance = [], random.Random(2)
    one, other = (any_house.runs(sleep=waits.append, chance=random.Random(2), holder=name) for name in ("a", "b"))
    with pytest.raises(KeyboardInterrupt):
        one.run(ann, broken, params={"cut_at": 2}, key="k")
    first_wait = 40 * (0.5 + chance.random())
    assert waits == [first_wait]
    clock.advance_to(clock.now() + timedelta(seconds=15))

    run = other.run(ann, broken, params={"cut_at": 2}, key="k")

    chance = random.Random(2)
    assert waits[1:] == [pytest.approx(40 * (0.5 + chance.random()) - 15, abs=1), 80 * (0.5 + chance.random())]
    assert (run.state, len(calls)) == ("failed", 4)
    assert [a.state.value for a in other.attempts(ann, run.id)] == ["failed"] * 3


def test_who_resumes_a_failed_run_has_all_tries_again_at_once(any_house, ann):
    waits = []
    runs = any_house.runs(sleep=waits.append, chance=random.Random(2))
    run = runs.run(ann, broken, params={"cut_at": 0})

    assert runs.resume(ann, run.id).state == "failed"
    assert (len(calls), len(waits)) == (6, 4)


@pytest.fixture
def ticking(clock, monkeypatch):
    """Let time pass whenever somebody looks."""
    looks = itertools.count(1)
    began = clock.now()
    monkeypatch.setattr(clock, "now", lambda: began + timedelta(milliseconds=next(looks)))


@pytest.mark.parametrize(("cut_at", "left"), [(5, 2), (6, 1)])
def test_who_takes_over_a_resumed_run_counts_the_tries_since_then(any_house, ann, ticking, cut_at, left):
    runs = any_house.runs(sleep=lambda _: None)
    run = runs.run(ann, broken, params={"cut_at": cut_at}, key="k")
    with pytest.raises(KeyboardInterrupt):
        runs.resume(ann, run.id)

    assert runs.run(ann, broken, params={"cut_at": cut_at}, key="k").state == "failed"
    assert len(calls) == cut_at + left


def test_what_a_map_has_done_is_kept_before_the_wait_for_a_next_try(any_house, ann):
    seen = []

    @nr.step(retries=1)
    def item(x):
        if x == 2 and not seen:
            raise ConnectionError("once")
        return x

    @nr.pipeline
    def whole():
        return item.map([0, 1, 2])

    runs = any_house.runs(
        sleep=lambda _: seen.extend(a.step for run in runs.list(ann) for a in runs.attempts(ann, run.id))
    )
    assert runs.run(ann, whole).result == [0, 1, 2]
    assert seen == ["item[0]", "item[1]", "item[2]"]


def test_a_step_whose_function_was_replaced_is_that_one_in_a_run_too(runs, ann, monkeypatch):
    monkeypatch.setattr(cheap, "function", lambda x: x + 100)

    assert cheap(1) == 101
    assert runs.run(ann, whole, params={"rows": 1}).result == 102


def test_a_wait_that_is_over_is_not_waited_again(any_house, ann, clock):
    waits = []
    runs = any_house.runs(sleep=waits.append)
    with pytest.raises(KeyboardInterrupt):
        runs.run(ann, broken, params={"cut_at": 2}, key="k")
    clock.advance_to(clock.now() + timedelta(hours=1))
    waits.clear()

    runs.run(ann, broken, params={"cut_at": 2}, key="k")

    assert waits[0] == 0
    assert len(waits) == 2


def test_an_error_of_another_type_is_not_tried_again(runs, ann):
    run = runs.run(ann, tries, params={"problems": ["value"]})

    assert run.state == "failed"
    assert len(calls) == 1


def test_each_try_gets_its_arguments_fresh(runs, ann):
    @nr.step
    def numbers():
        return [1]

    @nr.step(retries=1, backoff_seconds=0)
    def spoils(items):
        items.append(2)
        calls.append(len(items))
        if len(calls) == 1:
            raise ValueError("once")
        return items

    @nr.pipeline
    def whole():
        return spoils(numbers())

    assert runs.run(ann, whole).result == [1, 2]
    assert list(calls) == [2, 2]


@pytest.mark.parametrize(("tried", "wait"), [(1, 1.0), (2, 2.0), (3, 4.0), (20, 300.0)])
def test_waits_grow_up_to_five_minutes(tried, wait):
    assert rules.wait_seconds(Retry(), tried=tried, chance=0.5) == wait


@nr.step(cache=True)
def costly(rows, factor=2):
    calls.append("costly")
    return rows * factor


@nr.step
def cheap(x):
    calls.append("cheap")
    return x + 1


@nr.pipeline
def whole(rows, factor=2):
    return cheap(costly(rows, factor))


def test_a_cached_step_is_reused_by_every_run_and_charged_what_it_had_cost(any_house, ann, watch):
    runs = any_house.runs(stopwatch=watch)
    first = runs.run(ann, whole, params={"rows": 3})
    second = runs.run(ann, whole, params={"rows": 3})

    assert first.result == second.result == 7
    assert Counter(calls) == {"costly": 1, "cheap": 2}
    assert (first.cpu_seconds, first.charged_cpu_seconds) == (1.0, 1.0)
    assert (second.cpu_seconds, second.charged_cpu_seconds) == (0.5, 1.0)
    assert [a.step for a in runs.attempts(ann, second.id)] == ["cheap"]
    (hit,) = runs.hits(ann, second.id)
    assert (hit.step, hit.source_run, hit.source_number, hit.cpu_seconds) == ("costly", first.id, 1, 0.5)


def test_a_run_of_cached_steps_alone_keeps_its_result(any_house, ann):
    @nr.pipeline
    def only(rows):
        return costly(rows)

    runs = any_house.runs()
    first, second = (runs.run(ann, only, params={"rows": 3}) for _ in range(2))

    assert len(calls) == 1
    assert second.result == 6
    assert runs.get(ann, second.id).result == 6
    assert first.artifact == second.artifact
    assert runs.attempts(ann, second.id) == ()


@pytest.mark.parametrize("params", [{"rows": 4}, {"rows": 3, "factor": 5}, {"rows": 3.0}])
def test_other_inputs_are_another_result(runs, ann, params):
    runs.run(ann, whole, params={"rows": 3})
    runs.run(ann, whole, params=params)

    assert Counter(calls)["costly"] == 2


def test_a_given_value_and_one_that_a_step_made_are_the_same_input(runs, ann):
    @nr.pipeline
    def made():
        return costly(cheap(2))

    runs.run(ann, whole, params={"rows": 3})

    assert runs.run(ann, made).result == 6
    assert Counter(calls)["costly"] == 1


def test_frames_are_known_by_their_content(runs, ann):
    @nr.step(cache=True)
    def height(rows):
        calls.append("height")
        return rows.height

    @nr.pipeline
    def measure(rows):
        return height(rows)

    parts = pl.concat([pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [2]})], rechunk=False)
    for rows in (pl.DataFrame({"x": [1, 2]}), parts, pl.DataFrame({"x": [1, 3]})):
        runs.run(ann, measure, params={"rows": rows})

    assert len(calls) == 2


def test_a_project_never_sees_what_another_one_cached(house, ann):
    other = replace(ann, project="other")
    house.access.found(other)
    for context in (ann, other):
        house.runs().run(context, whole, params={"rows": 3})

    assert Counter(calls)["costly"] == 2


def test_what_failed_is_not_cached(runs, ann):
    @nr.step(cache=True)
    def fails_once():
        calls.append("x")
        if len(calls) == 1:
            raise ValueError("once")
        return 1

    @nr.pipeline
    def once():
        return fails_once()

    assert runs.run(ann, once).state == "failed"
    assert runs.run(ann, once).result == 1


def test_the_same_cached_call_twice_in_a_run_is_charged_once(house, ann, watch):
    @nr.pipeline
    def twice(rows):
        return [costly(rows), costly(rows)]

    runs = house.runs(stopwatch=watch)
    first, second = (runs.run(ann, twice, params={"rows": 3}) for _ in range(2))

    assert (first.charged_cpu_seconds, second.charged_cpu_seconds) == (0.5, 0.5)
    assert len(calls) == 1
