"""Files of the log in Parquet: what ended segments held, and the names of the files that each stands for.

From the moment that a compacted file has its name, the files it stands for count no longer, whether they were removed
by then or not. So whenever a crash comes, every record is in exactly one file that counts.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from noria.serving.disk import Disk
from noria.serving.model import Feedback, Prediction
from noria.serving.segments import SUFFIX as SEGMENT

SUFFIX = ".parquet"
PREDICTIONS = "predictions"
FEEDBACK = "feedback"
MOMENT = pl.Datetime("us", "UTC")
SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    PREDICTIONS: {
        "request": pl.String,
        "prediction": pl.String,
        "key": pl.String,
        "row_key": pl.String,
        "at": MOMENT,
        "time": MOMENT,
        "version": pl.Int64,
        "is_shadow": pl.Boolean,
        "score": pl.Float64,
        "missing": pl.Int64,
        "latency_ms": pl.Float64,
        "error": pl.String,
        "row": pl.String,
    },
    FEEDBACK: {"prediction": pl.String, "key": pl.String, "at": MOMENT, "label": pl.String, "shaped": pl.Boolean},
}
"""The columns of each kind of file; a row and a label are JSON."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_STANDS_FOR, _LAST = "noria.stands_for", "noria.last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a compacted file says of itself: which files it stands for, and when its last record was made."""

    stands_for: frozenset[str]
    last: datetime


@lru_cache(maxsize=4096)
def told(path: Path) -> Told:
    """Return what a compacted file says of itself; it never changes."""
    said = pl.read_parquet_metadata(path)
    names = msgspec.json.decode(said[_STANDS_FOR], type=frozenset[str])
    return Told(stands_for=names, last=datetime.fromisoformat(said[_LAST]))


def files_of(folder: Path, kind: str) -> list[Path]:
    """Return the files of a kind that count, segments and compacted ones, as they stood at one moment.

    A folder is not listed at one moment: what is listed twice alike is what was there between the two.
    """
    listed = None
    while True:
        before, listed = listed, sorted(path for path in folder.glob(f"{kind}-*") if path.suffix in (SEGMENT, SUFFIX))
        if listed != before:
            continue
        try:
            replaced = replaced_in(listed)
        except FileNotFoundError:
            continue
        return [path for path in listed if path.name not in replaced]


def replaced_in(listed: Iterable[Path]) -> set[str]:
    """Return the names of the files that others of the listed ones stand for."""
    return set[str]().union(*(told(path).stands_for for path in listed if path.suffix == SUFFIX))


def frame_of(kind: str, records: Iterable[Prediction | Feedback]) -> pl.DataFrame:
    """Return records as a frame, in the order of their times."""
    rows = list(records)
    columns = [_column(name, [getattr(row, name) for row in rows], of) for name, of in SCHEMAS[kind].items()]
    return pl.DataFrame(columns).sort("at", maintain_order=True)


def put(disk: Disk, path: Path, frame: pl.DataFrame, *, instead_of: Sequence[Path]) -> None:
    """Write a compacted file that stands for others, then remove those."""
    inherited = replaced_in(instead_of)
    last = frame["at"].max()
    assert last is None or isinstance(last, datetime)
    names = sorted({*inherited, *(other.name for other in instead_of)})
    said = {_STANDS_FOR: msgspec.json.encode(names).decode(), _LAST: (last or _LONG_AGO).isoformat()}
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata=said)
    disk.put(path, buffer.getvalue())
    disk.remove(instead_of)


def _column(name: str, values: list[Any], of: Any) -> pl.Series:  # noqa: ANN401 - values of records, a type of Polars
    if name == "row":
        return pl.Series(name, [bytes(value).decode() for value in values], of)
    if name == "label":
        return pl.Series(name, [msgspec.json.encode(value).decode() for value in values], of)
    if of == MOMENT:  # Polars takes four times as long to read datetimes
        return pl.Series(name, [None if value is None else _microseconds(value) for value in values], pl.Int64).cast(of)
    return pl.Series(name, values, of)


def _microseconds(moment: datetime) -> int:
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _LONG_AGO
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
