"""Laws of the scores: scikit-learn's values, and nothing unread is ever a score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from noria.core.errors import Invalid
from noria.stats import scores

TWO_CLASS = [scores.auc, scores.log_loss, scores.brier, scores.accuracy]


def rows(seed, *, size=200, levels=12):
    chance = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], chance.integers(2, size=size)])
    return labels, chance.integers(levels + 1, size=size + 2) / levels, chance.integers(1, 5, size=size + 2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.booleans())
def test_scores_of_two_classes_are_those_of_scikit_learn(seed, levels, weighted):
    labels, score, weight = rows(seed, levels=levels)
    weights = weight if weighted else None

    found = [function(labels, score, weights=weights) for function in TWO_CLASS]

    assert found == pytest.approx(
        [
            metrics.roc_auc_score(labels, score, sample_weight=weights),
            metrics.log_loss(labels, score, sample_weight=weights),
            metrics.brier_score_loss(labels, score, sample_weight=weights),
            metrics.accuracy_score(labels, score >= 0.5, sample_weight=weights),
        ],
        rel=1e-12,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_errors_of_values_are_those_of_scikit_learn(seed, weighted):
    values, score, weight = rows(seed)
    weights = weight if weighted else None

    assert scores.mae(values, score, weights=weights) == pytest.approx(
        metrics.mean_absolute_error(values, score, sample_weight=weights)
    )
    assert scores.rmse(values, score, weights=weights) == pytest.approx(
        metrics.root_mean_squared_error(values, score, sample_weight=weights)
    )


def test_a_whole_weight_counts_as_that_many_rows():
    labels, score, weight = rows(3)

    repeated = scores.auc(np.repeat(labels, weight), np.repeat(score, weight))

    assert scores.auc(labels, score, weights=weight) == pytest.approx(repeated)


def test_ties_count_half():
    assert scores.auc([0, 1, 1], [0.5, 0.5, 0.9]) == 0.75
    assert scores.auc([0, 1], [0.3, 0.3]) == 0.5


def test_a_sure_and_wrong_score_has_a_finite_loss():
    assert scores.log_loss([1, 0], [0.0, 1.0]) == pytest.approx(metrics.log_loss([1, 0], [0.0, 1.0]))


def test_truth_values_are_labels():
    assert scores.auc(np.array([False, True]), [0.1, 0.2]) == 1.0


def test_auc_of_one_class_is_no_score():
    with pytest.raises(Invalid, match="rows of both classes"):
        scores.auc([1, 1], [0.2, 0.3])
    with pytest.raises(Invalid, match="rows of both classes"):
        scores.auc([0, 1], [0.2, 0.3], weights=[1, 0])


@pytest.mark.parametrize("function", [*TWO_CLASS, scores.mae, scores.rmse])
def test_what_cannot_be_read_is_never_a_score(function):
    with pytest.raises(Invalid, match="labels hold NaN"):
        function([0, 1, np.nan], [0.1, 0.2, 0.3])
    with pytest.raises(Invalid, match="scores hold NaN or infinity"):
        function([0, 1, 1], [0.1, 0.2, np.inf])
    with pytest.raises(Invalid, match="labels are empty"):
        function([], [])
    with pytest.raises(Invalid, match="3 and 2 long"):
        function([0, 1, 1], [0.1, 0.2])
    with pytest.raises(Invalid, match="2 dimensions"):
        function([[0, 1]], [[0.1, 0.2]])
    with pytest.raises(Invalid, match="not numbers"):
        function(["late", "not"], [0.1, 0.2])
    with pytest.raises(Invalid, match="weights hold a negative"):
        function([0, 1], [0.1, 0.2], weights=[1, -1])
    with pytest.raises(Invalid, match="weights are zero"):
        function([0, 1], [0.1, 0.2], weights=[0, 0])


@pytest.mark.parametrize("function", TWO_CLASS)
def test_labels_of_two_classes_are_zero_and_one(function):
    with pytest.raises(Invalid, match="0 and 1"):
        function([0, 2], [0.1, 0.2])


@pytest.mark.parametrize("function", [scores.log_loss, scores.brier])
def test_a_score_beyond_one_is_not_a_probability(function):
    with pytest.raises(Invalid, match="not probabilities"):
        function([0, 1], [0.1, 1.2])
