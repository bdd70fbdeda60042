"""Laws of distances: scipy's values, no change is no distance, and every kind of change shows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from noria.core.errors import Invalid
from noria.stats import distances

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
COUNTS = st.integers(2, 12).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(0, 50), min_size=size, max_size=size).filter(any) for _ in "ab"])
)


def chance(seed=1):
    return np.random.default_rng(seed)


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_wasserstein_is_scipys(reference, current):
    assert distances.wasserstein(reference, current) == pytest.approx(
        wasserstein_distance(reference, current), rel=1e-9, abs=1e-9
    )


@settings(deadline=None)
@given(COUNTS)
def test_jensen_shannon_is_scipys(counts):
    assert distances.jensen_shannon(*counts) == pytest.approx(jensenshannon(*counts, base=2), abs=1e-7)


def test_jensen_shannon_goes_from_nought_to_one():
    assert distances.jensen_shannon([1, 2, 0], [2, 4, 0]) == 0
    assert distances.jensen_shannon([1, 2, 0], [0, 0, 5]) == pytest.approx(1)


def test_psi_of_counts_is_its_formula():
    before, after = (100.5 / 301, 200.5 / 301), (150.5 / 301, 150.5 / 301)

    expected = sum((new - old) * math.log(new / old) for old, new in zip(before, after, strict=True))

    assert distances.psi_of_counts([100, 200], [150, 150]) == pytest.approx(expected)


@settings(deadline=None)
@given(COUNTS)
def test_psi_is_never_negative_and_has_no_direction(counts):
    before, after = counts

    assert distances.psi_of_counts(before, after) >= 0
    assert distances.psi_of_counts(before, after) == pytest.approx(distances.psi_of_counts(after, before))
    assert distances.psi_of_counts(before, before) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("reference", "current"), [(1000, 300), (5000, 5000), (20_000, 700)])
def test_excess_lies_around_nought_where_nothing_has_moved(reference, current):
    rng = chance()

    pairs = [(rng.standard_normal(reference), rng.standard_normal(current)) for _ in range(300)]

    by_chance = 9 * (1 / reference + 1 / current)
    assert np.mean([distances.psi(*pair) for pair in pairs]) == pytest.approx(by_chance, rel=0.12)
    assert abs(np.mean([distances.psi_excess(*pair) for pair in pairs])) < 0.12 * by_chance


def test_excess_is_psi_less_its_mean_by_chance():
    reference, current = chance(1).normal(size=500), chance(2).normal(0.5, size=400)

    lost = distances.psi(reference, current) - distances.psi_excess(reference, current)

    assert lost == pytest.approx(9 * (1 / 500 + 1 / 400))


def test_a_half_deviation_of_shift_is_the_psi_of_theory():
    """The symmetric divergence of two normal curves is the squared shift, 0.25; ten bins lose a little of it."""
    reference, current = chance(1).normal(size=200_000), chance(2).normal(0.5, size=200_000)

    assert 0.22 < distances.psi(reference, current) < 0.25


def test_missing_values_are_a_bin_of_their_own():
    reference = np.r_[chance(1).normal(size=1000), np.full(10, np.nan)]
    current = np.r_[chance(2).normal(size=700), np.full(300, np.nan)]

    _, after = distances.binned(reference, current)

    assert after[-1] == 300
    assert distances.psi(reference, current) > 0.5
    assert distances.psi(np.full(50, np.nan), np.full(60, np.nan)) == 0


@pytest.mark.parametrize("moved", [-1.0, 1.0])
def test_moving_off_a_constant_shows_to_either_side(moved):
    constant = np.zeros(500)

    assert distances.psi(constant, np.zeros(400)) == 0
    assert distances.psi(constant, np.r_[np.zeros(200), np.full(200, moved)]) > 1


@pytest.mark.parametrize("moved", [-0.5, 0.5])
def test_a_value_that_fills_bins_has_one_of_its_own(moved):
    mostly_zero = np.r_[np.zeros(600), np.linspace(-1, 1, 400)]
    replaced = np.r_[np.full(600, moved), np.linspace(-1, 1, 400)]

    before, after = distances.binned(mostly_zero, replaced)

    assert 600 in before
    assert after[before == 600] == 0
    assert distances.psi(mostly_zero, replaced) > 1


def test_few_values_are_told_apart_each():
    reference, current = np.repeat([0, 1], [900, 100]), np.repeat([0, 1], [500, 500])

    before, after = distances.binned(reference, current)

    assert sorted(before[before > 0]) == [100, 900]
    assert sorted(after[after > 0]) == [500, 500]


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-5, 5), st.just(math.nan)), min_size=1), NUMBERS)
def test_every_row_falls_into_one_bin(reference, current):
    before, after = distances.binned(reference, current)

    assert (before.sum(), after.sum()) == (len(reference), len(current))


def test_infinity_falls_into_an_outer_bin():
    before, after = distances.binned([1, 2, 3, 4], [-math.inf, math.inf], bins=2)

    assert before.sum() == 4
    assert (after[0], after[-2]) == (1, 1)


def test_categories_that_are_new_or_gone_are_bins():
    before, after = distances.aligned({"AA": 50, "UA": 30}, {"UA": 40, "WN": 20})

    assert before.tolist() == [50, 30, 0, 0]
    assert after.tolist() == [0, 40, 20, 0]
    assert distances.psi_of_counts(before, after) > 1


def test_rare_categories_share_a_bin():
    before, after = distances.aligned({"AA": 50, "b": 1, "c": 2}, {"AA": 40, "d": 2, "c": 3})

    assert before.tolist() == [50, 2, 1]
    assert after.tolist() == [40, 3, 2]


def test_a_column_without_rows_has_no_distance():
    with pytest.raises(Invalid, match="without rows"):
        distances.psi([1.0, 2.0], [])
    with pytest.raises(Invalid, match="without rows"):
        distances.jensen_shannon([0, 0], [1, 2])
    with pytest.raises(Invalid, match="values are empty"):
        distances.wasserstein([], [1.0])


def test_counts_of_other_bins_and_a_single_bin_are_refused():
    with pytest.raises(Invalid, match="2 and 3 long"):
        distances.psi_of_counts([1, 2], [1, 2, 3])
    with pytest.raises(Invalid, match="1 bins"):
        distances.psi([1.0, 2.0], [1.0], bins=1)
    with pytest.raises(Invalid, match="negative count"):
        distances.psi_of_counts([1, -2], [1, 2])
