"""AUCs of rival scores on the same independent rows, with their variances and covariances, without resampling.

Source: DeLong, DeLong and Clarke-Pearson 1988, by the midranks of Sun and Xu 2014 (O(n log n)). Where rows share a day
or an entity these variances are too small: resample whole groups instead (`stats.bootstrap`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.core.errors import Invalid
from noria.stats import curves
from noria.stats.intervals import Interval
from noria.stats.scores import two_class
from noria.stats.vectors import Floats

_FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Areas:
    """AUCs of k rivals, shape (k,), and the covariance of their estimates, shape (k, k)."""

    aucs: Floats
    covariance: Floats
    rows: int


def areas(labels: ArrayLike, rivals: Sequence[ArrayLike]) -> Areas:
    """Return the AUCs of k rivals' scores, each of shape (n,), and their covariance; needs two rows of each class."""
    pairs = [two_class(labels, scores) for scores in rivals]
    truth = pairs[0][0] == 1
    ones, zeros = int(truth.sum()), int((~truth).sum())
    if min(ones, zeros) < _FEWEST:
        raise Invalid(
            f"{ones} rows of class 1 and {zeros} of class 0 show no spread", hint="there must be two of each at least"
        )
    shares = [_shares(truth, score) for _, score in pairs]
    of_ones, of_zeros = np.array([above for above, _ in shares]), np.array([below for _, below in shares])
    covariance = np.atleast_2d(np.cov(of_ones)) / ones + np.atleast_2d(np.cov(of_zeros)) / zeros
    return Areas(aucs=of_ones.mean(axis=1), covariance=covariance, rows=truth.size)


def paired_difference(labels: ArrayLike, *, first: ArrayLike, second: ArrayLike, tail: float = 0.025) -> Interval:
    """Return the normal interval of the first rival's AUC minus the second's, on the same rows."""
    found = areas(labels, [first, second])
    contrast = np.array([1.0, -1.0])
    error = float(np.sqrt(max(0.0, float(contrast @ found.covariance @ contrast))))
    estimate = float(contrast @ found.aucs)
    reach = curves.normal_point(1 - tail) * error
    return Interval(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        standard_error=error,
        tail=tail,
        units=found.rows,
    )


def _shares(truth: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Return the share of zeros below each 1, and the share of ones above each 0, ties counting half."""
    ones, zeros = score[truth], score[~truth]
    whole = _midranks(np.concatenate([ones, zeros]))
    below = (whole[: ones.size] - _midranks(ones)) / zeros.size
    above = 1 - (whole[ones.size :] - _midranks(zeros)) / ones.size
    return below, above


def _midranks(values: Floats) -> Floats:
    """Return each value's rank from 1, equal values sharing the mean of theirs."""
    _, places, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    return (ends - (sizes - 1) / 2)[places]
