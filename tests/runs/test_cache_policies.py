"""Laws of cache policies: always, for a while, never, or as the pipeline says; and what else belongs to the key."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import noria.pipelines as nr
from noria.core.errors import BadPipeline, Invalid

calls = deque()


@pytest.fixture(autouse=True)
def forget():
    calls.clear()


@nr.step(cache="12h")
def for_a_while(x):
    calls.append("for a while")
    return x


@nr.step(cache=False)
def never(x):
    calls.append("never")
    return x


@nr.step
def silent(x):
    calls.append("silent")
    return x


def test_a_result_is_reused_while_it_is_no_older_than_the_step_says(any_house, ann):
    @nr.pipeline
    def whole():
        return for_a_while(1)

    runs, clock = any_house.runs(), any_house.clock
    runs.run(ann, whole)
    clock.advance_to(clock.now() + timedelta(hours=12))
    runs.run(ann, whole)
    assert len(calls) == 1
    clock.advance_to(clock.now() + timedelta(seconds=1))
    runs.run(ann, whole)
    assert len(calls) == 2
    clock.advance_to(clock.now() + timedelta(hours=11))  # counted from the newer result, which took the place
    runs.run(ann, whole)

    assert len(calls) == 2


def test_a_pipelines_default_holds_for_the_steps_that_say_nothing(any_house, ann):
    @nr.pipeline(cache=True)
    def whole():
        return [silent(1), never(2), for_a_while(3), *nr.value(silent.map([4, 5]))]

    runs = any_house.runs()
    runs.run(ann, whole)
    calls.clear()
    run = runs.run(ann, whole)

    assert run.result == [1, 2, 3, 4, 5]
    assert list(calls) == ["never"]


def test_what_is_declared_as_environment_belongs_to_the_key(runs, ann):
    def step_in(image):
        @nr.step(cache=True, environment={"image": image})
        def same():
            calls.append(image)
            return 1

        @nr.pipeline
        def whole():
            return same()

        return whole

    for image in ("train:1", "train:1", "train:2"):
        runs.run(ann, step_in(image))

    assert list(calls) == ["train:1", "train:2"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cache": "soon"}, "'soon' is no duration"),
        ({"timeout_seconds": 0}, "timeout_seconds=0 is no amount"),
        ({"memory_bytes": -1}, "memory_bytes=-1 is no amount"),
        ({"timeout": 3}, "has no setting 'timeout'"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_a_hint(settings, words):
    with pytest.raises((BadPipeline, Invalid), match=words) as caught:
        nr.step(**settings)

    assert caught.value.hint


def test_a_lambda_is_no_step_and_no_pipeline():
    for decorate in (nr.step, nr.pipeline):
        with pytest.raises(BadPipeline, match="a lambda cannot be a") as caught:
            decorate(lambda: 1)
        assert "write a def" in caught.value.hint


@nr.step(cache=True)
def salted(x, salt):
    return x + salt


@nr.pipeline
def all_salted(numbers, salt):
    return salted.map(numbers, salt=salt)


def test_runs_that_cache_the_same_in_opposite_orders_do_not_wait_for_each_other(postgresql_house, ann, caplog):
    numbers = list(range(200))

    def run(given, salt):
        return postgresql_house.runs(holder=f"{given[0]}").run(ann, all_salted, params={"numbers": given, "salt": salt})

    with ThreadPoolExecutor(2) as threads:
        for salt in range(10):
            one, other = threads.map(run, (numbers, numbers[::-1]), (salt, salt))
            assert one.result == other.result[::-1] == [x + salt for x in numbers]

    assert caplog.records == []  # of a deadlock, which would be waited for
