"""Makes records of the log into rows and labels as a dataset has them, and says of each that does not fit why not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from noria.datasets.holding import spelled
from noria.datasets.model import KNOWN_AT, Dataset
from noria.serving.model import Aside, AsideKind, Feedback, Prediction

_decode = msgspec.json.decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Rows or labels, the predictions that rows are from by their keys, and the records that do not fit."""

    frame: pl.DataFrame
    records: Mapping[str, Prediction] = field(default_factory=dict[str, Prediction])
    asides: tuple[Aside, ...] = ()


def rows_of(
    asked: Mapping[str, Prediction], dataset: Dataset, schema: Mapping[str, pl.DataType], *, at: datetime
) -> Fitting:
    """Return the rows that were asked about, by their keys, as the dataset has them."""
    rows: list[dict[str, Any]] = [_decode(one.row) for one in asked.values()]
    names = list(schema) or list(dict.fromkeys([dataset.key, dataset.time, *(name for row in rows for name in row)]))
    names = [name for name in names if name not in (dataset.label, KNOWN_AT) and "\0" not in name]
    columns = {name: [row.get(name) for row in rows] for name in names}
    columns[dataset.key] = list(asked)
    columns[dataset.time] = [one.time or one.at for one in asked.values()]
    frame = pl.DataFrame([_column(name, values, schema.get(name)) for name, values in columns.items()])
    keyed = list(zip(spelled(frame[dataset.key]), asked.values(), strict=True))
    reason = f"its key is not {_spelled(schema.get(dataset.key))}"
    return Fitting(
        frame=frame.drop_nulls(dataset.key).unique(dataset.key, keep="last", maintain_order=True),
        records={key: one for key, one in keyed if key is not None},
        asides=tuple(aside_row(one, reason, at=at) for key, one in keyed if key is None),
    )


def labels_of(
    named: Mapping[str, Feedback], dataset: Dataset, schema: Mapping[str, pl.DataType], *, at: datetime
) -> Fitting:
    """Return labels by their rows' keys as the dataset has them."""
    label = dataset.label or ""
    frame = pl.DataFrame(
        [
            _column(dataset.key, list(named), schema.get(dataset.key)),
            _column(label, [one.label for one in named.values()], schema.get(label)),
            pl.Series(KNOWN_AT, [one.at for one in named.values()], pl.Datetime("us", "UTC")),
        ]
    )
    strange = [one for one, value in zip(named.values(), frame[label], strict=True) if value is None]
    reason = f"its label is not {_spelled(schema.get(label))}"
    asides = tuple(aside_feedback(one, reason, at=at) for one in strange)
    return Fitting(frame=frame.drop_nulls(label), asides=asides)


def sifted(
    rows: pl.DataFrame, dataset: Dataset, misfit: Callable[[pl.DataFrame], str | None]
) -> Iterator[tuple[str, str]]:
    """Yield the keys of rows that do not fit, each with the reason, found by halving; `misfit` says why rows do not."""
    reason = misfit(rows) if rows.height else None
    if reason is None:
        return
    if rows.height == 1:
        yield str(rows[0, dataset.key]), reason
        return
    half = rows.height // 2
    for part in (rows[:half], rows[half:]):
        yield from sifted(part, dataset, misfit)


def aside_row(asked: Prediction, reason: str, *, at: datetime) -> Aside:
    """Return the row of a prediction as put aside."""
    return _aside(AsideKind.ROW, asked.row_key, asked, reason, at)


def aside_feedback(told: Feedback, reason: str, *, at: datetime) -> Aside:
    """Return feedback as put aside."""
    return _aside(AsideKind.FEEDBACK, told.key, told, reason, at)


def _aside(kind: AsideKind, key: str | None, record: Prediction | Feedback, reason: str, at: datetime) -> Aside:
    line = _encode(record).decode()
    return Aside(
        kind=kind,
        key=_storable(key),
        prediction=_storable(record.prediction),
        record=line,
        reason=_storable(reason) or "",
        at=at,
    )


def _storable(text: str | None) -> str | None:
    """Return a text without the letter NUL, which databases refuse; the record itself spells it as JSON does."""
    return None if text is None else text.replace("\0", "\\0")


def _column(name: str, values: list[Any], kind: pl.DataType | None) -> pl.Series:
    """Return values as a column of a kind; what is not of it is null."""
    try:
        return _cast(name, values, kind)
    except PolarsError:
        return pl.concat([pl.Series(name, [], kind), *(_one(name, value, kind) for value in values)])


def _one(name: str, value: object, kind: pl.DataType | None) -> pl.Series:
    try:
        return _cast(name, [value], kind)
    except PolarsError:
        return pl.Series(name, [None], kind)


def _cast(name: str, values: list[Any], kind: pl.DataType | None) -> pl.Series:
    if isinstance(kind, pl.Datetime) and any(isinstance(value, str) for value in values):
        texts = pl.Series(name, values, pl.String, strict=False)
        return texts.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    column = pl.Series(name, values, strict=False)
    if kind is None or kind == pl.Null():
        return column
    return column.cast(kind, strict=False)


def _spelled(kind: pl.DataType | None) -> str:
    return "of the dataset's kind" if kind is None else str(kind)
