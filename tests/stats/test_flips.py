"""Laws of flips: the estimate is the likelihood's highest point, shifts are no flips, clean labels stay under alpha."""

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from noria.core.errors import Invalid
from noria.stats import flips


def drawn(seed, rows, *, share=0.0, shift=0.0):
    """Draw scores and labels, of which a share is flipped; the base rate has moved by `shift` in log odds."""
    chance = np.random.default_rng(seed)
    scores = expit(chance.normal(-1.0, 1.0, rows))
    labels = (chance.random(rows) < expit(logit(scores) + shift)).astype(float)
    flipped = chance.random(rows) < share
    return np.where(flipped, 1 - labels, labels), scores


def judged(seed, rows, *, least=0.15, **how):
    labels, scores = drawn(seed, rows, **how)
    return flips.estimate(labels, logit(scores), least=least)


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5, 1.0])
def test_the_share_of_flips_is_found(share):
    found = judged(1, 4000, share=share)

    assert found.share == pytest.approx(share, abs=0.05)
    assert found.p_value < 1e-3


def test_the_estimate_is_where_a_general_optimiser_finds_the_highest_likelihood():
    labels, scores = drawn(2, 2000, share=0.3, shift=0.5)
    z = logit(scores)

    def loss(at):
        share, shift = at
        told = share + (1 - 2 * share) * expit(shift + z)
        return -np.sum(stats.bernoulli.logpmf(labels.astype(int), told))

    best = optimize.minimize(loss, (0.2, 0.0), bounds=((0.0, 1.0), (-6, 6)), method="L-BFGS-B")
    found = flips.estimate(labels, z, least=0.15)

    assert found.share == pytest.approx(best.x[0], abs=2e-3)
    at_least = min(loss((0.15, shift)) for shift in np.linspace(-3, 3, 2001))
    assert found.ratio == pytest.approx(2 * (at_least - best.fun), abs=0.02)
    assert found.p_value == pytest.approx(0.5 * stats.chi2.sf(found.ratio, 1))


@pytest.mark.parametrize("shift", [-2.0, -1.0, 1.0, 2.0])
def test_a_storm_that_moves_the_base_rate_is_no_flip(shift):
    assert judged(3, 4000, shift=shift).p_value > 0.5


def test_clean_labels_and_labels_with_little_noise_raise_false_alarms_less_often_than_alpha():
    clean = [judged(seed, 300, share=share).p_value for seed in range(120) for share in (0.0, 0.1)]
    at_the_bar = [judged(seed, 300, share=0.15).p_value for seed in range(150)]

    assert np.mean(np.array(clean) < 0.05) <= 0.02
    assert np.mean(np.array(at_the_bar) < 0.05) <= 0.09  # 0.05 and two standard errors of 150


def test_the_control_is_a_logistic_regression_with_a_base_rate_for_each_block():
    labels, scores = drawn(4, 3000)
    blocks = np.arange(3000) % 5
    columns = np.column_stack([np.eye(5)[blocks], logit(scores)])

    found = flips.control(labels, scores, blocks)

    reference = LogisticRegression(C=20, fit_intercept=False, tol=1e-8, max_iter=500).fit(columns, labels)
    assert found.slope == pytest.approx(reference.coef_[0][-1], abs=1e-3)
    assert [found.blocks[n] for n in range(5)] == pytest.approx(reference.coef_[0][:5].tolist(), abs=1e-3)


def test_a_block_of_one_class_stays_finite():
    found = flips.control(np.ones(40), np.full(40, 0.5), np.zeros(40, dtype=np.int64))

    assert np.isfinite([found.slope, found.blocks[0]]).all()


@pytest.mark.parametrize("labels", [[], [0.0, 2.0], [0.0, float("nan")]])
def test_what_cannot_be_read_is_refused(labels):
    with pytest.raises(Invalid):
        flips.estimate(labels, np.zeros(len(labels)), least=0.15)


def test_scores_that_are_no_chances_are_refused():
    with pytest.raises(Invalid, match="no chances"):
        flips.control([0.0, 1.0], [0.2, 1.4], np.zeros(2, dtype=np.int64))
