"""Laws of DeLong's covariance: the brute-force sums, and the bootstrap of single rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.core.errors import Invalid
from noria.stats import bootstrap, delong, grouped, scores


def brute_force(labels, rivals):
    """The definition: every pair of a 1 and a 0, then sample covariances of the two kinds of means."""
    ones, zeros = labels == 1, labels == 0
    kernels = []
    for score in rivals:
        apart = score[ones][:, None] - score[zeros][None, :]
        kernels.append((apart > 0) + 0.5 * (apart == 0))
    of_ones = np.array([kernel.mean(axis=1) for kernel in kernels])
    of_zeros = np.array([kernel.mean(axis=0) for kernel in kernels])
    covariance = np.cov(of_ones) / ones.sum() + np.cov(of_zeros) / zeros.sum()
    return np.array([kernel.mean() for kernel in kernels]), covariance


def rows(seed, *, size=120, decimals=1):
    chance = np.random.default_rng(seed)
    labels = np.concatenate([[0, 0, 1, 1], chance.integers(2, size=size)])
    shared = labels + chance.standard_normal(labels.size)
    return labels, [np.round(shared + noise * chance.standard_normal(labels.size), decimals) for noise in (0.5, 0.8, 1)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_midranks_give_what_brute_force_gives(seed, decimals):
    labels, rivals = rows(seed, decimals=decimals)

    found = delong.areas(labels, rivals)

    aucs, covariance = brute_force(labels, rivals)
    np.testing.assert_allclose(found.aucs, aucs, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9, atol=1e-15)


def test_a_single_rival_has_a_covariance_of_one_by_one():
    labels, rivals = rows(1)

    found = delong.areas(labels, rivals[:1])

    assert found.covariance.shape == (1, 1)
    assert found.aucs[0] == pytest.approx(scores.auc(labels, rivals[0]))


def test_the_interval_of_a_difference_is_that_of_resampling_single_rows():
    labels, rivals = rows(4, size=1500, decimals=3)
    each = np.arange(labels.size)

    found = delong.paired_difference(labels, first=rivals[0], second=rivals[2])

    pair = grouped.auc(labels, rivals[0], groups=each), grouped.auc(labels, rivals[2], groups=each)
    resampled = bootstrap.paired_difference(*pair, chance=np.random.default_rng(1))
    assert found.estimate == pytest.approx(resampled.estimate)
    assert found.standard_error == pytest.approx(resampled.standard_error, rel=0.06)
    assert (found.low, found.high) == pytest.approx((resampled.low, resampled.high), abs=2e-3)


def test_a_rival_does_not_differ_from_itself():
    labels, rivals = rows(2)

    found = delong.paired_difference(labels, first=rivals[0], second=rivals[0])

    assert (found.estimate, found.standard_error) == (0, 0)


def test_one_row_of_a_class_shows_no_spread():
    with pytest.raises(Invalid, match="1 rows of class 1 and 2 of class 0"):
        delong.areas([0, 0, 1], [[0.1, 0.2, 0.3]])
