"""Laws of what runs cost: by the prices that were said, of failed tries too, and nothing where nobody said one."""

import pytest

import noria.pipelines as nr
from noria.runs.executors import Offers, Outcome, Problem
from noria.runs.model import Prices


class Costly:
    """An executor whose every try takes an hour of CPU and half an hour of the clock; the first one fails."""

    name = "costly"
    offers = Offers(gpus=2)

    def __init__(self):
        self.tries = 0

    def execute(self, _call):
        self.tries += 1
        problem = Problem(words="broke", cause=OSError("once")) if self.tries == 1 else None
        return Outcome(returned=self.tries, problem=problem, wall_seconds=1800.0, cpu_seconds=3600.0)

    def close(self):
        """Nothing is held."""


@nr.step(retries=1, backoff_seconds=0, gpus=2)
def on_gpus():
    raise AssertionError("the executor says what comes of it")


@nr.step
def on_a_cpu(x):
    raise AssertionError("the executor says what comes of it")


@nr.pipeline
def priced():
    return on_a_cpu(on_gpus())


def test_each_try_costs_the_cpu_it_used_and_the_gpus_it_kept(any_house, ann):
    runs = any_house.runs(executor=Costly(), prices=Prices(usd_per_cpu_hour=0.5, usd_per_gpu_hour=2.0))

    run = runs.run(ann, priced)

    assert [attempt.usd for attempt in runs.attempts(ann, run.id)] == [2.5, 2.5, 0.5]
    assert run.usd == pytest.approx(5.5)
    assert runs.get(ann, run.id).usd == pytest.approx(5.5)


def test_without_a_price_nothing_is_said_to_cost_nothing(house, ann):
    runs = house.runs(executor=Costly())

    run = runs.run(ann, priced)

    assert run.usd is None
    assert {attempt.usd for attempt in runs.attempts(ann, run.id)} == {None}
