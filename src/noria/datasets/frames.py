"""Frames at the border: from files and other libraries into Polars, to and from Parquet, and their logical digest."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from noria.core import digests
from noria.core.errors import BadData, NotFound, nearest

_SUFFIXES = (".parquet", ".csv", ".arrow", ".feather", ".ipc")


def as_frame(rows: Any) -> pl.DataFrame:  # noqa: ANN401 - whatever people hold their rows in
    """Return a Polars frame from one, from pandas, PyArrow or a path to Parquet, CSV or Arrow; raises `BadData`."""
    match rows:
        case pl.DataFrame():
            return rows
        case pl.LazyFrame():
            return rows.collect()
        case str() | Path():
            return _from_file(Path(rows))
        case _:
            return _from_other(rows)


def _from_file(file: Path) -> pl.DataFrame:
    if not file.exists():
        siblings = [other.name for other in file.parent.glob("*") if other.suffix.lower() in _SUFFIXES]
        raise NotFound("file", file, hint=nearest(file.name, siblings))
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise BadData(f"{file.name} is of no kind that can be read", hint=f"one of {', '.join(_SUFFIXES)}")
    if file.stat().st_size == 0:
        raise BadData(f"{file.name} is empty", hint="nothing was committed; was its writer cut short?")
    try:
        match suffix:
            case ".parquet":
                return pl.read_parquet(file)
            case ".csv":
                return pl.read_csv(file, try_parse_dates=True, infer_schema_length=None)
            case _:
                return pl.read_ipc(file)
    except (PolarsError, OSError) as problem:
        raise BadData(
            f"{file.name} cannot be read: {str(problem).splitlines()[0]}", hint="nothing was committed"
        ) from problem


def _from_other(rows: Any) -> pl.DataFrame:  # noqa: ANN401 - see as_frame
    room = type(rows).__module__.partition(".")[0]
    try:
        if room in ("pandas", "pyarrow", "builtins") and hasattr(rows, "__len__"):
            # all rows are looked at, so that none loses a column or a digit; what is missing in pandas is NaN
            return pl.DataFrame(rows, infer_schema_length=None, nan_to_null=room == "pandas")
    except ImportError as problem:
        hint = "pip install pyarrow, or give a Polars frame; nothing was committed"
        raise BadData(f"this {room} table cannot be read without PyArrow", hint=hint) from problem
    except (PolarsError, TypeError, ValueError) as problem:
        raise BadData(
            f"the rows cannot be read as a frame: {str(problem).splitlines()[0]}",
            hint="give every column one type; nothing was committed",
        ) from problem
    raise BadData(
        f"a {type(rows).__name__} is no frame",
        hint="give a Polars, pandas or PyArrow table, or a path to Parquet, CSV or Arrow",
    )


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return the frame as Parquet bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def from_parquet(payload: bytes) -> pl.DataFrame:
    """Read Parquet bytes."""
    return pl.read_parquet(io.BytesIO(payload))


def frame_digest(frame: pl.DataFrame) -> str:
    """Return the digest of a frame's columns, types and values; how it is chunked or written does not matter.

    Missing values and NaN are told apart; all NaN are one.
    """
    return digests.of_parts(_parts(frame))


def _parts(frame: pl.DataFrame) -> Iterator[bytes | memoryview]:
    """Yield what a digest is of, column by column, so that no more than one is in memory twice."""
    yield str(frame.height).encode()
    for column in frame.iter_columns():
        yield column.name.encode()
        yield str(column.dtype).encode()
        yield from _values(column)


def _values(column: pl.Series) -> list[bytes | memoryview]:
    missing = np.packbits(column.is_null().to_numpy()).tobytes()
    return [missing, *_present(column)]


def _present(column: pl.Series) -> list[bytes | memoryview]:
    kind = column.dtype
    if kind.is_float():
        numbers = column.fill_null(0.0).cast(pl.Float64).to_numpy()
        unknown = np.isnan(numbers)
        numbers = np.where(unknown, np.nan, numbers) if unknown.any() else numbers  # one NaN for all
        return [np.ascontiguousarray(numbers).data]
    if kind == pl.UInt64:
        return [column.fill_null(0).to_numpy().data]
    if (kind.is_integer() and not isinstance(kind, pl.Int128 | pl.UInt128)) or kind == pl.Boolean or kind.is_temporal():
        return [column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().data]
    return _of_many(column)


def _of_many(column: pl.Series) -> list[bytes | memoryview]:
    """Return values that take up bytes as they need: their lengths, then all of them."""
    kind = column.dtype
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        texts = column.cast(pl.String).fill_null("")
        return [_packed(texts.str.len_bytes()), "".join(texts.to_list()).encode()]
    if isinstance(kind, pl.Binary):
        parts = column.fill_null(b"")
        return [_packed(parts.bin.size()), b"".join(parts.to_list())]
    if isinstance(kind, pl.List | pl.Array):
        lists = column.cast(pl.List(kind.inner))
        return [_packed(lists.list.len().fill_null(0)), *_values(lists.explode())]
    return [repr(value).encode() for value in column.to_list()]


def _packed(lengths: pl.Series) -> bytes:
    return lengths.to_numpy().astype(np.uint32).tobytes()
