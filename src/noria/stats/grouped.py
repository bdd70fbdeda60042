"""Scores as functions of how often each group of rows counts, so that thousands of resamples cost little.

A `Grouped` score takes weights of shape (R, G), one line for each resample and one column for each group (a day, an
entity), and returns the R scores, shape (R,): NaN where a resample leaves a score undefined. Weights of one give the
score of the rows as they are. A mean needs two sums for each group. AUC is bilinear in the weights: with A[g, h] the
number of pairs (1 in group g, 0 in group h) in the right order, ties counting half, it is w'Aw / (w'p)(w'n), exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.stats import scores as row_scores
from noria.stats.vectors import Floats, Ints, group_codes, run_starts, some_numbers

_MATRIX_GROUPS = 1500
"""Up to here the matrix of group pairs is cheaper than weighing each row; measured for 20,000 rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grouped:
    """A score of rows that are resampled by whole groups."""

    groups: NDArray[np.generic]
    """The distinct groups in order, shape (G,)."""
    at: Callable[[Floats], Floats]
    """The scores at weights of shape (R, G): shape (R,)."""


def mean(values: ArrayLike, groups: ArrayLike) -> Grouped:
    """Group the mean of one value for each row: log loss, Brier, accuracy and MAE by `scores.*_of_rows`."""
    rows = some_numbers(values, "values")
    names, codes = group_codes(groups, rows.size)
    sums, sizes = _sums(rows, codes, size=names.size), _sums(np.ones_like(rows), codes, size=names.size)
    return Grouped(groups=names, at=lambda weights: _ratio(weights @ sums, weights @ sizes))


def log_loss(labels: ArrayLike, scores: ArrayLike, *, groups: ArrayLike) -> Grouped:
    """Group the log loss of rows."""
    return mean(row_scores.log_loss_of_rows(labels, scores), groups)


def brier(labels: ArrayLike, scores: ArrayLike, *, groups: ArrayLike) -> Grouped:
    """Group the Brier score of rows."""
    return mean(row_scores.brier_of_rows(labels, scores), groups)


def accuracy(labels: ArrayLike, scores: ArrayLike, *, groups: ArrayLike) -> Grouped:
    """Group the accuracy of rows at the threshold 0.5."""
    return mean(row_scores.accuracy_of_rows(labels, scores), groups)


def mae(values: ArrayLike, scores: ArrayLike, *, groups: ArrayLike) -> Grouped:
    """Group the mean absolute error of rows."""
    return mean(row_scores.absolute_error_of_rows(values, scores), groups)


def rmse(values: ArrayLike, scores: ArrayLike, *, groups: ArrayLike) -> Grouped:
    """Group the root of the mean squared error of rows."""
    squares = mean(row_scores.squared_error_of_rows(values, scores), groups)
    return Grouped(groups=squares.groups, at=lambda weights: np.sqrt(squares.at(weights)))


def auc(labels: ArrayLike, scores: ArrayLike, *, groups: ArrayLike) -> Grouped:
    """Group the area under the ROC curve of rows; pairs across groups count as well as pairs within."""
    truth, score = row_scores.two_class(labels, scores)
    names, codes = group_codes(groups, truth.size)
    at = _auc_by_pairs if names.size <= _MATRIX_GROUPS else _auc_by_rows
    return Grouped(groups=names, at=at(truth, score, codes=codes))


def _auc_by_pairs(truth: Floats, score: Floats, *, codes: Ints) -> Callable[[Floats], Floats]:
    """Count ordered pairs once for each pair of groups: memory G * G, a resample costs G * G."""
    size = int(codes.max()) + 1
    order = np.argsort(score, kind="stable")
    ones, zeros = order[truth[order] == 1], order[truth[order] == 0]
    by_group = zeros[np.argsort(codes[zeros], kind="stable")]
    ends = np.cumsum(np.bincount(codes[zeros], minlength=size))
    pairs = np.empty((size, size))
    for group, rivals in enumerate(np.split(score[by_group], ends[:-1])):
        below = rivals.searchsorted(score[ones], "left") + rivals.searchsorted(score[ones], "right")
        pairs[:, group] = _sums(below / 2, codes[ones], size=size)
    positives, negatives = _sums(truth, codes, size=size), _sums(1 - truth, codes, size=size)

    def at(weights: Floats) -> Floats:
        ordered = ((weights @ pairs) * weights).sum(axis=1)
        return _ratio(ordered, (weights @ positives) * (weights @ negatives))

    return at


def _auc_by_rows(truth: Floats, score: Floats, *, codes: Ints) -> Callable[[Floats], Floats]:
    """Weigh each row in the order of its score: a resample costs n."""
    order = np.argsort(score, kind="stable")
    in_order, ones = codes[order], truth[order]
    starts = run_starts(score[order])

    def ordered_and_all(weights: Floats) -> tuple[float, float]:
        rows = weights[in_order]
        positives = np.add.reduceat(rows * ones, starts)
        negatives = np.add.reduceat(rows * (1 - ones), starts)
        reached = np.cumsum(negatives)
        return float((positives * (reached - negatives / 2)).sum()), float(positives.sum() * reached[-1])

    def at(weights: Floats) -> Floats:
        found = np.array([ordered_and_all(resample) for resample in weights]).reshape(-1, 2)
        return _ratio(found[:, 0], found[:, 1])

    return at


def same_groups(first: Grouped, second: Grouped) -> bool:
    """Say whether two scores are over the same groups, so that one resample serves both."""
    return np.array_equal(first.groups, second.groups)


def _sums(values: Floats, codes: Ints, *, size: int) -> Floats:
    return np.bincount(codes, weights=values, minlength=size).astype(np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
