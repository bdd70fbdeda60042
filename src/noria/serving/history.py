"""What was answered beside what turned out to be so: read once from the log, then only what came after."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic

import msgspec
import polars as pl

from noria.serving.compacted import FEEDBACK, MOMENT, PREDICTIONS, SCHEMAS, files_of, told
from noria.serving.compacted import SUFFIX as COMPACTED
from noria.serving.log import Record, erasures_in, records
from noria.serving.model import Feedback, Prediction
from noria.serving.segments import whole_end

_ANSWERS = {name: kind for name, kind in SCHEMAS[PREDICTIONS].items() if name != "row"}
_TOLD = {"prediction": pl.String, "key": pl.String, "at": MOMENT, "label": pl.Float64}
NO_LABELS = pl.DataFrame(schema={"row_key": pl.String, "prediction": pl.String, "label": pl.Float64, "at": MOMENT})
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
    """How much of a file has been read, and what was in it; None when it was let go."""

    position: int = 0
    frames: list[pl.DataFrame] | None = field(default_factory=list[pl.DataFrame])
    last: datetime | None = None


class History(Generic[Record]):
    """An endpoint's records of one kind as frames; each look reads only what has come since the one before.

    What ended before the time that a look asks for is let go, and read again if an earlier time is asked for. After
    an erasure everything is.
    """

    def __init__(self, folder: Path, name: str, kind: type[Record], schema: Mapping[str, Any]) -> None:
        self._folder = folder
        self._name = name
        self._kind = kind
        self._schema = schema
        self._read: dict[str, _Read] = {}
        self._erasures = 0

    def since(self, moment: datetime | None) -> pl.DataFrame:
        """Return all records at a moment or later; all there are for None."""
        while True:
            try:
                frames = self._look(moment)
                break
            except FileNotFoundError:  # compacted just now
                continue
        whole = pl.concat([pl.DataFrame(schema=self._schema), *frames])
        return whole if moment is None else whole.filter(pl.col("at") >= moment)

    def _look(self, moment: datetime | None) -> list[pl.DataFrame]:
        """Read what is new in the files that count now, and return all that is in them."""
        erasures = erasures_in(self._folder)
        kept = self._read if erasures == self._erasures else {}
        there = files_of(self._folder, self._name)
        self._read = {path.name: kept.get(path.name) or _Read() for path in there}
        self._erasures = erasures
        for path in there:
            look = self._look_into_compacted if path.suffix == COMPACTED else self._look_into_segment
            look(path, self._read[path.name], moment)
        return [frame for read in self._read.values() for frame in read.frames or ()]

    def _look_into_compacted(self, path: Path, read: _Read, moment: datetime | None) -> None:
        read.last = told(path).last
        if moment is not None and read.last < moment:
            read.frames = None
        elif not read.frames:
            frame = pl.read_parquet(path, columns=list(self._schema))
            read.frames = [frame if "label" not in frame.columns else frame.with_columns(_labels(frame["label"]))]

    def _look_into_segment(self, path: Path, read: _Read, moment: datetime | None) -> None:
        end = whole_end(path)
        is_over = moment is not None and read.last is not None and read.last < moment
        if is_over and read.position >= end:
            read.frames = None
            return
        if read.frames is None:
            read.position, read.frames = 0, []
        after, until = {path.name: read.position}, {path.name: end}
        found = list(records(self._folder, self._kind, after=after, until=until))
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


def _labels(spelled: pl.Series) -> pl.Series:
    """Return labels that a compacted file spells as JSON as numbers."""
    return pl.Series("label", [as_number(msgspec.json.decode(label)) for label in spelled], pl.Float64)


def answers_in(folder: Path) -> History[Prediction]:
    """Return the history of an endpoint's answers."""
    return History(folder, PREDICTIONS, Prediction, _ANSWERS)


def told_in(folder: Path) -> History[Feedback]:
    """Return the history of an endpoint's feedback."""
    return History(folder, FEEDBACK, Feedback, _TOLD)


def labelled(answers: pl.DataFrame, told: pl.DataFrame, landed: pl.DataFrame) -> pl.DataFrame:
    """Give answers the labels of their requests: of several, the one that became known last.

    `told` is feedback; `landed` are labels of the dataset, with row_key, prediction, label and at. A label that names
    no prediction is of the last request about its key before it became known.
    """
    asked = answers.filter(~pl.col("is_shadow")).select("prediction", "request", "row_key", "at")
    known = pl.concat([part.select("row_key", "prediction", "label", "at") for part in (landed, _keyed(told))])
    known = known.drop_nulls("label")
    named = known.filter(pl.col("prediction").is_not_null())
    named = named.join(asked.select("prediction", "request").unique("prediction"), on="prediction", how="inner")
    unnamed = known.filter(pl.col("prediction").is_null(), pl.col("row_key").is_not_null()).sort("at")
    requests = asked.sort("at").select("row_key", "request", pl.col("at").alias("asked"))
    unnamed = unnamed.join_asof(requests, left_on="at", right_on="asked", by="row_key", check_sortedness=False)
    every = pl.concat([part.select("request", "label", "at") for part in (named, unnamed.drop_nulls("request"))])
    newest = every.sort("at", maintain_order=True).unique("request", keep="last").select("request", "label")
    return answers.join(newest, on="request", how="left").sort("at", maintain_order=True)


def _keyed(told: pl.DataFrame) -> pl.DataFrame:
    return told.with_columns(pl.col("key").alias("row_key"))


def as_number(label: object) -> float | None:
    """Return a label as a number; a text that is none cannot be counted with."""
    try:
        return float(label)  # type: ignore[arg-type]  # bool, int, float or text
    except (TypeError, ValueError):
        return None
