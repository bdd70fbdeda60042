"""Rows that an endpoint is asked about: what each is known by, and how much of it is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from noria.core.errors import BadData, NotFound
from noria.datasets.model import KEY_LETTERS, Dataset
from noria.datasets.values import Misfit, hint_for
from noria.serving.model import NO_ROW, Feedback, Prediction

if TYPE_CHECKING:
    import polars as pl

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One row that is asked about: `request` is what its answers share, `key` what the route goes by."""

    request: str
    key: str
    row_key: str
    at: datetime
    time: datetime | None
    row: msgspec.Raw


def exact(rows: "pl.DataFrame", dataset: Dataset, kinds: Mapping[str, str], *, at: datetime) -> "pl.DataFrame":
    """Return rows as a version shall see them and as they will land: each with its time, those that say none now.

    NaN is a missing value. Whole numbers and fractions become what the column is of, where none of them changes.

    Raises:
        BadData: a column is not of its kind in the dataset, or has a value that could not be kept exactly.

    """
    import polars as pl  # noqa: PLC0415 - see frame_of

    from noria.datasets.columns import MOMENT  # noqa: PLC0415 - see frame_of

    now = pl.lit(at).cast(MOMENT)
    if dataset.time not in rows.columns:
        rows = rows.with_columns(now.alias(dataset.time))
    others = (column for column in rows.iter_columns() if column.name in kinds or column.dtype.is_float())
    kinds = {**kinds, dataset.time: "time"}
    rows = rows.with_columns([_exact(column, kinds.get(column.name, "unknown")) for column in others])
    if kinds.get(dataset.time) == "time" and rows.schema[dataset.time] != MOMENT:
        rows = rows.with_columns(_exact(rows[dataset.time], "time"))
    return rows.with_columns(pl.col(dataset.time).fill_null(now))


def _exact(column: "pl.Series", kind: str) -> "pl.Series":
    """Return a column as its kind is kept; raises `BadData` if a value would change, with its row."""
    import polars as pl  # noqa: PLC0415 - see frame_of

    from noria.datasets.columns import MOMENT, kind_of, type_of  # noqa: PLC0415 - see frame_of

    if column.dtype.is_float():
        column = column.fill_nan(None)
        _must_all(column, column.is_infinite(), "is infinite", "send null for what is not known")
    found = kind_of(column.dtype)
    if kind == "time" and column.dtype == pl.Date():
        column, found = column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), "time"
    if "unknown" in (kind, found) or (found == kind and type_of(kind) is None):
        return column.cast(MOMENT) if kind == "time" and column.dtype == pl.Null() else column
    is_number = {kind, found} == {"int", "float"}
    if found != kind and not is_number:
        raise BadData(
            f"column {column.name!r} holds {found} ({column.dtype}), and the dataset has {kind}",
            hint=hint_for(kind),
        )
    cast = column.cast(type_of(kind) or column.dtype, strict=False)
    back = cast.cast(column.dtype, strict=False)
    changed = (back != column).fill_null(value=False) | (cast.is_null() & column.is_not_null())
    if kind == "int" and changed.any() and found == "float":
        return column  # fractions: the dataset's column becomes one of fractions
    _must_all(column, changed, "cannot be kept exactly", hint_for(kind))
    return cast


def _must_all(column: "pl.Series", bad: "pl.Series", why: str, hint: str) -> None:
    place = bad.fill_null(value=False).arg_max() if bad.any() else None
    if place is not None:
        raise BadData(f"column {column.name!r} of row {place}: {column[place]!r} {why}", hint=hint)


def ask(rows: "pl.DataFrame", *, dataset: Dataset, key: str, at: datetime, requests: Sequence[str]) -> list[Asked]:
    """Return a frame's rows as asked about at a moment; raises `NotFound` if the key is no column of theirs."""
    if key not in rows.columns:
        raise NotFound("column", key, known=rows.columns)
    keys = [str(value) for value in rows[key].to_list()]
    named = rows[dataset.key].to_list() if dataset.key in rows.columns else [None] * rows.height
    row_keys = [request if value is None else str(value) for value, request in zip(named, requests, strict=True)]
    times = rows[dataset.time].to_list()
    return [
        Asked(request=request, key=mine, row_key=row_key, at=at, time=time, row=msgspec.Raw(_encode(row)))
        for request, mine, row_key, time, row in zip(requests, keys, row_keys, times, rows.to_dicts(), strict=True)
    ]


def alike(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> list[list[int]]:
    """Return the places of rows that make one frame: those with fractions in columns of whole numbers apart.

    So the type in which a version sees a row does not depend on the rows that are scored together with it.
    """
    whole = [name for name, kind in inputs.items() if kind == "int"]
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        broken = tuple(name for name in whole if type(row.get(name)) is float and not float(row[name]).is_integer())
        groups.setdefault(broken, []).append(place)
    return list(groups.values())


def frame_of(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> "pl.DataFrame":
    """Return rows as they came over the wire as a frame of the inputs, each of its kind.

    Raises `Misfit` for a value that its column cannot hold exactly. Fractions make a column of whole numbers one of
    fractions; see `alike`.
    """
    import polars as pl  # noqa: PLC0415 - a gateway without native models needs none

    return pl.DataFrame([_column(name, [row.get(name) for row in rows], kind) for name, kind in inputs.items()])


def _column(name: str, found: list[Any], kind: str) -> "pl.Series":
    import polars as pl  # noqa: PLC0415 - see frame_of

    from noria.datasets import casting, columns  # noqa: PLC0415 - see frame_of

    of = columns.type_of(kind)
    if of is None:
        return pl.Series(name, found, strict=False)
    cells, reasons = casting.cells(found, of)
    for reason in reasons.values():
        raise Misfit(casting.reason_for(name, reason))
    return casting.series(name, cells, pl.Float64() if kind == "int" and float in map(type, cells) else of)


def conformed(rows: "pl.DataFrame", inputs: Mapping[str, str]) -> "pl.DataFrame":
    """Return the rows with a column for each input; one that they lack is all null."""
    lacking = {name: kind for name, kind in inputs.items() if name not in rows.columns}
    nothing: list[dict[str, Any]] = [{}] * rows.height
    return rows.with_columns(frame_of(nothing, lacking).iter_columns())


def missing_in(rows: "pl.DataFrame", inputs: Iterable[str]) -> list[int]:
    """Return how many of the inputs are null, NaN or not there at all, for each row."""
    import polars as pl  # noqa: PLC0415 - see conformed

    names = list(inputs)
    lacking = sum(name not in rows.columns for name in names)
    there = [name for name in names if name in rows.columns]
    gaps = [
        rows[name].is_null() | rows[name].is_nan().fill_null(value=True)
        if rows.schema[name].is_float()
        else rows[name].is_null()
        for name in there
    ]
    if not gaps:
        return [lacking] * rows.height
    counts = rows.select(pl.sum_horizontal(*gaps).cast(pl.Int64).alias("missing"))["missing"]
    return [lacking + count for count in counts.to_list()]


def must_be_storable(told: Feedback) -> None:
    """Raise `BadData` for feedback that the log or a store cannot hold: NUL, half a surrogate pair, no number."""
    if isinstance(told.label, float) and not math.isfinite(told.label):
        raise BadData(f"the label {told.label} is no number", hint="tell it when it is known")
    for what, text in (("label", told.label), ("key", told.key), ("prediction", told.prediction)):
        if not isinstance(text, str):
            continue
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise BadData(
                f"the {what} {text[:100]!r} has a letter that not every store can hold",
                hint="take it out: neither NUL nor half of a surrogate pair is text",
            )
        if what == "key" and len(text) > KEY_LETTERS:
            raise BadData(
                f"the key {text[:50]!r}... is longer than {KEY_LETTERS:,} letters", hint="use a digest of it as the key"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one version said of some rows: scores, or why there are none, and how long it took."""

    version: int
    scores: Sequence[float | None]
    missing: Sequence[int]
    latency_ms: float
    error: str | None = None
    cause: Exception | None = None


def predictions(
    asked: Sequence[Asked], scored: Scored, *, ids: Iterable[str], is_shadow: bool = False
) -> list[Prediction]:
    """Return the records of what a version said; a score that is no number is an error of its own."""
    return [
        Prediction(
            request=one.request,
            prediction=prediction,
            key=one.key,
            row_key=one.row_key,
            at=one.at,
            time=one.time,
            version=scored.version,
            is_shadow=is_shadow,
            score=score,
            missing=missing,
            latency_ms=scored.latency_ms,
            error=scored.error or ("the score is not a number" if score is None else None),
            row=NO_ROW if is_shadow else one.row,
        )
        for one, prediction, score, missing in zip(asked, ids, scored.scores, scored.missing, strict=True)
    ]


def finite(scores: Iterable[Any]) -> list[float | None]:
    """Return scores as JSON has them: what is NaN or infinite is no score."""
    return [float(score) if abs(score) < float("inf") else None for score in scores]
