"""Laws of single values: each is held exactly as it is by its column, or refused with the reason."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
import pytest

from noria.datasets import casting
from noria.datasets.values import Misfit, exact_label, exactly, moment


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        ("int", 17, 17),
        ("int", 17.0, 17),
        ("int", 17.5, 17.5),
        ("int", 1e30, 1e30),
        ("int", 2**63 - 1, 2**63 - 1),
        ("int", None, None),
        ("float", 3, 3.0),
        ("float", 2**53, 2.0**53),
        ("float", 2**60, 2.0**60),
        ("bool", False, False),
        ("text", "", ""),
        ("time", "2026-01-02T15:00:00Z", datetime(2026, 1, 2, 15, tzinfo=UTC)),
        ("time", "2026-01-02T15:00:00.123456000+01:00", datetime(2026, 1, 2, 14, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_a_value_is_held_as_it_is(kind, value, held):
    found = exactly(value, kind)

    assert (found, type(found)) == (held, type(held))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", True), ("int", "5"), ("int", 2**63), ("int", -(2**63) - 1), ("int", float("inf")), ("int", [5]),
        ("float", True), ("float", "1.5"), ("float", 2**53 + 1), ("float", 10**400), ("float", float("nan")),
        ("bool", 0), ("bool", 1), ("bool", 0.2), ("bool", "true"), ("text", 5), ("text", True), ("text", {"a": 1}),
        ("time", "2026-01-02T15:00:00"), ("time", "2026-01-02"), ("time", 1767366000), ("time", "noon"), ("time", ""),
        ("time", "2026-01-02T15:00:00.1234567Z"), ("time", "0001-01-01T00:00:00+14:00"), ("unknown", 2**64),
    ],
)  # fmt: skip
def test_a_value_that_would_become_another_is_refused(kind, value):
    with pytest.raises(Misfit):
        exactly(value, kind)


@pytest.mark.parametrize(
    ("kind", "label", "held"),
    [("bool", 0, False), ("bool", 1.0, True), ("bool", -0.0, False), ("int", 1.0, 1), ("float", 7, 7.0), ("text", "a", "a")],
)  # fmt: skip
def test_a_label_of_true_and_false_is_told_by_0_and_1_as_well(kind, label, held):
    assert exact_label(label, kind) == held
    assert type(exact_label(label, kind)) is type(held)


@pytest.mark.parametrize(
    ("kind", "label"),
    [("bool", 0.2), ("bool", 7), ("bool", -1), ("bool", 1e26), ("bool", "true"), ("int", 7.9), ("int", True), ("int", 1e30),
     ("text", 1), ("float", "later"), ("int", None)],
)  # fmt: skip
def test_other_labels_of_another_kind_are_refused(kind, label):
    with pytest.raises(Misfit):
        exact_label(label, kind)


def test_a_time_says_why_it_is_refused():
    with pytest.raises(Misfit, match="has no zone"):
        moment("2026-01-02T15:00:00")
    with pytest.raises(Misfit, match="finer than microseconds"):
        moment("2026-01-02T15:00:00.1234567Z")


@pytest.mark.parametrize(
    ("dtype", "value", "held"),
    [
        (pl.Date(), "2026-01-02", date(2026, 1, 2)),
        (pl.Time(), "15:00:00", time(15)),
        (pl.Duration("us"), "PT90S", timedelta(seconds=90)),
        (pl.Decimal(10, 2), "12.34", Decimal("12.34")),
        (pl.Decimal(10, 2), 12.5, Decimal("12.5")),
        (pl.Datetime("us"), "2026-01-02T15:00:00", datetime(2026, 1, 2, 15)),
        (pl.List(pl.Int64()), [1, 2], [1, 2]),
        (pl.List(pl.Float64()), [1, 2.5], [1.0, 2.5]),
        (pl.Date(), None, None),
    ],
)
def test_kinds_that_json_does_not_have_are_read_from_how_it_writes_them(dtype, value, held):
    found, reasons = casting.cells([value], dtype)

    assert (found, reasons) == ([held], {})
    assert casting.series("x", found, dtype).dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(pl.Date(), "2026-01-02T15:00:00"), (pl.Date(), 5), (pl.Decimal(10, 2), "12.345"), (pl.Decimal(10, 2), True),
     (pl.Duration("ms"), "PT0.0001S"), (pl.Datetime("us"), "2026-01-02T15:00:00Z"), (pl.List(pl.Int64()), [1, "a"]),
     (pl.List(pl.Int64()), 5), (pl.Struct({"a": pl.Int64()}), {"a": 1})],
)  # fmt: skip
def test_what_such_a_column_cannot_hold_exactly_is_refused(dtype, value):
    _, reasons = casting.cells([value], dtype)

    assert list(reasons) == [0]


def test_fractions_widen_a_column_only_while_all_its_numbers_stay_what_they_are():
    widening = casting.Widening({"k": "int"}, holds_large=lambda _: False)
    assert [widening.take({"k": value}) for value in (3, 2**53, 0.5)] == [None, None, None]
    assert widening.kinds == {"k": "float"}
    assert "another number" in (widening.take({"k": 2**53 + 1}) or "")

    large = casting.Widening({"k": "int"}, holds_large=lambda _: False)
    assert large.take({"k": 2**53 + 1}) is None
    assert "fraction" in (large.take({"k": 0.5}) or "")
    assert large.kinds == {"k": "int"}
