"""What was answered beside what turned out to be so: read once from the log, then only what came after."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic

import polars as pl

from noria.serving.log import FEEDBACK, PREDICTIONS, Record, ends, records
from noria.serving.model import Feedback, Prediction

_MOMENT = pl.Datetime("us", "UTC")
_ANSWERS = {
    "request": pl.String,
    "prediction": pl.String,
    "key": pl.String,
    "row_key": pl.String,
    "at": _MOMENT,
    "time": _MOMENT,
    "version": pl.Int64,
    "is_shadow": pl.Boolean,
    "score": pl.Float64,
    "missing": pl.Int64,
    "latency_ms": pl.Float64,
    "error": pl.String,
}
_TOLD = {"prediction": pl.String, "key": pl.String, "at": _MOMENT, "label": pl.Float64}
NO_LABELS = pl.DataFrame(schema={"row_key": pl.String, "label": pl.Float64, "at": _MOMENT})
COLUMNS = (
    "request",
    "prediction",
    "key",
    "at",
    "version",
    "is_shadow",
    "score",
    "missing",
    "latency_ms",
    "error",
    "label",
)
"""The columns of `outcomes`."""


@dataclass(slots=True)
class _Read:
    """How much of a segment has been read, and what was in it; None when it was let go."""

    position: int = 0
    frames: list[pl.DataFrame] | None = field(default_factory=list[pl.DataFrame])
    last: datetime | None = None


class History(Generic[Record]):
    """An endpoint's records of one kind as frames; each look reads only what has come since the one before.

    What ended before the time that a look asks for is let go, and read again if an earlier time is asked for.
    """

    def __init__(self, folder: Path, name: str, kind: type[Record], schema: Mapping[str, Any]) -> None:
        self._folder = folder
        self._name = name
        self._kind = kind
        self._schema = schema
        self._read: dict[str, _Read] = {}

    def since(self, moment: datetime | None) -> pl.DataFrame:
        """Return all records at a moment or later; all there are for None."""
        for name, end in ends(self._folder, self._name).items():
            self._look(name, end, moment)
        frames = [frame for read in self._read.values() for frame in read.frames or ()]
        whole = pl.concat([pl.DataFrame(schema=self._schema), *frames])
        return whole if moment is None else whole.filter(pl.col("at") >= moment)

    def _look(self, name: str, end: int, moment: datetime | None) -> None:
        read = self._read.setdefault(name, _Read())
        is_over = moment is not None and read.last is not None and read.last < moment
        if is_over and read.position >= end:
            read.frames = None
            return
        if read.frames is None:
            read.position, read.frames = 0, []
        found = list(records(self._folder, self._kind, after={name: read.position}, until={name: end}))
        if found:
            frame = self._frame(record for _, _, record in found)
            read.frames.append(frame)
            read.position = found[-1][1]
            read.last = max(found[-1][2].at, read.last or found[-1][2].at)

    def _frame(self, found: Iterable[Record]) -> pl.DataFrame:
        rows = list(found)
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in self._schema}
        if "label" in columns:
            columns["label"] = [as_number(label) for label in columns["label"]]
        return pl.DataFrame(columns, schema=self._schema)


def answers_in(folder: Path) -> History[Prediction]:
    """Return the history of an endpoint's answers."""
    return History(folder, PREDICTIONS, Prediction, _ANSWERS)


def told_in(folder: Path) -> History[Feedback]:
    """Return the history of an endpoint's feedback."""
    return History(folder, FEEDBACK, Feedback, _TOLD)


def labelled(answers: pl.DataFrame, told: pl.DataFrame, landed: pl.DataFrame) -> pl.DataFrame:
    """Give answers the labels of their rows: of several, the one that became known last.

    `told` is feedback; `landed` are labels of the dataset, with row_key, label and at.
    """
    live = answers.filter(~pl.col("is_shadow")).select("prediction", "row_key").unique("prediction")
    named = told.filter(pl.col("prediction").is_not_null()).join(live, on="prediction", how="inner")
    keyed = told.filter(pl.col("prediction").is_null()).with_columns(pl.col("key").alias("row_key"))
    known = pl.concat([part.select("row_key", "label", "at") for part in (landed, named, keyed)])
    newest = known.drop_nulls("label").sort("at", maintain_order=True).unique("row_key", keep="last")
    return answers.join(newest.select("row_key", "label"), on="row_key", how="left").sort("at", maintain_order=True)


def as_number(label: object) -> float | None:
    """Return a label as a number; a text that is none cannot be counted with."""
    try:
        return float(label)  # type: ignore[arg-type]  # bool, int, float or text
    except (TypeError, ValueError):
        return None
