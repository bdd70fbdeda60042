"""Laws of drift's measures: each agrees with scipy or with a count by hand, and says nothing of what it cannot read."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.spatial import distance as spatial
from scipy.stats import wasserstein_distance

import noria as nr
from noria.core.errors import Invalid
from noria.monitors import rules
from noria.stats import distances

CHANCE = np.random.default_rng(3)
BEFORE = pl.DataFrame(
    {
        "x": CHANCE.normal(50.0, 4.0, 5_000),
        "still": CHANCE.normal(0.0, 1.0, 5_000),
        "site": CHANCE.choice(["north", "south"], 5_000),
    }
)
AFTER = pl.DataFrame(
    {
        "x": CHANCE.normal(54.0, 4.0, 3_000),
        "still": CHANCE.normal(0.0, 1.0, 3_000),
        "site": CHANCE.choice(["north", "south", "moon"], 3_000, p=[0.5, 0.4, 0.1]),
    }
)


def drift(measure, before=BEFORE, after=AFTER):
    reference = rules.reference_of(before, columns=before.columns, measure=measure)
    return rules.drift(reference, after)


def test_psi_is_that_of_the_most_drifted_column():
    found = drift("psi")

    assert (found.column, found.measure, found.rows) == ("x", "psi", 3_000)
    assert found.value == pytest.approx(distances.psi_excess(BEFORE["x"], AFTER["x"]))


def test_jensen_shannon_agrees_with_scipy_on_the_same_bins():
    found = drift("jensen_shannon")

    before, after = distances.binned(BEFORE["x"], AFTER["x"])
    assert found.column == "x"
    assert found.value == pytest.approx(spatial.jensenshannon(before, after, base=2))


def test_wasserstein_agrees_with_scipy_in_standard_deviations_and_leaves_texts_out():
    found = drift("wasserstein")

    exact = wasserstein_distance(BEFORE["x"], AFTER["x"])
    assert found.column == "x"
    assert found.value == pytest.approx(exact / BEFORE["x"].std(ddof=0))
    assert drift("wasserstein", BEFORE.select("site"), AFTER.select("site")) is None


def test_missing_is_how_much_more_is_missing_be_it_null_or_nan():
    before = pl.DataFrame({"x": [1.0, None, 2.0, 3.0], "t": ["a", "b", "c", "d"]})
    after = pl.DataFrame({"x": [math.nan, None, 1.0, None], "t": ["a", None, "b", "c"]})

    found = drift("missing", before, after)

    assert (found.column, found.value) == ("x", 0.5)
    assert drift("missing", before, after.select("t", x=pl.Series([1.0, 2.0, None, 4.0]))).column == "t"


def test_new_categories_are_the_share_of_rows_that_the_champion_has_not_met():
    found = drift("new_categories")

    assert found.column == "site"
    assert found.value == pytest.approx((AFTER["site"] == "moon").mean())
    assert drift("new_categories", BEFORE.select("x"), AFTER.select("x")) is None


@pytest.mark.parametrize("measure", ["psi", "jensen_shannon", "wasserstein", "missing", "new_categories"])
def test_no_rows_are_no_drift_and_columns_of_nothing_raise_nothing(measure):
    nothing = pl.DataFrame({"x": [None, None], "t": [None, None]}, schema={"x": pl.Float64, "t": pl.String})
    some = pl.DataFrame({"x": [1.0, 2.0], "t": ["a", "b"]})

    assert drift(measure, after=BEFORE.head(0)) is None
    for before, after in ((nothing, some), (some, nothing), (nothing, nothing)):
        found = drift(measure, before, after)
        assert found is None or not math.isnan(found.value)


def test_a_constant_that_moves_is_measured_in_its_own_units():
    constant = pl.DataFrame({"x": [1.0, 1.0]})

    assert drift("wasserstein", constant, constant).value == 0.0
    assert drift("wasserstein", constant, pl.DataFrame({"x": [4.0]})).value == 3.0


def test_a_trigger_has_one_known_measure_and_a_bar():
    assert nr.drift().words() == "drift over 0.2 PSI"
    assert nr.drift(missing=0.1).words() == "drift over 0.1 more of the values missing"
    with pytest.raises(Invalid, match="there is no measure of drift 'missin'") as caught:
        nr.drift(missin=0.1)
    assert "missing" in caught.value.hint
    with pytest.raises(Invalid, match="one measure"):
        nr.drift(psi=0.1, missing=0.1)
    with pytest.raises(Invalid, match="no bar"):
        nr.drift(psi=0)
