"""Laws of the grouped bootstrap: exact replicates, the same interval from the same chance, and honest coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from noria.core.errors import Invalid, NotFound
from noria.stats import bootstrap, grouped, scores

SCORES = ["auc", "log_loss", "brier", "accuracy", "mae", "rmse"]


def chance(seed=7):
    return np.random.default_rng(seed)


def rows(seed, *, groups, per_group=30):
    """Rows of two equally good rivals, which share a day's mood: (labels, ours, theirs, days)."""
    rng = chance(seed)
    days = np.repeat(np.arange(groups), rng.integers(per_group // 2, per_group * 2, size=groups))
    hidden = rng.standard_normal(days.size)
    labels = (rng.random(days.size) < 1 / (1 + np.exp(0.5 - hidden))).astype(int)

    def rival():
        noisy = hidden + 0.5 * rng.standard_normal(days.size) + 0.4 * rng.standard_normal(groups)[days]
        return np.round(1 / (1 + np.exp(-0.8 * noisy)), 2)

    return labels, rival(), rival(), days


@pytest.mark.parametrize("name", SCORES)
def test_weights_of_one_give_the_score_of_the_rows(name):
    labels, ours, _, days = rows(1, groups=9)

    found = getattr(grouped, name)(labels, ours, groups=days).at(np.ones((2, 9)))

    assert found == pytest.approx([getattr(scores, name)(labels, ours)] * 2)


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_replicate_is_the_score_of_the_rows_repeated_as_their_groups_are(name, seed):
    labels, ours, _, days = rows(seed, groups=6)
    weights = chance(seed).multinomial(6, [1 / 6] * 6, size=3)

    found = getattr(grouped, name)(labels, ours, groups=days).at(weights.astype(float))

    for weight, replicate in zip(weights, found, strict=True):
        repeated = np.repeat(np.arange(days.size), weight[days])
        assert replicate == pytest.approx(getattr(scores, name)(labels[repeated], ours[repeated]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), groups=st.integers(1, 40))
def test_auc_by_pairs_of_groups_and_auc_by_rows_are_the_same(seed, groups):
    labels, ours, _, days = rows(seed, groups=groups)
    weights = chance(seed).poisson(1.0, size=(5, groups)).astype(float)

    by_pairs = grouped._auc_by_pairs(labels.astype(float), ours, codes=days)(weights)
    by_rows = grouped._auc_by_rows(labels.astype(float), ours, codes=days)(weights)

    np.testing.assert_allclose(by_pairs, by_rows, rtol=1e-12)


def test_groups_may_be_any_values_that_can_be_ordered():
    labels, ours, _, days = rows(1, groups=9)
    named = np.array([f"2026-01-0{day + 1}" for day in days], dtype="datetime64[D]")

    by_number = bootstrap.interval(grouped.auc(labels, ours, groups=days), chance=chance())
    by_day = bootstrap.interval(grouped.auc(labels, ours, groups=named), chance=chance())

    assert by_number == by_day


def test_the_same_chance_gives_the_same_interval():
    labels, ours, theirs, days = rows(2, groups=300, per_group=4)
    pair = grouped.auc(labels, ours, groups=days), grouped.auc(labels, theirs, groups=days)

    first = bootstrap.paired_difference(*pair, chance=chance(3))

    assert bootstrap.paired_difference(*pair, chance=chance(3)) == first
    assert bootstrap.paired_difference(*pair, chance=chance(4)) != first


def test_drawing_in_portions_changes_nothing_but_memory(monkeypatch):
    labels, ours, _, days = rows(2, groups=20)
    monkeypatch.setattr(bootstrap, "_CELLS", 20 * 7)

    found = bootstrap.interval(grouped.auc(labels, ours, groups=days), chance=chance(), resamples=100)

    assert found.low < found.estimate < found.high


def test_the_interval_of_a_mean_of_blocks_is_students():
    weeks = chance(5).normal(0.7, 0.02, size=12)

    found = bootstrap.mean_of_blocks(weeks, chance=chance(), resamples=40_000)

    expected = stats.t.interval(0.95, 11, loc=weeks.mean(), scale=stats.sem(weeks))
    assert found.estimate == pytest.approx(weeks.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=4e-4)
    assert found.standard_error == pytest.approx(stats.sem(weeks), rel=0.02)
    assert found.units == 12


def test_the_difference_of_other_rows_is_welchs():
    ours, theirs = chance(5).normal(0.7, 0.02, size=9), chance(6).normal(0.68, 0.06, size=15)
    sides = [grouped.mean(side, np.arange(side.size)) for side in (ours, theirs)]

    found = bootstrap.unpaired_difference(*sides, chance=chance(), tail=0.05, resamples=40_000)

    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.90)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=6e-4)


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    labels, ours, theirs, days = rows(8, groups=30)
    pair = grouped.auc(labels, ours, groups=days), grouped.auc(labels, theirs, groups=days)

    paired = bootstrap.paired_difference(*pair, chance=chance())
    unpaired = bootstrap.unpaired_difference(*pair, chance=chance())

    assert paired.estimate == pytest.approx(unpaired.estimate)
    assert paired.standard_error < unpaired.standard_error


def test_paired_blocks_are_their_differences():
    ours, theirs = chance(1).normal(size=8), chance(2).normal(size=8)

    found = bootstrap.paired_difference_of_blocks(ours, theirs, chance=chance())

    assert found == bootstrap.mean_of_blocks(ours - theirs, chance=chance())


def test_equal_rivals_differ_by_nothing_at_all():
    labels, ours, _, days = rows(8, groups=7)
    score = grouped.auc(labels, ours, groups=days)

    found = bootstrap.paired_difference(score, score, chance=chance())

    assert (found.estimate, found.low, found.high, found.standard_error) == (0, 0, 0, 0)


@pytest.mark.parametrize("groups", [7, 14])
@pytest.mark.parametrize("name", ["auc", "log_loss"])
def test_few_groups_keep_their_one_sided_chance_of_error(name, groups):
    """With tail=0.05 each side misses the truth (0: the rivals are alike) 3 to 7.5% of the time; 1000 tries, s.e. 0.7%."""
    tries, low, high = 1000, 0, 0
    score = getattr(grouped, name)
    for seed in range(tries):
        labels, ours, theirs, days = rows(seed, groups=groups)
        found = bootstrap.paired_difference(
            score(labels, ours, groups=days),
            score(labels, theirs, groups=days),
            chance=chance(10_000 + seed),
            tail=0.05,
            resamples=300,
        )
        low, high = low + (found.low > 0), high + (found.high < 0)

    assert 0.030 < low / tries < 0.075
    assert 0.030 < high / tries < 0.075


def test_percentiles_of_few_groups_are_too_narrow_and_expanding_mends_it():
    misses = dict.fromkeys(("t", "expanded", "percentile"), 0)
    for seed in range(1000):
        weeks = chance(seed).standard_normal(7)
        for method in misses:
            found = bootstrap.mean_of_blocks(
                weeks, chance=chance(10_000 + seed), tail=0.05, resamples=300, method=method
            )
            misses[method] += (found.low > 0) + (found.high < 0)

    shares = {method: count / 2000 for method, count in misses.items()}
    assert 0.035 < shares["t"] < 0.065
    assert shares["expanded"] < 0.075
    assert shares["percentile"] > 0.07


def test_one_group_shows_no_spread():
    with pytest.raises(Invalid, match="one group shows no spread"):
        bootstrap.mean_of_blocks([0.7], chance=chance())


def test_scores_over_other_groups_are_not_compared():
    first, second = grouped.mean([1, 2, 3], ["a", "b", "c"]), grouped.mean([1, 2, 3], ["a", "b", "d"])

    with pytest.raises(Invalid, match="not over the same groups"):
        bootstrap.paired_difference(first, second, chance=chance())


def test_resamples_without_both_classes_are_left_out_until_they_are_too_many():
    labels, ours, days = np.array([1, 0, 0, 0, 0, 0]), np.linspace(0, 1, 6), np.array([0, 0, 1, 1, 2, 2])

    with pytest.raises(Invalid, match="resamples have no score"):
        bootstrap.interval(grouped.auc(labels, ours, groups=days), chance=chance())


def test_a_score_that_is_not_defined_on_the_rows_is_refused():
    with pytest.raises(Invalid, match="not defined"):
        bootstrap.interval(grouped.auc([1, 1], [0.2, 0.3], groups=[0, 1]), chance=chance())


def test_groups_that_do_not_fit_and_resamples_that_show_nothing_are_refused():
    with pytest.raises(Invalid, match=r"groups have the shape \(2,\)"):
        grouped.mean([1, 2, 3], [0, 1])
    with pytest.raises(Invalid, match="0 resamples"):
        bootstrap.mean_of_blocks([1, 2], chance=chance(), resamples=0)
    with pytest.raises(Invalid, match="between 0 and 1"):
        bootstrap.mean_of_blocks([1, 2], chance=chance(), tail=0.0)


def test_a_method_that_is_not_there_is_named():
    with pytest.raises(NotFound, match="no method named 'studentised'"):
        bootstrap.mean_of_blocks([1, 2], chance=chance(), method="studentised")
