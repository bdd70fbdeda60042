"""Columns made of values one by one: each exactly or with its reason, whatever its neighbours are."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from noria.datasets.columns import kind_of, type_of
from noria.datasets.values import MOST_EXACT, SURE, Misfit, exact_float, exactly, kind_of_value

UNKNOWN = "unknown"
_FIRST, _LAST = -(2**63), 2**63 - 1
_WRITTEN: dict[type[pl.DataType], type] = {
    pl.Date: dt.date, pl.Time: dt.time, pl.Duration: dt.timedelta, pl.Binary: bytes,
}  # fmt: skip
"""What JSON writes as a text, by the types of columns."""


def cells(values: Sequence[object], dtype: pl.DataType) -> tuple[list[Any], dict[int, str]]:
    """Return values as a column of a type holds them, and by their places the reasons of those that it cannot hold.

    Fractions in a column of whole numbers, and whole numbers of more than 64 bits, stay what they are: whether they
    fit depends on what the column becomes; see `Widening`.
    """
    kind = kind_of(dtype)
    types = frozenset(map(type, values))
    if kind in SURE and types <= SURE[kind]:
        return list(values), {}
    reasons: dict[int, str] = {}
    found: list[Any] = []
    for place, value in enumerate(values):
        try:
            found.append(value if _is_left_to_widening(value, kind) else _cell(value, kind, dtype))
        except Misfit as misfit:
            found.append(None)
            reasons[place] = str(misfit)
    return found, reasons


def is_settled(found: Iterable[object], kind: str) -> bool:
    """Say whether cells are of a column's kind as it is, so that nothing about it is left to be decided."""
    if kind != "int":
        return kind != UNKNOWN
    return all(value is None or (type(value) is int and not _is_left_to_widening(value, kind)) for value in found)


def _is_left_to_widening(value: object, kind: str) -> bool:
    return kind in ("int", UNKNOWN) and type(value) is int and not _FIRST <= value <= _LAST


def _cell(value: object, kind: str, dtype: pl.DataType) -> object:
    is_plain = kind == UNKNOWN or type_of(kind) is not None
    return exactly(value, kind) if is_plain else _written(value, dtype)


class Widening:
    """Which kinds columns have, row by row: the first value decides, and whole numbers may become fractions.

    They may if every value that the column holds stays what it is; `holds_large` says whether some are too large for
    it in what is kept already. So what a column becomes does not depend on which rows come together.
    """

    def __init__(self, kinds: Mapping[str, str], *, holds_large: Callable[[str], bool]) -> None:
        self.kinds = dict(kinds)
        self._holds_large = holds_large
        self._large: dict[str, bool] = {}

    def take(self, row: Mapping[str, Any]) -> str | None:
        """Take a row in, or return why one of its values does not fit; then nothing of it counts."""
        kinds: dict[str, str] = {}
        large: set[str] = set()
        for name, known in self.kinds.items():
            value = row[name]
            if value is None:
                continue
            try:
                kinds[name] = self._kind(name, known, value)
            except Misfit as misfit:
                return reason_for(name, str(misfit))
            if kinds[name] == "int" and abs(value) > MOST_EXACT:
                large.add(name)
        self.kinds |= kinds
        self._large |= dict.fromkeys(large, True)
        return None

    def _kind(self, name: str, known: str, value: Any) -> str:  # noqa: ANN401 - a plain value
        if known == UNKNOWN:
            exactly(value, kind_of_value(value))
            return kind_of_value(value)
        if known == "int" and isinstance(value, float) and not _is_whole(value):
            if self._is_large(name):
                raise Misfit(
                    f"{value!r} is a fraction, and the column holds whole numbers that are no fractions exactly"
                )
            return "float"
        exactly(value, known)
        return known

    def _is_large(self, name: str) -> bool:
        if name not in self._large:
            self._large[name] = self._holds_large(name)
        return self._large[name]


def series(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Return cells as a column of a type; whole numbers become fractions where it is one of those."""
    if dtype.is_float():
        values = [exact_float(value) if type(value) is int else value for value in values]
    elif dtype.is_integer():
        values = [int(value) if type(value) is float else value for value in values]
    return pl.Series(name, values, dtype, strict=True)


def reason_for(name: str, reason: str) -> str:
    """Return a reason with the column that it is about."""
    return f"column {name!r}: {reason}"


def has_large(frames: Iterable[pl.DataFrame], name: str) -> bool:
    """Say whether a column holds whole numbers that are no fractions exactly."""
    return any(
        bool(((frame[name] > MOST_EXACT) | (frame[name] < -MOST_EXACT)).any())
        for frame in frames
        if name in frame.columns and frame[name].dtype.is_integer()
    )


def _is_whole(value: float) -> bool:
    return value.is_integer() and -(2.0**63) <= value < 2.0**63


def _written(value: object, dtype: pl.DataType) -> object:
    """Return a value of a kind that JSON does not have: of its text, or of the list that it is."""
    if value is None:
        return None
    found = _read(value, dtype)
    try:
        kept = pl.Series("", [found], dtype, strict=True)[0]
    except (PolarsError, TypeError, OverflowError) as problem:
        raise Misfit(f"{value!r} is no {dtype}") from problem
    if isinstance(dtype, pl.List | pl.Array):
        kept = kept.to_list()
    if kept != found:
        raise Misfit(f"{value!r} is no {dtype} exactly")
    return found


def _read(value: object, dtype: pl.DataType) -> object:
    if isinstance(dtype, pl.List | pl.Array) and isinstance(value, list):
        inner = dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()
        found, reasons = cells(value, inner)  # pyright: ignore[reportUnknownArgumentType] - a list of JSON
        if reasons:
            raise Misfit(next(iter(reasons.values())))
        return [exact_float(each) if inner.is_float() and type(each) is int else each for each in found]
    try:
        if isinstance(dtype, pl.Decimal):
            return _decimal(value)
        if isinstance(dtype, pl.Datetime):
            return _naive(value)
        wanted: Any = _WRITTEN[type(dtype)]
        return msgspec.convert(value, wanted)
    except (KeyError, msgspec.ValidationError, TypeError, ValueError, InvalidOperation) as problem:
        raise Misfit(f"{value!r} is no {dtype}") from problem


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    found = Decimal(str(value))
    if not found.is_finite():
        raise ValueError
    return found


def _naive(value: object) -> dt.datetime:
    found = dt.datetime.fromisoformat(str(value)) if isinstance(value, str | dt.datetime) else None
    if found is None or found.tzinfo is not None:
        raise ValueError
    return found
