"""How good predictions are: AUC, log loss, Brier, accuracy, MAE and RMSE, by the definitions of scikit-learn.

Labels of two classes are 0 and 1; scores are the probability of 1 (AUC takes any numbers). All arrays have the shape
(n,), n > 0. NaN, infinity, another label or unequal lengths raise `Invalid`: what cannot be read is never a score.
The `*_of_rows` functions return one value for each row, whose mean is the score; intervals are made of those.
"""

import numpy as np
from numpy.typing import ArrayLike

from noria.core.errors import Invalid
from noria.stats.vectors import Floats, counts, of_equal_length, run_starts, some_numbers

_LEAST = float(np.finfo(np.float64).eps)


def auc(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the area under the ROC curve: the chance that a 1 scores above a 0, ties counting half.

    Source: Hanley and McNeil 1982. Without both classes (of positive weight) there is no such area: `Invalid`.
    """
    truth, score = two_class(labels, scores)
    weight = _weights(weights, truth)
    order = np.argsort(score, kind="stable")
    starts = run_starts(score[order])
    ones = np.add.reduceat((weight * truth)[order], starts)
    zeros = np.add.reduceat((weight * (1 - truth))[order], starts)
    pairs = ones.sum() * zeros.sum()
    if pairs <= 0:
        raise Invalid("AUC needs rows of both classes", hint="widen the slice or the window until it holds a 0 and a 1")
    return float((ones * (np.cumsum(zeros) - zeros / 2)).sum() / pairs)


def log_loss(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean negative log likelihood in nats; scores are kept 2.2e-16 away from 0 and 1."""
    return _mean(log_loss_of_rows(labels, scores), weights)


def brier(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean squared distance of a probability from its 0 or 1 (Brier 1950)."""
    return _mean(brier_of_rows(labels, scores), weights)


def accuracy(
    labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None, threshold: float = 0.5
) -> float:
    """Return the share of rows that fall on the right side of the threshold; at the threshold is a 1."""
    return _mean(accuracy_of_rows(labels, scores, threshold=threshold), weights)


def mae(values: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean absolute error, in the units of the values."""
    return _mean(absolute_error_of_rows(values, scores), weights)


def rmse(values: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the root of the mean squared error, in the units of the values."""
    return float(np.sqrt(_mean(squared_error_of_rows(values, scores), weights)))


def log_loss_of_rows(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Return each row's negative log likelihood in nats, shape (n,)."""
    truth, chance = _two_class_chances(labels, scores)
    kept = np.clip(chance, _LEAST, 1 - _LEAST)
    return -np.log(np.where(truth == 1, kept, 1 - kept))


def brier_of_rows(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Return each row's squared distance of its probability from its 0 or 1, shape (n,)."""
    truth, chance = _two_class_chances(labels, scores)
    return (chance - truth) ** 2


def accuracy_of_rows(labels: ArrayLike, scores: ArrayLike, *, threshold: float = 0.5) -> Floats:
    """Return 1.0 for each row on the right side of the threshold and 0.0 for the others, shape (n,)."""
    truth, score = two_class(labels, scores)
    return ((score >= threshold) == (truth == 1)).astype(np.float64)


def absolute_error_of_rows(values: ArrayLike, scores: ArrayLike) -> Floats:
    """Return each row's distance from its value, shape (n,)."""
    truth, score = _pair(values, scores)
    return np.abs(score - truth)


def squared_error_of_rows(values: ArrayLike, scores: ArrayLike) -> Floats:
    """Return each row's squared distance from its value, shape (n,)."""
    truth, score = _pair(values, scores)
    return (score - truth) ** 2


def two_class(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return labels, each 0.0 or 1.0, and their scores, both of shape (n,), or raise `Invalid`."""
    truth, score = _pair(labels, scores)
    if not ((truth == 0) | (truth == 1)).all():
        raise Invalid("labels of two classes are 0 and 1", hint="map the class you ask about to 1 and the other to 0")
    return truth, score


def _two_class_chances(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    truth, chance = two_class(labels, scores)
    if (chance < 0).any() or (chance > 1).any():
        raise Invalid("scores are not probabilities", hint="give the probability of class 1, from 0 to 1")
    return truth, chance


def _pair(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    truth, score = some_numbers(labels, "labels"), some_numbers(scores, "scores")
    of_equal_length(truth, score, names="labels and scores")
    return truth, score


def _weights(weights: ArrayLike | None, rows: Floats) -> Floats:
    if weights is None:
        return np.ones_like(rows)
    found = counts(weights, "weights")
    of_equal_length(rows, found, names="rows and weights")
    if found.sum() <= 0:
        raise Invalid("all weights are zero", hint="at least one row must count")
    return found


def _mean(rows: Floats, weights: ArrayLike | None) -> float:
    weight = _weights(weights, rows)
    return float((rows * weight).sum() / weight.sum())
