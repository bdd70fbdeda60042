"""Laws of whole rollouts on the simulated clock: equal models are let in, worse ones are not, at 24 looks a day."""

import math
import runpy
from pathlib import Path

import pytest

from noria.rollouts.model import Next

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "rollouts.py"))
simulate, SCENARIOS, CANARY = BENCH["simulate"], BENCH["SCENARIOS"], BENCH["CANARY"]
ALPHA = 0.05


def shares(found):
    return {end: sum(one.ended is end for one in found) / len(found) for end in Next}


def allowed(rollouts):
    """Alpha, and three standard errors of what so few rollouts show."""
    return ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / rollouts)


def test_equal_models_are_let_in_and_hardly_ever_taken_back():
    found = shares(simulate(200, seed=1))

    assert found[Next.ABORT] <= ALPHA
    assert found[Next.FINISH] >= 0.9


def test_equal_models_that_are_watched_for_24_looks_are_taken_back_at_most_alpha_of_the_time():
    found = simulate(300, seed=2, **SCENARIOS["equal, watched, a tenth of the keys"])

    assert shares(found)[Next.ABORT] <= ALPHA
    assert sum(one.z_test_cried for one in found) / len(found) > 0.2


@pytest.mark.parametrize("metric", ["error_rate", "latency", "missing_rate", "log_loss"])
def test_models_worse_by_exactly_the_margin_are_let_in_at_most_alpha_of_the_time(metric):
    told = SCENARIOS[f"the same at 25%, tolerated: {metric}"]

    found = shares(simulate(80, seed=3, **told))

    assert found[Next.FINISH] <= allowed(80)


def test_a_worse_model_is_caught_in_shadow_before_it_answers_anybody():
    found = simulate(100, seed=4, **SCENARIOS["errors 5% to 8%, shadow first"])

    assert {one.ended for one in found} == {Next.ABORT}
    assert {one.aborted_on for one in found} == {("error_rate",)}
    assert max(one.live for one in found) == 0


def test_a_worse_model_is_caught_at_half_of_the_keys_after_a_few_thousand_answers():
    found = simulate(100, seed=5, **SCENARIOS["errors 5% to 8%, at half of the keys"])

    assert shares(found)[Next.ABORT] >= 0.97
    assert sorted(one.live for one in found)[50] <= 2600


@pytest.mark.soak
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_thousand_rollouts(name):
    told = SCENARIOS[name]

    found = shares(simulate(2000, seed=6, **told))

    worse = [metric for metric in CANARY.abort_on if metric in told]
    if worse:
        assert found[Next.FINISH] <= ALPHA
    else:
        assert found[Next.ABORT] <= ALPHA
