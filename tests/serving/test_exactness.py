"""Laws of values on their way: what was scored is what lands, each record by itself, whoever came with it."""

import json
from datetime import timedelta

import msgspec
import polars as pl
import pytest
from clicks import CLICKS, HOUR, START, asides, ask, land, opened, rows_of, tell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noria.core.errors import BadData
from noria.serving import asking, rules
from noria.serving.model import Feedback, Prediction

VALUES = [0, 1, 17.0, 17.5, -0.5, 2**53, 2**53 + 1, 2**63, 1e30, True, "5", "later", None]
LABELS = [0, 1, 0.0, 1.0, True, False, 0.2, 7, -1, 2**63, "later", "0"]


def logged(home, number, value, label):
    """Log a prediction and its feedback as an older gateway may have, which held nothing against the dataset."""
    at, request = START + timedelta(minutes=number), f"q{number:03d}"
    endpoint = home.endpoints.get(home.context, "clicks")
    row = {"id": f"k{number % 3}", "x": value, "y": 0.5, "z": value}
    prediction = rules.stamped(endpoint, request)
    record = Prediction(
        request=request, prediction=prediction, key="k", row_key=row["id"], at=at, version=1, score=0.5, latency_ms=1.0,
        row=msgspec.Raw(json.dumps(row).encode()),
    )  # fmt: skip
    home.log.predicted(home.context.project, "clicks", [record])
    told = Feedback(label=label, at=at, prediction=prediction)
    home.log.told(home.context.project, "clicks", [told])


def landed_in(folder, records, cuts, before):
    """Return what is in the dataset and what was put aside when the log lands after each of the cuts."""
    with opened(folder) as home:
        home.clock.advance_to(START + 24 * HOUR)
        if before:
            z = pl.Series([None], dtype=pl.Null) if before == "unknown" else pl.Series([before])
            home.push(CLICKS, rows_of(1).with_columns(x=pl.lit(before if before != "unknown" else 1), z=z))
        for number, (value, label) in enumerate(records):
            logged(home, number, value, label)
            if number in cuts:
                land(home)
        land(home)
        try:
            rows = home.read("clicks").sort("at").to_dicts()
        except Exception:
            rows = []
        waiting = home.landings._landing(home.context, home.endpoints.get(home.context, "clicks")).waiting
        return rows, sorted(asides(home)), sorted(one["prediction"].split(".")[1] for one in waiting)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(LABELS)), min_size=1, max_size=6),
    cuts=st.sets(st.integers(0, 5)),
    before=st.sampled_from([1, 2**53 + 1, 0.5, "unknown", None]),
)
def test_any_partition_of_records_lands_the_same_rows_and_puts_the_same_aside(tmp_path_factory, records, cuts, before):
    together, apart = (landed_in(tmp_path_factory.mktemp("home"), records, chosen, before) for chosen in (set(), cuts))

    assert apart == together


def test_a_row_that_lands_has_the_values_that_were_scored_and_the_others_are_put_aside(tmp_path):
    rows, put_aside, _ = landed_in(tmp_path, [(value, 1) for value in VALUES], set(), 1)

    kept = [row["x"] for row in rows if row["at"] > START or row["id"] != "c0"]
    assert kept == [0.0, 1.0, 17.0, 17.5, -0.5, 2.0**53, 2.0**63, 1e30, None]
    assert sum(kind == "row" for kind, _, _ in put_aside) == 4
    assert all("column 'x'" in reason for kind, _, reason in put_aside if kind == "row")


def test_a_text_among_labels_is_put_aside_and_the_others_land(tmp_path):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1, first=100).with_columns(bought=pl.lit(1)))
        ask(home, rows_of(4))
        for number, label in enumerate([0.0, 1.0, 1, 0.5]):
            tell(home, label=label, key=f"c{number}")

        land(home)

        found = home.read("clicks")
        assert found["bought"].to_list().count(None) == 1
        assert found["bought"].dtype == pl.Int64
        assert [key for _, key, _ in asides(home)] == ["c3"]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pl.lit("a").alias("x"), "column 'x' holds text"),
        (pl.lit(value=True).alias("x"), "column 'x' holds bool"),
        (pl.lit(2**53 + 1).alias("x"), "column 'x' of row 0: 9007199254740993 cannot be kept exactly"),
        (pl.lit(float("inf")).alias("x"), "column 'x' of row 0: inf is infinite"),
        (pl.lit(START.replace(tzinfo=None)).alias("at"), "column 'at' holds"),
        (pl.lit("2026-01-02T15:00:00Z").alias("at"), "column 'at' holds text"),
        (pl.lit(2**63 + 5, pl.UInt64).alias("k"), "column 'k' of row 0: 9223372036854775813 cannot be kept exactly"),
        (pl.lit(5).alias("id"), "column 'id' holds int"),
    ],
)
def test_rows_of_another_kind_are_refused_before_they_are_scored(tmp_path, column, words):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1, first=100).with_columns(k=pl.lit(1)))

        with pytest.raises(BadData, match=words):
            ask(home, rows_of(1).with_columns(pl.lit(1).alias("k")).with_columns(column))

        assert land(home).rows == 0


def test_fractions_widen_whole_numbers_and_what_is_missing_stays_so(tmp_path):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1, first=100).with_columns(k=pl.lit(1), w=pl.lit(0.5)))
        ask(home, rows_of(2).with_columns(k=pl.Series([2.0, 3.0]), w=pl.Series([float("nan"), 0.5])))
        land(home)
        assert home.read("clicks")["k"].dtype == pl.Int64

        ask(home, rows_of(1, first=7).with_columns(k=pl.lit(17.5), w=pl.lit(None)))
        land(home)

        found = home.read("clicks").sort("x")
        assert found["k"].to_list() == [2.0, 3.0, 17.5, 1.0]
        assert found["w"].to_list() == [None, 0.5, None, 0.5]


def test_fractions_do_not_widen_a_column_whose_numbers_would_become_others(tmp_path):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1, first=100).with_columns(k=pl.lit(2**53 + 1)))
        with pytest.raises(BadData, match="would run them together"):
            home.push(CLICKS, rows_of(1, first=101).with_columns(k=pl.lit(0.5)))
        ask(home, rows_of(1).with_columns(k=pl.lit(0.5)))

        assert land(home).aside == 1
        assert home.read("clicks")["k"].to_list() == [2**53 + 1]


def test_a_version_sees_each_row_in_the_same_type_whichever_rows_are_scored_with_it():
    inputs = {"k": "int", "at": "time", "t": "text"}
    rows = [
        {"k": 2**53 + 1, "at": "2026-01-02T15:00:00Z", "t": "a"},
        {"k": 0.5, "at": "2026-01-02T15:00:00.5+01:00"},
        {"k": 3.0, "at": None},
    ]

    groups = asking.alike(rows, inputs)
    frames = [asking.frame_of([rows[place] for place in places], inputs) for places in groups]

    assert groups == [[0, 2], [1]]
    assert [frame["k"].to_list() for frame in frames] == [[2**53 + 1, 3], [0.5]]
    assert [frame["k"].dtype for frame in frames] == [pl.Int64, pl.Float64]
    assert frames[1]["at"].to_list() == [START.replace(day=2, hour=14, microsecond=500_000)]
