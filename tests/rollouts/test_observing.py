"""Laws of samples: the key is the unit, shadow is paired by request, and only what tells a metric counts."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from noria.rollouts import observing, rules
from noria.rollouts.model import Stage
from noria.rollouts.spec import Canary

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHADOW, HALF = Stage(weight=0.0, lasts=timedelta(0)), Stage(weight=0.5, lasts=timedelta(0))
CHAMPION, CANDIDATE = 1, 2
SCHEMA = {
    "request": pl.String, "prediction": pl.String, "key": pl.String, "at": pl.Datetime("us", "UTC"),
    "version": pl.Int64, "is_shadow": pl.Boolean, "score": pl.Float64, "missing": pl.Int64,
    "latency_ms": pl.Float64, "error": pl.String, "label": pl.Float64,
}  # fmt: skip


def answer(request, version, **said):
    usual = {
        "request": request, "prediction": f"p-{request}-{version}", "key": f"k-{request}", "at": NOW, "version": version,
        "is_shadow": False, "score": 0.5, "missing": 0, "latency_ms": 5.0, "error": None, "label": None,
    }  # fmt: skip
    return usual | said


def sampled(rows, metric, *, stage=HALF, **spec):
    outcomes = pl.DataFrame(rows, schema=SCHEMA)
    canary = Canary(abort_on=(metric,), **spec)
    (found,) = observing.samples(outcomes, canary=canary, stage=stage, champion=CHAMPION, candidate=CANDIDATE)
    return found


def test_a_key_counts_once_by_the_mean_of_its_requests():
    rows = [answer(f"r{n}", CANDIDATE, key="loud", error="boom") for n in range(90)]
    rows += [answer(f"q{n}", CANDIDATE, key=f"quiet{n}") for n in range(9)]
    rows += [answer("c", CHAMPION)]

    found = sampled(rows, "error_rate")

    assert (found.candidate.units, found.candidate.mean) == (10, pytest.approx(0.1))


def test_in_shadow_both_versions_are_paired_on_the_requests_that_both_saw():
    rows = [answer(f"r{n}", CHAMPION, key=f"k{n % 5}", missing=1) for n in range(20)]
    rows += [answer(f"r{n}", CANDIDATE, key=f"k{n % 5}", is_shadow=True, missing=3) for n in range(10)]
    rows += [answer("elsewhere", CANDIDATE, missing=50)]

    found = sampled(rows, "missing_rate", stage=SHADOW)

    assert (found.pairs.units, found.pairs.mean) == (5, pytest.approx(2.0))
    assert (found.candidate.mean, found.champion.mean) == (pytest.approx(3.0), pytest.approx(1.0))


def test_the_answer_of_a_champion_that_stands_in_is_not_one_of_its_own_keys():
    rows = [answer("r", CANDIDATE, error="boom", score=None), answer("r", CHAMPION), answer("s", CHAMPION)]

    found = sampled(rows, "error_rate")

    assert (found.candidate.mean, found.champion.units) == (1.0, 1)


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_an_answer_without_a_score_is_an_error(score):
    found = sampled([answer("r", CANDIDATE, score=score), answer("s", CHAMPION)], "error_rate")

    assert (found.candidate.mean, found.champion.mean) == (1.0, 0.0)


def test_latency_is_the_share_of_answers_slower_than_the_limit():
    rows = [answer(f"r{n}", CANDIDATE, latency_ms=latency) for n, latency in enumerate((10, 99, 101, 500))]
    rows += [answer("c", CHAMPION, latency_ms=None), answer("d", CHAMPION, latency_ms=1.0)]

    found = sampled(rows, "latency")

    assert (found.candidate.mean, found.champion.units, found.champion.mean) == (0.5, 1, 0.0)


def test_log_loss_is_that_of_scikit_learn_on_labelled_answers_bounded():
    chance = np.random.default_rng(1)
    scores, labels = chance.random(50), chance.integers(2, size=50).astype(float)
    rows = [answer(f"r{n}", CANDIDATE, score=scores[n], label=labels[n]) for n in range(50)]
    rows += [answer("none", CANDIDATE, score=0.9), answer("sure", CHAMPION, score=0.0, label=1.0)]

    found = sampled(rows, "log_loss")

    assert found.candidate.units == 50
    assert found.candidate.mean == pytest.approx(log_loss(labels, np.clip(scores, 0.001, 0.999)))
    assert found.champion.mean == pytest.approx(-np.log(0.001))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([answer("r", CANDIDATE, label=1.0)], "no answers of the champion that tell it"),
        ([answer("r", CHAMPION, label=1.0)], "no answers of the candidate that tell it"),
        ([answer("r", CANDIDATE, label=3.0), answer("s", CHAMPION, label=1.0)], "labels of two classes are 0 and 1"),
        ([answer("r", CANDIDATE, label=1.0, score=7.0), answer("s", CHAMPION, label=1.0)], "not probabilities"),
        ([], "no answers of the candidate that tell it"),
    ],
)
def test_a_loss_that_cannot_be_read_says_why(rows, words):
    assert words in sampled(rows, "log_loss").unread


def test_requests_of_one_key_are_not_evidence_of_their_own():
    """Each of 40 keys fails always or never: 50 requests a key make the same decision as one."""
    chance = np.random.default_rng(4)
    wrong = {"by key": 0, "by request": 0}
    for _ in range(60):
        rows = [
            answer(f"{version}-{key}-{n}", version, key=f"{version}-{key}", error="boom" if fails else None)
            for version in (CANDIDATE, CHAMPION)
            for key, fails in enumerate(chance.random(40) < 0.3)
            for n in range(50)
        ]
        for name, keyed in (("by key", rows), ("by request", [row | {"key": row["request"]} for row in rows])):
            read = rules.reading(sampled(keyed, "error_rate"), Canary(abort_on=("error_rate",), alpha=0.1))
            wrong[name] += read.is_worse

    assert wrong["by key"] / 60 <= 0.1
    assert wrong["by request"] / 60 > 0.2
