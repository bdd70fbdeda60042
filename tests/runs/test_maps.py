"""Laws of maps: each item is tried, kept, cached and resumed by itself; the list of results goes on as a list."""

import threading
import time
from collections import Counter, deque

import pytest

import noria.pipelines as nr
from noria.core.errors import BadPipeline
from noria.runs.recorder import log_metric

calls = deque()
failing = deque()


@pytest.fixture(autouse=True)
def forget():
    calls.clear()
    failing.clear()


@nr.step
def square(x, plus=0):
    calls.append(x)
    if x in failing:
        raise ValueError(f"no {x}")
    return x * x + plus


@nr.step
def total(numbers):
    return sum(number for number in numbers if not isinstance(number, nr.Failure))


@nr.step
def numbers(n):
    return list(range(n))


@nr.pipeline
def fan(n):
    return total(square.map(numbers(n), plus=1))


@nr.pipeline
def goes_on(items):
    return square.map(items, on_failure="continue")


def test_a_map_goes_over_a_list_or_a_reference_to_one_and_its_results_fan_in(any_house, ann):
    @nr.pipeline
    def given():
        return square.map([1, 2, 3])

    run = any_house.runs().run(ann, fan, params={"n": 4})

    assert run.result == 0 + 1 + 4 + 9 + 4
    assert any_house.runs().run(ann, given).result == [1, 4, 9]
    steps = [attempt.step for attempt in any_house.runs().attempts(ann, run.id)]
    assert steps == ["numbers", "square[0]", "square[1]", "square[2]", "square[3]", "total"]


def test_a_map_over_the_results_of_a_map_and_over_references_among_its_items(runs, ann):
    @nr.pipeline
    def twice():
        first = square.map([1, 2, square(3)])
        return square.map(first, plus=first)

    @nr.pipeline
    def only():
        return square.map(square.map([1, 2, square(3)]))

    assert runs.run(ann, only).result == [1, 16, 81 * 81]
    assert "TypeError" in runs.run(ann, twice).error


def test_a_map_over_nothing_is_an_empty_list(runs, ann):
    @nr.pipeline
    def none():
        return total(square.map([]))

    assert runs.run(ann, none).result == 0
    assert runs.run(ann, fan, params={"n": 0}).result == 0


@pytest.mark.parametrize("what", [None, 3, "abc", {"a": 1}])
def test_a_map_over_what_is_no_list_is_refused_in_words(runs, ann, what):
    @nr.pipeline
    def wrong():
        return square.map(what)

    @nr.step
    def makes():
        return what

    @nr.pipeline
    def later():
        return square.map(makes())

    for pipeline in (wrong, later):
        run = runs.run(ann, pipeline)
        assert f"step 'square' was mapped over a {type(what).__name__}" in run.error


def test_what_cannot_be_mapped_is_told_with_what_to_write_instead(runs, ann):
    @nr.step
    def together(*numbers):
        return sum(numbers)

    @nr.pipeline
    def over_two_lists():
        return square.map([1, 2], [3])

    @nr.pipeline
    def without_a_parameter():
        return together.map([1, 2])

    @nr.pipeline
    def of_a_pipeline():
        return over_two_lists.map([1, 2])

    for pipeline, hint in [
        (over_two_lists, "list(zip(a, b))"),
        (without_a_parameter, "without * before it"),
        (of_a_pipeline, "for item in nr.value(items)"),
    ]:
        assert hint in runs.run(ann, pipeline).cause.hint


def test_a_map_goes_over_a_range(runs, ann):
    @nr.pipeline
    def whole():
        return square.map(range(3))

    assert runs.run(ann, whole).result == [0, 1, 4]


def test_settings_of_a_map_that_mean_nothing_are_refused():
    with pytest.raises(BadPipeline, match="concurrency=0"):
        square.map([1], concurrency=0)
    with pytest.raises(BadPipeline, match="on_failure='never'"):
        square.map([1], on_failure="never")
    with pytest.raises(BadPipeline, match="no parameter 'minus'"):
        square.map([1], minus=1)


def test_outside_a_pipeline_a_map_is_a_list_of_calls():
    assert square.map([1, 2], plus=1) == [2, 5]


def test_the_first_failed_item_fails_the_run_by_its_name_and_resume_does_the_rest(any_house, ann):
    failing.append(2)
    runs = any_house.runs()

    failed = runs.run(ann, fan, params={"n": 5})
    before = list(calls)
    failing.clear()
    resumed = runs.resume(ann, failed.id)

    assert (failed.error, failed.failed_step) == ("step 'square[2]' raised ValueError: no 2", "square[2]")
    assert before == [0, 1, 2]
    assert resumed.result == 0 + 1 + 4 + 9 + 16 + 5
    assert list(calls) == [0, 1, 2, 2, 3, 4]


def test_with_continue_a_failed_item_is_a_value_with_its_reason(any_house, ann):
    failing.append(2)

    run = any_house.runs().run(ann, goes_on, params={"items": [1, 2, 3]})

    failure = nr.Failure(step="square[1]", reason="raised ValueError: no 2")
    assert run.state == "succeeded"
    assert run.result == [1, failure, 9]
    assert any_house.runs().get(ann, run.id).result == [1, failure, 9]
    assert [a.state.value for a in any_house.runs().attempts(ann, run.id)] == ["succeeded", "failed", "succeeded"]


def test_with_continue_and_concurrency_every_item_is_tried_and_each_failure_stands_in_its_place(runs, ann):
    @nr.pipeline
    def whole():
        return square.map(list(range(40)), concurrency=4, on_failure="continue")

    failing.extend([3, 30])
    found = runs.run(ann, whole).result

    assert [place for place, one in enumerate(found) if isinstance(one, nr.Failure)] == [3, 30]
    assert found[31] == 31 * 31
    assert sorted(calls) == list(range(40))


def test_a_failure_that_was_committed_stays_one_when_its_run_goes_on_and_is_tried_again_by_a_rerun(house, ann):
    @nr.step
    def last(found):
        if "last" in failing:
            raise ValueError("last")
        return len([one for one in found if isinstance(one, nr.Failure)])

    @nr.pipeline
    def whole():
        return last(square.map([1, 2], on_failure="continue"))

    failing.extend([2, "last"])
    runs = house.runs()
    failed = runs.run(ann, whole)
    failing.clear()

    assert runs.resume(ann, failed.id).result == 1
    assert list(calls) == [1, 2]
    assert runs.rerun(ann, failed.id).result == 0
    assert list(calls) == [1, 2, 2]


def test_items_are_tried_again_and_told_apart(runs, ann):
    @nr.step(retries=1, backoff_seconds=0)
    def flaky(x):
        calls.append(x)
        log_metric("x", x)
        if calls.count(x) == 1 and x:
            raise ValueError("once")
        return x

    @nr.pipeline
    def whole():
        return flaky.map([0, 1, 2])

    run = runs.run(ann, whole)

    assert run.result == [0, 1, 2]
    assert Counter(calls) == {0: 1, 1: 2, 2: 2}
    assert [(m.step, m.value) for m in runs.metrics(ann, run.id)] == [
        ("flaky[0]", 0), ("flaky[1]", 1), ("flaky[1]", 1), ("flaky[2]", 2), ("flaky[2]", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 4])
def test_items_are_cached_by_themselves_wherever_they_stand_in_the_list(any_house, ann, concurrency):
    @nr.step(cache=True)
    def costly(x):
        calls.append(x)
        return -x

    @nr.pipeline
    def whole(items):
        return costly.map(items, concurrency=concurrency)

    runs = any_house.runs()
    runs.run(ann, whole, params={"items": [1, 2, 3]})
    second = runs.run(ann, whole, params={"items": [3, 4, 1]})

    assert second.result == [-3, -4, -1]
    assert sorted(calls) == [1, 2, 3, 4]
    assert [hit.step for hit in runs.hits(ann, second.id)] == ["costly[0]", "costly[2]"]


def test_no_more_items_run_at_a_time_than_were_allowed_and_their_order_is_kept(any_house, ann):
    running, most = deque(), deque()
    both = threading.Barrier(3, timeout=20)

    @nr.step
    def slow(x):
        running.append(x)
        most.append(len(running))
        both.wait()
        running.remove(x)
        return x

    @nr.pipeline
    def whole():
        return slow.map(list(range(9)), concurrency=3)

    assert any_house.runs().run(ann, whole).result == list(range(9))
    assert max(most) == 3


def test_with_concurrency_the_items_that_had_not_begun_are_not_begun_after_a_failure(house, ann):
    @nr.step
    def item(x):
        calls.append(x)
        if x == 1:
            raise ValueError("one")
        time.sleep(0.01)
        return x

    @nr.pipeline
    def whole():
        return item.map(list(range(200)), concurrency=2)

    run = house.runs(sleep=time.sleep).run(ann, whole)

    assert run.error == "step 'item[1]' raised ValueError: one"
    assert len(calls) < 100


def test_thousands_of_items_are_committed_each_once(house, ann):
    run = house.runs().run(ann, fan, params={"n": 3000})

    assert run.result == sum(x * x + 1 for x in range(3000))
    attempts = house.runs().attempts(ann, run.id)
    assert len({attempt.number for attempt in attempts}) == len(attempts) == 3002


def test_a_map_inside_a_branch_is_executed_only_on_the_way_taken(runs, ann):
    @nr.pipeline
    def fork(x):
        return nr.branch(square(x), lambda: total(square.map([1, 2])), lambda: square.map([5]))

    assert runs.run(ann, fork, params={"x": 1}).result == 5
    assert runs.run(ann, fork, params={"x": 0}).result == [25]


def test_value_of_a_long_chain_and_of_a_map_needs_no_deep_stack(runs, ann):
    @nr.pipeline
    def long():
        x = 0
        for _ in range(1500):
            x = square(x)
        return nr.value(x) + len(nr.value(square.map([x, 1])))

    assert runs.run(ann, long).result == 2
