"""Laws of a regressor's rollout: judged by bounded errors of live labels, with its chances of error held."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error
from test_observing import CANDIDATE, CHAMPION, SCHEMA, SHADOW, answer, sampled

import noria as nr
from noria.core.errors import Invalid
from noria.rollouts import observing, rules
from noria.rollouts.observing import Sample
from noria.rollouts.spec import Canary
from noria.stats.sequential import Sums, sums

WORST, LOOKS, ALPHA = 10.0, 24, 0.05


@nr.pipeline
def train(rows):
    return rows


def watching(metric, **spec):
    return Canary(abort_on=(metric,), worst_error=WORST, shadow=None, stages=(0.25, 1.0), **spec)


@pytest.mark.parametrize(
    ("metric", "reference", "power"),
    [("absolute_error", mean_absolute_error, 1), ("squared_error", mean_squared_error, 2)],
)
def test_an_error_is_that_of_scikit_learn_in_shares_of_the_worst_one_that_counts(metric, reference, power):
    chance = np.random.default_rng(1)
    labels = chance.normal(scale=3, size=200)
    said = labels + chance.standard_t(2, size=200) * 4
    rows = [answer(f"r{n}", CANDIDATE, score=said[n], label=labels[n]) for n in range(200)]
    rows += [answer("none", CANDIDATE, score=0.9), answer("far", CHAMPION, score=1e9, label=1.0)]

    found = sampled(rows, metric, worst_error=WORST)

    assert np.abs(said - labels).max() > WORST
    bounded = labels + (said - labels).clip(-WORST, WORST)
    assert found.candidate.units == 200
    assert found.candidate.mean == pytest.approx(reference(labels, bounded) / WORST**power)
    assert found.champion.mean == 1.0


def test_in_shadow_errors_are_paired():
    rows = [answer(f"r{n}", CHAMPION, score=5.0, label=float(n)) for n in range(4)]
    rows += [answer(f"r{n}", CANDIDATE, score=6.0, label=float(n), is_shadow=True) for n in range(4)]

    found = sampled(rows, "absolute_error", stage=SHADOW, worst_error=WORST)

    assert (found.pairs.units, found.pairs.mean) == (4, pytest.approx(0.1))


def draws(chance, keys, *, worse=0.0):
    """Errors with a long tail and a mean of 0.05 of the worst one; of a worse model some are the worst instead."""
    errors = chance.beta(0.2, 3.8, size=keys)
    return np.where(chance.random(keys) < worse / 0.95, 1.0, errors)


def more(before, values):
    new = sums(np.asarray(values, dtype=float))
    return Sums(units=before.units + new.units, total=before.total + new.total, squares=before.squares + new.squares)


def watched(canary, chance, *, worse=0.0, ours=50, theirs=150):
    """Return whether the candidate was ever surely worse, and ever surely within the margin, at 24 looks."""
    candidate, champion = Sums(), Sums()
    is_worse = is_within = False
    for _ in range(LOOKS):
        candidate = more(candidate, draws(chance, ours, worse=worse))
        champion = more(champion, draws(chance, theirs))
        (metric,) = canary.abort_on
        found = rules.reading(Sample(metric=metric, candidate=candidate, champion=champion), canary)
        is_worse, is_within = is_worse or found.is_worse, is_within or found.is_within
    return is_worse, is_within


def shares(canary, count, *, seed, **how):
    chance = np.random.default_rng(seed)
    return np.mean([watched(canary, chance, **how) for _ in range(count)], axis=0)


def test_an_equal_model_is_taken_back_at_most_alpha_of_the_time_over_24_looks():
    is_worse, _ = shares(watching("absolute_error"), 300, seed=2)

    assert is_worse <= ALPHA


def test_a_model_worse_by_exactly_the_margin_is_let_in_at_most_alpha_of_the_time():
    canary = watching("squared_error", margins={"squared_error": 0.03})

    _, is_within = shares(canary, 300, seed=3, worse=0.03)

    assert is_within <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 300)


def test_a_model_that_is_much_worse_is_taken_back_and_an_equal_one_is_let_in():
    is_worse, _ = shares(watching("absolute_error"), 100, seed=4, worse=0.1)
    _, is_within = shares(watching("absolute_error", margins={"absolute_error": 0.05}), 100, seed=5)

    assert is_worse >= 0.95
    assert is_within >= 0.95


def test_an_error_without_its_worst_is_refused_and_so_is_a_loss_of_probabilities_for_numbers():
    with pytest.raises(Invalid, match="shares of the worst one"):
        Canary(abort_on=("absolute_error",))
    with pytest.raises(Invalid, match="are above 0"):
        Canary(abort_on=("absolute_error",), worst_error=-1.0)
    number = {"evaluate": nr.Evaluation(metrics=["rmse"]), "gate": nr.Gate("rmse", margin=1.0)}
    told = {"dataset": nr.Dataset("d", key="id", time="at", label="y"), "train": train}
    with pytest.raises(Invalid, match="waits for the loss of probabilities"):
        nr.Loop("late", rollout=Canary(), **told, **number)

    canary = watching("squared_error")
    assert nr.Loop("late", rollout=canary, **told, **number).rollout is canary
    assert Canary.from_plain(canary.to_plain()) == replace(canary, margins={"squared_error": 0.005}, tolerances={"squared_error": 0.0})  # fmt: skip


def history(latencies, *, version=CHAMPION, **said):
    rows = [answer(f"r{n}", version, latency_ms=latency, **said) for n, latency in enumerate(latencies)]
    return pl.DataFrame(rows, schema=SCHEMA)


@pytest.mark.parametrize(
    ("latencies", "bar"),
    [
        (np.arange(1.0, 1001.0), 950.0),
        (np.full(300, 0.4), 20.0),  # nobody notices less
        (np.arange(1.0, 200.0), 100.0),  # too few to say
    ],
)
def test_slow_is_past_the_95th_percentile_of_the_champion_before_the_rollout(latencies, bar):
    before = pl.concat([history(latencies), history([9000.0] * 500, version=CANDIDATE)])

    assert observing.slow_ms(before, champion=CHAMPION) == pytest.approx(bar, abs=1)


def test_a_bar_fixed_before_the_rollout_takes_an_equally_slow_candidate_back_at_most_alpha_of_the_time():
    chance, canary, cried = np.random.default_rng(7), watching("latency"), 0
    for _ in range(100):
        bar = observing.slow_ms(history(chance.lognormal(4, 0.5, size=250)), champion=CHAMPION)
        ours, theirs, is_worse = Sums(), Sums(), False
        for _ in range(LOOKS):
            ours = more(ours, chance.lognormal(4, 0.5, size=50) > bar)
            theirs = more(theirs, chance.lognormal(4, 0.5, size=150) > bar)
            is_worse |= rules.reading(Sample(metric="latency", candidate=ours, champion=theirs), canary).is_worse
        cried += is_worse

    assert cried / 100 <= ALPHA
