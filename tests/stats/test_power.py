"""Laws of power: the closed form, what a simulation shows, and no promise where no number of units would do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from noria.core.errors import Invalid
from noria.stats import mcnemar, power


@given(st.floats(1e-4, 1), st.floats(0, 1), st.floats(-1, 1), st.floats(0.001, 0.5))
def test_power_is_the_closed_form(error, margin, difference, alpha):
    found = power.power(standard_error=error, margin=margin, difference=difference, alpha=alpha)

    bar = stats.norm.isf(alpha) * error - margin
    assert found == pytest.approx(stats.norm.sf(bar, loc=difference, scale=error), abs=1e-9)


def test_power_at_the_margin_is_alpha():
    assert power.power(standard_error=0.01, margin=0.005, difference=-0.005) == pytest.approx(0.05)
    assert power.power(standard_error=0.01, alpha=0.025) == pytest.approx(0.025)


def test_power_is_what_a_simulation_shows():
    found = np.random.default_rng(1).normal(0.002, 0.003, size=200_000)

    shown = (found - stats.norm.isf(0.05) * 0.003 > -0.005).mean()

    assert power.power(standard_error=0.003, margin=0.005, difference=0.002) == pytest.approx(shown, abs=0.004)


@given(st.floats(1e-3, 1), st.integers(2, 10_000), st.floats(1e-3, 1), st.floats(0.01, 0.2), st.floats(0.5, 0.99))
def test_units_needed_are_the_fewest_that_reach_the_power(error, units, margin, alpha, wanted):
    needed = power.units_needed(standard_error=error, units=units, margin=margin, alpha=alpha, power=wanted)

    def reached(number):
        return power.power(standard_error=error * math.sqrt(units / number), margin=margin, alpha=alpha)

    assert reached(needed) >= wanted - 1e-9
    assert needed == 1 or reached(needed - 1) <= wanted + 1e-9


def test_the_textbook_number_comes_out():
    """(1.645 + 0.842)**2 * (10 / 5)**2 = 24.7."""
    assert power.units_needed(standard_error=1.0, units=100, margin=5.0) == 25


def test_no_number_of_units_shows_what_is_not_so():
    assert power.units_needed(standard_error=0.01, units=100) is None
    assert power.units_needed(standard_error=0.01, units=100, margin=0.005, difference=-0.005) is None


def test_a_chance_below_alpha_needs_one_unit():
    assert power.units_needed(standard_error=0.01, units=100, margin=0.005, power=0.04) == 1


@pytest.mark.parametrize("error", [0.0, -1.0, math.nan, math.inf])
def test_a_standard_error_that_cannot_be_read_has_no_power(error):
    with pytest.raises(Invalid, match="standard error"):
        power.power(standard_error=error)
    with pytest.raises(Invalid, match="standard error"):
        power.units_needed(standard_error=error, units=3, margin=0.1)


def test_what_lies_outside_its_range_is_refused():
    with pytest.raises(Invalid, match="between 0 and 1"):
        power.power(standard_error=0.1, alpha=1.0)
    with pytest.raises(Invalid, match="margin of -1"):
        power.power(standard_error=0.1, margin=-1)
    with pytest.raises(Invalid, match="0 units"):
        power.units_needed(standard_error=0.1, units=0, margin=0.1)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_exact_binomial_test(first, second):
    found = mcnemar.exact(only_first=first, only_second=second)

    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found == pytest.approx(expected)


def test_a_negative_number_of_rows_is_refused():
    with pytest.raises(Invalid, match="negative"):
        mcnemar.exact(only_first=-1, only_second=2)
