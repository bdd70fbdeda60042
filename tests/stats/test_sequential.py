"""Laws of bounds that hold at every look: the defining integral, published numbers, and simulated looks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from noria.core.errors import Invalid
from noria.stats import sequential
from noria.stats.sequential import Sums, Sureness

LOOKS = 24
EVEN = {"low": Sureness(spread=0.1, alpha=0.05), "high": Sureness(spread=0.02, alpha=0.05)}


@given(st.floats(1e-7, 1e-2), st.floats(1e-3, 0.2), st.floats(1e-4, 0.4))
def test_at_the_boundary_the_mixture_of_likelihood_ratios_is_one_over_alpha(variance, spread, alpha):
    z = sequential.boundary(variance, spread=spread, alpha=alpha)

    estimate, share = z * math.sqrt(variance), variance / (variance + spread**2)
    peak, width, height = estimate * (1 - share), spread * math.sqrt(share), (1 - share) * z * z / 2

    def weighted(difference):
        exponent = (estimate * difference - difference**2 / 2) / variance - (difference / spread) ** 2 / 2
        return math.exp(exponent - height) * 2 / (spread * math.sqrt(2 * math.pi))

    parts = [max(0.0, peak - 10 * width), peak, peak + 10 * width]
    mixed = sum(integrate.quad(weighted, low, high, epsabs=0)[0] for low, high in itertools.pairwise(parts))
    assert math.log(mixed) + height == pytest.approx(-math.log(alpha), rel=1e-6)


@given(st.floats(1e-7, 1e-2), st.floats(1e-3, 0.2), st.floats(1e-4, 0.05))
def test_the_boundary_is_just_below_the_published_closed_form(variance, spread, alpha):
    """Howard et al. 2021: sqrt(2 (v + rho) log(sqrt((v + rho) / rho) / (2 alpha) + 1)), v = 1 / V, rho = 1 / spread^2."""
    z = sequential.boundary(variance, spread=spread, alpha=alpha)

    v, rho = 1 / variance, 1 / spread**2
    closed = math.sqrt(2 * (v + rho) * math.log(math.sqrt((v + rho) / rho) / (2 * alpha) + 1)) / math.sqrt(v)
    assert closed * 0.95 < z <= closed * (1 + 1e-9)


@pytest.mark.parametrize(("looks", "published"), [(1, 0.050), (2, 0.083), (5, 0.142), (10, 0.193), (20, 0.248)])
def test_a_test_of_fixed_size_cries_wolf_as_published_and_these_bounds_do_not(looks, published):
    """Armitage, McPherson and Rowe 1969, table 2: repeated two-sided tests at 5% on normal values."""
    values = np.random.default_rng(looks).normal(size=(20_000, looks))
    ends = np.arange(1, looks + 1)
    z = values.cumsum(axis=1) / np.sqrt(ends)

    fixed = (np.abs(z) > stats.norm.isf(0.025)).any(axis=1).mean()
    bar = [sequential.boundary(1 / end, spread=0.5, alpha=0.025) for end in ends]
    ours = (np.abs(z) > bar).any(axis=1).mean()

    assert fixed == pytest.approx(published, abs=0.012)
    assert ours <= 0.05


def ever_wrong(ours, theirs, truth, wanted):
    """Count rollouts in which a bound was wrong at any look; sums of shape (rollouts, looks), units per look."""
    low = high = 0
    for (x, n), (y, m) in zip(ours, theirs, strict=True):
        found = [
            sequential.bounds_of_two(
                Sums(units=int(n[k]), total=float(x[k]), squares=float(x[k])),
                Sums(units=int(m[k]), total=float(y[k]), squares=float(y[k])),
                **wanted,
            )
            for k in range(len(n))
        ]
        low += any(one.low > truth for one in found)
        high += any(one.high < truth for one in found)
    return low / len(ours), high / len(ours)


def watched(chance, rate, per_look, rollouts):
    events = chance.binomial(per_look, rate, size=(rollouts, LOOKS)).cumsum(axis=1)
    units = per_look * np.arange(1, LOOKS + 1)
    return [(row, units) for row in events]


@pytest.mark.parametrize(
    ("ours", "theirs", "sizes"),
    [
        (0.05, 0.05, (50, 950)),
        (0.07, 0.05, (50, 950)),
        (0.021, 0.001, (50, 950)),
        (0.0202, 0.0002, (100, 300)),
        (0.05, 0.05, (250, 50)),
        (0.002, 0.002, (20, 380)),
    ],
)
def test_no_bound_of_two_rates_is_ever_wrong_more_often_than_its_alpha(ours, theirs, sizes):
    chance = np.random.default_rng(11)
    rollouts = 1500
    wanted = {"low": Sureness(spread=0.1, alpha=0.0167), "high": Sureness(spread=0.02, alpha=0.0167)}

    low, high = ever_wrong(
        watched(chance, ours, sizes[0], rollouts), watched(chance, theirs, sizes[1], rollouts), ours - theirs, wanted
    )

    allowed = 0.0167 + 3 * math.sqrt(0.0167 / rollouts)
    assert low <= allowed
    assert high <= allowed


def test_no_bound_of_pairs_is_ever_wrong_more_often_than_its_alpha():
    chance = np.random.default_rng(5)
    rollouts, per_look = 1000, 60
    wrong = [0, 0]
    for _ in range(rollouts):
        skewed = chance.exponential(0.1, size=per_look * LOOKS) - 0.1
        looks = [sequential.sums(skewed[: per_look * (k + 1)]) for k in range(LOOKS)]
        found = [sequential.bounds_of_pairs(look, **EVEN) for look in looks]
        wrong[0] += any(one.low > 0 for one in found)
        wrong[1] += any(one.high < 0 for one in found)

    assert max(wrong) / rollouts <= 0.05


def test_a_worse_rate_is_found_and_the_bounds_close_in_on_the_truth():
    chance = np.random.default_rng(2)
    ours, theirs = (chance.random(size) < rate for size, rate in ((4000, 0.08), (4000, 0.05)))

    found = sequential.bounds_of_two(sequential.sums(ours), sequential.sums(theirs), **EVEN)

    assert 0 < found.low < 0.03 < found.high < 0.06
    assert found.estimate == pytest.approx(ours.mean() - theirs.mean())


def test_a_lucky_streak_without_events_is_no_proof():
    few, many = Sums(units=150), Sums(units=3000, total=3, squares=3)

    found = sequential.bounds_of_two(few, many, **EVEN)

    assert found.high > 0.02


def test_no_units_show_nothing():
    found = sequential.bounds_of_two(Sums(), Sums(), **EVEN)

    assert found.low < -1
    assert found.high > 1
    assert math.isnan(found.estimate)


def test_the_sums_are_the_mean_and_its_variance():
    values = np.random.default_rng(3).normal(2, 3, size=50)

    found = sequential.sums(values)

    assert found.mean == pytest.approx(values.mean())
    assert found.variance_of_mean == pytest.approx(values.var(ddof=1) / 50)
    assert found.padded(1.0, 4.0).mean == pytest.approx(np.append(values, [1, 4]).mean())
    assert Sums(units=1, total=1, squares=1).variance_of_mean == math.inf


@pytest.mark.parametrize("wrong", [{"alpha": 0.5}, {"spread": 0.0}, {"variance": 0.0}, {"variance": math.nan}])
def test_a_bound_that_cannot_be_meant_is_refused(wrong):
    told = {"variance": 0.01, "spread": 0.1, "alpha": 0.05} | wrong

    with pytest.raises(Invalid):
        sequential.boundary(told.pop("variance"), **told)
