"""Rows that an endpoint is asked about: what each is known by, and how much of it is missing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from noria.core.errors import BadData, NotFound
from noria.datasets.model import KEY_LETTERS, Dataset
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


def timed(rows: "pl.DataFrame", dataset: Dataset, at: datetime) -> "pl.DataFrame":
    """Return the rows with their event times: those that say none happened now."""
    import polars as pl  # noqa: PLC0415 - see frame_of

    return rows if dataset.time in rows.columns else rows.with_columns(pl.lit(at).alias(dataset.time))


def ask(rows: "pl.DataFrame", *, dataset: Dataset, key: str, at: datetime, requests: Sequence[str]) -> list[Asked]:
    """Return a frame's rows as asked about at a moment; raises `NotFound` if the key is no column of theirs."""
    if key not in rows.columns:
        raise NotFound("column", key, known=rows.columns)
    keys = [str(value) for value in rows[key].to_list()]
    row_keys = [str(value) for value in rows[dataset.key].to_list()] if dataset.key in rows.columns else requests
    times = rows[dataset.time].to_list()
    return [
        Asked(request=request, key=mine, row_key=row_key, at=at, time=time, row=msgspec.Raw(_encode(row)))
        for request, mine, row_key, time, row in zip(requests, keys, row_keys, times, rows.to_dicts(), strict=True)
    ]


_TYPES = {"int": "Int64", "float": "Float64", "bool": "Boolean", "text": "String", "time": "String"}


def frame_of(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> "pl.DataFrame":
    """Return rows as they came over the wire as a frame of the inputs, each of its kind; what does not fit is null."""
    import polars as pl  # noqa: PLC0415 - a gateway without native models needs none

    columns: list[pl.Series] = []
    for name, kind in inputs.items():
        values = [row.get(name) for row in rows]
        if kind not in _TYPES:
            columns.append(pl.Series(name, values, strict=False))
            continue
        column = pl.Series(name, values, getattr(pl, _TYPES[kind]), strict=False)
        columns.append(
            column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False) if kind == "time" else column
        )
    return pl.DataFrame(columns)


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
