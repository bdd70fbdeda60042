"""Laws of kinds: the same kind of value is stored in one way, exactly, whatever its width was in a push."""

import logging
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from test_datasets import HOUR, START, build

from noria.core.errors import BadData, Invalid
from noria.datasets import columns, kinds
from noria.datasets.model import Dataset

THINGS = Dataset("things", key="id", time="at")
LABELLED = Dataset("labelled", key="id", time="at", label="y")


@pytest.fixture
def datasets(database, blobs, clock, ids, ann):
    clock.advance_to(START + timedelta(days=30))
    return build(database, blobs, clock, ids, ann)


def thing(number, values, kind=None, frame=pl.DataFrame):
    keys = [f"{number}-{place}" for place in range(len(values))]
    column = pl.Series("x", values, kind) if frame is pl.DataFrame else pd.Series(values, dtype=kind)
    return frame({"id": keys, "at": [START + HOUR * number] * len(values), "x": column})


PUSHED_TWICE = [
    ([Decimal("1.10")], None, [Decimal("12345.678")], None),
    ([5], pl.Int64, [Decimal("0.5")], None),
    ([datetime(2026, 1, 1)], pl.Datetime("ns"), [datetime(2026, 1, 2)], pl.Datetime("ms")),
    ([timedelta(1)], pl.Duration("ms"), [timedelta(2)], pl.Duration("ns")),
    ([[1, 2]], pl.List(pl.Int32), [[3.5]], pl.List(pl.Float32)),
    ([[1, 2]], pl.Array(pl.Int64, 2), [[3]], pl.List(pl.Int8)),
    ([[]], None, [["a"]], None),
    ([{"a": 1}], None, [{"a": 2.5}], None),
    ([1], pl.UInt8, [2**62], pl.UInt64),
    ([1.5], pl.Float32, [0.1], pl.Float64),
    ([1], pl.Int64, [1.5], pl.Float64),
    (["a"], pl.Enum(["a"]), ["b"], pl.Categorical()),
    ([None], pl.Null, [Decimal("1.5")], None),
    ([None], pl.Null, [date(2026, 1, 1)], None),
    ([None], pl.Null, [[1]], None),
    ([None], pl.String, [1.5], None),
    ([time(1)], None, [None], None),
    ([b"a"], None, [b"b"], None),
]


@pytest.mark.parametrize(("first", "kind", "second", "other"), PUSHED_TWICE)
def test_the_same_kind_of_value_goes_in_again_whatever_its_width(datasets, ann, first, kind, second, other):
    datasets.commit(ann, THINGS, thing(0, first, kind), source="one")
    datasets.commit(ann, THINGS, thing(1, second, other), source="two")

    assert datasets.read(ann, "things")["x"].to_list() == [*first, *second]
    assert datasets.profile(ann, "things").column("x").rows == 2


@pytest.mark.parametrize(
    ("first", "kind", "second", "other"),
    [
        ([1], None, ["a"], None),
        (["1"], None, [1], None),
        ([True], None, [1], None),
        ([1.5], None, [Decimal("0.1")], None),
        ([date(2026, 1, 1)], None, [datetime(2026, 1, 1)], None),
        ([{"a": 1}], None, [{"b": 1}], None),
        ([[1]], None, [["a"]], None),
        ([0.5], None, [2**53 + 1], None),
        ([2**53 + 1], None, [0.5], None),
        ([5], None, [float(2**60)], None),
        ([Decimal("0.1")], None, [Decimal("1" * 38)], None),
    ],
)
def test_what_the_column_cannot_hold_exactly_is_refused_and_nothing_is_committed(
    datasets, ann, first, kind, second, other
):
    datasets.commit(ann, THINGS, thing(0, first, kind), source="one")

    with pytest.raises(BadData, match="'x'"):
        datasets.commit(ann, THINGS, thing(1, second, other), source="two")

    assert datasets.read(ann, "things")["x"].to_list() == first


@pytest.mark.parametrize("kind", [pl.Datetime("ns"), pl.Datetime("ns", "UTC"), pl.Duration("ns")])
def test_nanoseconds_are_refused_and_never_cut(datasets, ann, kind):
    with pytest.raises(BadData, match="in row 2, which .* cannot hold exactly"):
        datasets.commit(ann, THINGS, thing(0, [1000, 1001], pl.Int64).cast({"x": kind}), source="one")


def test_ids_that_a_gap_has_made_into_fractions_are_refused(datasets, ann):
    with pytest.raises(BadData, match="last digits are lost") as refused:
        datasets.commit(ann, THINGS, thing(0, [float(2**60), None], "float64", pd.DataFrame), source="one")

    assert "Int64" in refused.value.hint
    datasets.commit(ann, THINGS, thing(0, [2**60 + 1, None], "Int64", pd.DataFrame), source="one")
    assert datasets.read(ann, "things")["x"].to_list() == [2**60 + 1, None]


@pytest.mark.parametrize("old", ["Decimal(precision=38, scale=2)", "Duration(time_unit='ns')", "List(Int32)", "Array(Float32, shape=(2, 3))", "Struct({'a b': List(Int64)})", "Enum(categories=['a'])"])  # fmt: skip
def test_kinds_are_read_back_as_the_types_that_they_are_stored_as(old):
    stored = kinds.type_of_kind(old)

    assert kinds.type_of_kind(columns.kind_of(stored)) == stored


ODD = {
    "objects": lambda: thing(0, [object()], "object", pd.DataFrame),
    "mixed types": lambda: thing(0, [1, "a"], "object", pd.DataFrame),
    "sets": lambda: thing(0, [{1}], "object", pd.DataFrame),
    "objects of many shapes": lambda: thing(0, [{"a": 1}, {"b": 1}], "object", pd.DataFrame),
    "complex numbers": lambda: thing(0, [1j], None, pd.DataFrame),
    "periods": lambda: thing(0, pd.period_range("2026-01", periods=1, freq="M"), None, pd.DataFrame),
    "intervals": lambda: thing(0, pd.interval_range(0, 1), None, pd.DataFrame),
    "two columns of one name": lambda: pd.DataFrame([["a", START, 1, 2]], columns=["id", "at", "x", "x"]),
    "names that are no texts": lambda: pd.DataFrame([["a", START, 1]], columns=["id", "at", 0]),
    "names of two levels": lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
    "maps": lambda: pa.table({"id": ["a"], "at": [START], "x": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}),
    "months": lambda: pa.table({"id": ["a"], "at": [START], "x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
    "a lazy frame that fails": lambda: thing(0, [1]).lazy().select("nothing"),
    "a type without fields": lambda: thing(0, [{}], pl.Struct({})),
    "dicts of two types": lambda: [{"id": "a", "at": START, "x": 1}, {"id": "b", "at": START, "x": "s"}],
    "dicts that would round": lambda: [{"id": "a", "at": START, "x": 2**53 + 1}, {"id": "b", "at": START, "x": 0.5}],
    "lists of lists": lambda: [[1, 2]],
    "no frame": lambda: None,
    "no rows": lambda: thing(0, []),
    "no columns": pl.DataFrame,
    **{f"a column {name!r}": lambda name=name: thing(0, [1]).rename({"x": name}) for name in ("*", "^x$", "", "noria_row_source")},
}  # fmt: skip


@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_odd_frames_are_refused_in_words(datasets, ann, make):
    with pytest.raises(BadData) as refused:
        datasets.commit(ann, THINGS, make(), source="odd")

    assert refused.value.hint


@pytest.mark.parametrize(
    "name", [" ", "a.b", "literal", "len", "count", "value", "key", "event", "known_at", "é\n", "x" * 3000]
)
def test_columns_may_have_any_other_name(datasets, ann, name):
    datasets.commit(ann, THINGS, thing(0, [1]).rename({"x": name}), source="one")

    assert datasets.read(ann, "things", columns=[name])[name].to_list() == [1]
    assert datasets.profile(ann, "things").column(name).rows == 1


def test_distinct_ids_of_64_bits_are_counted_one_by_one(datasets, ann):
    datasets.commit(ann, THINGS, thing(0, [2**60 + place for place in range(1000)]), source="one")

    assert datasets.profile(ann, "things").column("x").distinct.count() == 1000


# --- labels that come without known_at


def labelled(*numbers, **extra):
    at = [START + HOUR * number for number in numbers]
    return pl.DataFrame({"id": [f"k{n}" for n in numbers], "at": at, "y": [n % 2 == 0 for n in numbers], **extra})


def known(datasets, ann):
    return datasets.read(ann, "labelled")["known_at"].to_list()


def test_labels_of_history_pushed_first_are_known_at_their_events_and_it_is_said(datasets, ann, caplog):
    with caplog.at_level(logging.WARNING, "noria.datasets"):
        made = datasets.commit(ann, LABELLED, labelled(1, 2), source="history")

    assert known(datasets, ann) == [START + HOUR, START + 2 * HOUR]
    assert "known at its event" in made.notes[0]
    assert "known at its event" in caplog.text


def test_they_are_known_a_told_delay_after_their_events_but_no_later_than_they_arrived(datasets, ann, clock):
    datasets.commit(ann, LABELLED, labelled(1, 24 * 29), source="history", label_delay="7d")

    assert known(datasets, ann) == [START + HOUR + timedelta(days=7), clock.now()]
    with pytest.raises(Invalid):
        datasets.commit(ann, LABELLED, labelled(3), source="more", label_delay=timedelta(-1))


def test_labels_of_later_pushes_are_known_when_they_arrived_and_it_is_said_what_that_hides(datasets, ann, clock):
    datasets.commit(ann, LABELLED, labelled(1), source="history")
    made = datasets.commit(ann, LABELLED, labelled(2), source="more")
    told = datasets.commit(ann, LABELLED, labelled(3), source="told", label_delay="0d")

    assert known(datasets, ann) == [START + HOUR, clock.now(), START + 3 * HOUR]
    assert "no moment before shows them" in made.notes[0]
    assert "known at its event" in told.notes[0]


def test_a_told_arrival_is_when_labels_were_known(datasets, ann):
    datasets.commit(ann, LABELLED, labelled(1), source="replay", arrived_at=START + 9 * HOUR)

    assert known(datasets, ann) == [START + 9 * HOUR]


def test_a_known_at_with_gaps_is_refused_unless_a_delay_is_told(datasets, ann):
    rows = labelled(1, 2, known_at=[START + 5 * HOUR, None])
    with pytest.raises(BadData, match="1 rows have no 'known_at'"):
        datasets.commit(ann, LABELLED, rows, source="history")

    datasets.commit(ann, LABELLED, rows, source="history", label_delay="1h")

    assert known(datasets, ann) == [START + 5 * HOUR, START + 3 * HOUR]


def test_labels_known_before_their_events_are_said(datasets, ann):
    made = datasets.commit(ann, LABELLED, labelled(5, known_at=[START]), source="history")

    assert "known before their events, first that of 'k5'" in made.notes[0]


def test_pushed_again_under_a_key_the_same_history_is_the_same_snapshot(datasets, ann):
    first = datasets.commit(ann, LABELLED, labelled(1, 2), source="history", key="once")

    assert datasets.commit(ann, LABELLED, labelled(1, 2), source="history", key="once") == first


def test_nothing_is_seen_before_it_was_known(datasets, ann):
    datasets.commit(ann, LABELLED, labelled(1, 2), source="history", label_delay="1h")

    seen = datasets.read(ann, "labelled", as_of=datetime(2026, 1, 1, 2, tzinfo=UTC))
    assert seen["y"].to_list() == [False, None]
