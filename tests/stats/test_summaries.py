"""Laws of the mergeable summaries: true to within the error that they state, in whatever order they are merged."""

import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.core.digests import canonical_json
from noria.core.errors import Invalid
from noria.stats import distinct, heavy, moments, quantiles

COLUMN = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6)), max_size=120)
COLUMNS = st.lists(COLUMN, min_size=1, max_size=6)
TEXTS = st.lists(st.lists(st.sampled_from("abcdefghijklmno"), max_size=80), min_size=1, max_size=5)


def through_json(summary):
    return type(summary).from_plain(json.loads(canonical_json(summary.plain())))


def merged_by_pairs(module, parts):
    """Fold from the left, the order in which errors pile up most."""
    whole = parts[0]
    for part in parts[1:]:
        whole = module.merge([whole, part])
    return whole


def assert_true_to_its_error(summary, column):
    column = np.sort(np.asarray(column, dtype=float))
    assert summary.count == column.size
    if not column.size:
        return
    points = np.concatenate([column, np.nextafter(column, -np.inf), [-1e9, 1e9]])
    ranks = column.searchsorted(points, side="right")
    assert np.abs(summary.cdf(points) * column.size - ranks).max() <= summary.rank_error + 1e-6
    shares = np.linspace(0, 1, 23)
    found = summary.quantile(shares)
    assert (column.searchsorted(found, "left") <= shares * column.size + summary.rank_error + 1e-6).all()
    assert (column.searchsorted(found, "right") >= shares * column.size - summary.rank_error - 1e-6).all()
    assert set(found) <= set(column)


@settings(max_examples=150, deadline=None)
@given(COLUMNS, st.integers(2, 12))
def test_ranks_are_true_to_the_stated_error_in_any_order_of_merging(columns, size):
    parts = [quantiles.summarise(column, size=size) for column in columns]
    everything = [value for column in columns for value in column]

    for whole in (quantiles.merge(parts), quantiles.merge(parts[::-1]), merged_by_pairs(quantiles, parts)):
        assert len(whole.values) <= size
        assert_true_to_its_error(whole, everything)


@settings(max_examples=60, deadline=None)
@given(COLUMN.filter(len), st.lists(st.floats(0, 1), min_size=1))
def test_a_summary_with_room_for_all_is_exact(column, shares):
    summary = quantiles.summarise(column)

    assert summary.rank_error == 0
    np.testing.assert_array_equal(summary.quantile(shares), np.quantile(column, shares, method="inverted_cdf"))


def test_the_error_of_one_column_is_half_a_bin():
    summary = quantiles.summarise(np.random.default_rng(1).standard_normal(100_000))

    assert len(summary.values) <= 256
    assert summary.error <= 1 / 512 + 1e-5


def test_many_parts_merged_at_once_cost_one_bin():
    chance = np.random.default_rng(1)
    parts = [quantiles.summarise(chance.normal(part / 100, 1, size=700)) for part in range(365)]

    whole = quantiles.merge(parts)

    assert whole.error < 1 / 256
    assert merged_by_pairs(quantiles, parts).error > 10 * whole.error


def test_a_value_that_fills_a_bin_costs_no_error_of_its_own():
    column = np.r_[np.zeros(90_000), np.random.default_rng(1).uniform(-1, 1, size=10_000)]

    summary = quantiles.summarise(column)

    assert summary.rank_error < 400
    assert_true_to_its_error(summary, column)


@settings(max_examples=60, deadline=None)
@given(COLUMN, st.integers(2, 12))
def test_counts_say_the_same_as_repeated_values(column, size):
    often = Counter(column)

    counted = quantiles.summarise(list(often), list(often.values()), size=size)

    assert counted == quantiles.summarise(column, size=size)


def test_depths_count_rows_between_edges():
    summary = quantiles.summarise([1, 2, 2, 3, 5])

    assert summary.depths([1, 2, 4]).tolist() == pytest.approx([1, 2, 1, 1])


def test_the_ends_of_a_column_are_kept():
    parts = [quantiles.summarise(np.arange(start, start + 5000), size=8) for start in (0, 2500)]

    whole = quantiles.merge(parts)

    assert (whole.minimum, whole.maximum) == (0, 7499)
    assert whole.quantile([0, 1]).tolist() == [0, 7499]
    assert whole.cdf([-1, 7499]).tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(COLUMNS)
def test_moments_are_numpys_in_any_order_of_merging(columns):
    everything = np.array([value for column in columns for value in column])
    parts = [moments.summarise(column) for column in columns]

    for whole in (moments.merge(parts), moments.merge(parts[::-1]), merged_by_pairs(moments, parts)):
        assert whole.count == everything.size
        if everything.size:
            size = np.abs(everything).max()
            assert whole.mean == pytest.approx(everything.mean(), rel=1e-9, abs=1e-9 * size)
            assert whole.deviation() == pytest.approx(everything.std(), rel=1e-6, abs=1e-6 * size)
            assert (whole.minimum, whole.maximum) == (everything.min(), everything.max())


def test_moments_far_from_nought_keep_their_digits():
    column = 1e9 + np.array([4.0, 7.0, 13.0, 16.0])

    whole = moments.merge([moments.summarise(column[:1]), moments.summarise(column[1:])])

    assert whole.variance(ddof=1) == pytest.approx(30)


def test_too_few_numbers_have_no_variance():
    assert math.isnan(moments.Moments().variance())
    assert math.isnan(moments.summarise([1.0]).variance(ddof=1))


def test_moments_that_overflow_are_said_to_be_unknown():
    summary = moments.summarise([1e200, -1e200])

    assert summary.plain()["m2"] is None
    assert math.isnan(through_json(summary).variance())


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(1, 8))
def test_heavy_counts_are_true_to_the_stated_error_in_any_order_of_merging(columns, size):
    true = Counter(text for column in columns for text in column)
    often = [Counter(column) for column in columns]
    parts = [heavy.summarise(list(part), list(part.values()), size=size) for part in often]

    for whole in (heavy.merge(parts), heavy.merge(parts[::-1]), merged_by_pairs(heavy, parts)):
        kept = whole.counted()
        assert len(kept) <= size
        assert whole.count == true.total()
        assert whole.error <= true.total() / (size + 1)
        assert all(kept.get(text, 0) <= count <= kept.get(text, 0) + whole.error for text, count in true.items())


def test_few_items_are_counted_exactly_and_stand_in_order():
    summary = heavy.summarise(["UA", "AA", "DL", "B6"], [5, 9, 5, 0])

    assert summary.items == (("AA", 9), ("DL", 5), ("UA", 5))
    assert summary.error == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-100, 100)), min_size=1, max_size=5), st.integers(3, 40))
def test_distinct_values_merge_exactly(columns, size):
    everything = [value for column in columns for value in column]
    parts = [distinct.summarise(distinct.hashes_of_numbers(np.array(part, dtype=int)), size=size) for part in columns]

    at_once = distinct.summarise(distinct.hashes_of_numbers(np.array(everything, dtype=int)), size=size)

    assert distinct.merge(parts) == merged_by_pairs(distinct, parts[::-1]) == at_once
    if len(set(everything)) < size:
        assert at_once.count() == len(set(everything))


def test_a_value_that_comes_often_is_one_value():
    few = distinct.hashes_of_numbers(np.arange(10) % 5)

    assert distinct.summarise(np.repeat(few, 10_000), size=50).count() == 5
    assert distinct.summarise(np.r_[np.repeat(few, 10_000), distinct.hashes_of_numbers(np.arange(60))], size=50) == (
        distinct.summarise(distinct.hashes_of_numbers(np.arange(60)), size=50)
    )


@pytest.mark.parametrize("true", [2000, 50_000, 1_000_000])
def test_distinct_counts_are_true_to_three_standard_errors(true):
    numbers = distinct.summarise(distinct.hashes_of_numbers(np.arange(true)))

    assert numbers.standard_error() == pytest.approx(0.0313, abs=1e-4)
    assert numbers.count() == pytest.approx(true, rel=3 * numbers.standard_error())


def test_the_stated_error_of_distinct_counts_is_the_error():
    counts = [
        distinct.summarise(distinct.hashes_of_numbers(np.arange(start, start + 3000)), size=102).count()
        for start in range(0, 3_000_000, 6000)
    ]

    assert np.mean(counts) == pytest.approx(3000, rel=0.02)
    assert np.std(counts) / 3000 == pytest.approx(0.1, rel=0.15)


def test_texts_are_hashed_the_same_everywhere():
    hashes = distinct.hashes_of_texts(["", "AA", "Zürich"])

    assert [f"{value:016x}" for value in hashes.tolist()] == [
        "e4a6a0577479b2b4",
        "445150aafea91e9b",
        "707438faa779d508",
    ]
    assert distinct.summarise(distinct.hashes_of_texts(str(n) for n in range(50_000))).count() == pytest.approx(
        50_000, rel=0.1
    )


def test_numbers_are_hashed_the_same_everywhere():
    """The first is the first output of SplitMix64 seeded with 0."""
    assert [f"{value:016x}" for value in distinct.hashes_of_numbers([0, 1]).tolist()] == [
        "e220a8397b1dcdaf",
        "910a2dec89025cc1",
    ]
    zeros = distinct.hashes_of_numbers([0.0, -0.0])
    missing = distinct.hashes_of_numbers(np.array([np.nan, -np.nan]))
    assert zeros[0] == zeros[1]
    assert missing[0] == missing[1]


@pytest.mark.parametrize(
    "summary",
    [
        quantiles.summarise(np.linspace(0, 1, 1000)),
        quantiles.Quantiles(),
        moments.summarise([1.5, 2.5]),
        moments.Moments(),
        heavy.summarise(["AA", "Zürich"], [3, 4]),
        heavy.Heavy(),
        distinct.summarise(distinct.hashes_of_numbers(np.arange(5000))),
        distinct.Distinct(),
    ],
)
def test_every_summary_comes_back_from_json_as_it_was(summary):
    assert through_json(summary) == summary


@pytest.mark.parametrize("module", [quantiles, moments, heavy, distinct])
def test_merging_nothing_is_a_summary_of_nothing(module):
    empty = module.merge([])

    assert empty.count() == 0 if module is distinct else empty.count == 0
    assert module.merge([empty, empty]) == empty


def test_a_column_without_values_has_no_quantiles():
    with pytest.raises(Invalid, match="no values"):
        quantiles.Quantiles().quantile(0.5)
    with pytest.raises(Invalid, match="no values"):
        quantiles.Quantiles().cdf(0.5)


def test_what_cannot_be_summarised_is_refused():
    with pytest.raises(Invalid, match="NaN or infinity"):
        quantiles.summarise([1.0, math.nan])
    with pytest.raises(Invalid, match="NaN or infinity"):
        moments.summarise([1.0, math.inf])
    with pytest.raises(Invalid, match="from 0 to 1"):
        quantiles.summarise([1.0]).quantile(1.5)
    with pytest.raises(Invalid, match="1 values"):
        quantiles.summarise([1.0], size=1)
    with pytest.raises(Invalid, match="0 items"):
        heavy.summarise(["a"], [1], size=0)
    with pytest.raises(Invalid, match="given twice"):
        heavy.summarise(["a", "a"], [1, 2])
    with pytest.raises(Invalid, match="1 and 2 long"):
        heavy.summarise(["a"], [1, 2])
    with pytest.raises(Invalid, match="2 hashes"):
        distinct.summarise(distinct.hashes_of_numbers([1]), size=2)
    with pytest.raises(Invalid, match="int64, not uint64"):
        distinct.summarise(np.array([1, 2]))


def test_kept_values_ascend_and_stand_for_every_row():
    summary = quantiles.summarise(np.random.default_rng(3).integers(0, 1000, size=5000), size=20)

    assert all(first < second for first, second in pairwise(summary.values))
    assert sum(summary.counts) == 5000
