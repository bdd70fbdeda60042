"""Frames at the border: from other libraries into Polars, to and from Parquet, and their logical digest."""

import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import numpy as np
import polars as pl
from polars.exceptions import PanicException

from noria.core import digests
from noria.core.errors import BadData, NoriaError
from noria.datasets.model import LABEL_SOURCE, ROW_SOURCE

_ONE_TYPE = "give every column one type; nothing was committed"
_EXACT_FLOAT = 2**53
_UNORDERED: tuple[type[object], ...] = (set, frozenset, UUID, range)
"""What would come back as a list or as bytes."""


@contextmanager
def in_words(what: str) -> Generator[None]:
    """Turn whatever Polars or Arrow raises, panics included, into `BadData`; errors of our own go through."""
    try:
        yield
    except NoriaError:
        raise
    except ImportError as problem:
        hint = "pip install pyarrow, or give a Polars frame; nothing was committed"
        raise BadData(f"{what} cannot be read without PyArrow", hint=hint) from problem
    except (PanicException, Exception) as problem:
        said = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise BadData(
            f"{what} cannot be read as a frame: {said}", hint="give every column one type; nothing was committed"
        ) from problem


def as_frame(rows: Any) -> pl.DataFrame:  # noqa: ANN401 - whatever people hold their rows in
    """Return a Polars frame from one, from pandas, PyArrow or plain dicts and lists; raises `BadData`."""
    match rows:
        case pl.DataFrame():
            found = rows
        case pl.LazyFrame():
            with in_words("the rows"):
                found = rows.collect()
        case list():
            found = of_records(cast("list[Any]", rows))
        case _:
            found = _from_other(rows)
    must_be_names(found.columns)
    return found


def of_records(rows: Sequence[Any]) -> pl.DataFrame:
    """Return the frame of rows as mappings; what a row leaves out is missing, every column has one type."""
    if not all(isinstance(row, dict) for row in rows):
        raise BadData("the rows are no mappings of columns to values", hint="give each row as a dict, or give a frame")
    names = list(dict.fromkeys(name for row in rows for name in row))
    must_be_names(names)
    return pl.DataFrame([_column(name, [row.get(name) for row in rows]) for name in names])


def _column(name: str, values: list[object]) -> pl.Series:
    """Return values of one type; whole numbers among fractions are fractions where that is exact."""
    _must_be_plain_values(name, values)
    found: set[type[object]] = {type(value) for value in values} - {type(None)}
    if found == {int, float}:
        large = next((value for value in values if isinstance(value, int) and int(float(value)) != value), None)
        if large is not None:
            raise BadData(f"column {name!r} holds {large} among fractions, which cannot hold it", hint=_ONE_TYPE)
        values = [float(value) if isinstance(value, int | float) else None for value in values]
    with in_words(f"column {name!r}"):
        return pl.Series(name, values, strict=True)


def _from_other(rows: Any) -> pl.DataFrame:  # noqa: ANN401 - see as_frame
    room = type(rows).__module__.partition(".")[0]
    if room not in ("pandas", "pyarrow", "builtins") or not hasattr(rows, "__len__") or isinstance(rows, str | bytes):
        raise BadData(
            f"a {type(rows).__name__} is no frame",
            hint="give a Polars, pandas or PyArrow table, or a path to Parquet, CSV, JSON or Arrow",
        )
    if room == "pandas":
        _must_be_plain_pandas(rows)
    with in_words(f"this {room} table" if room != "builtins" else "the rows"):
        # all rows are looked at, so that none loses a column or a digit; what is missing in pandas is NaN
        found = pl.DataFrame(rows, infer_schema_length=None, nan_to_null=room == "pandas")
    return _without_types_of_nothing(found) if room == "pandas" else found


def _without_types_of_nothing(frame: pl.DataFrame) -> pl.DataFrame:
    """Return what came from pandas without the types of columns that are all missing: pandas has to call them some."""
    nothing = [c.name for c in frame.iter_columns() if frame.height and c.null_count() == frame.height]
    return frame.with_columns(pl.Series(name, [None] * frame.height, pl.Null) for name in nothing)


def _must_be_plain_pandas(table: Any) -> None:  # noqa: ANN401 - pandas is an extra
    """Raise `BadData` for columns without plain names, and for ids that a gap has made into fractions."""
    names = list(getattr(table, "columns", ()))
    must_be_names(names)
    for name in names:
        column = table[name]
        if str(column.dtype) == "object":
            _must_be_plain_values(name, column)
        if str(column.dtype) != "float64" or not column.isna().any():
            continue
        there = column.dropna().to_numpy()
        if there.size and np.abs(there).max() >= _EXACT_FLOAT and (there == np.floor(there)).all():
            raise BadData(
                f"column {name!r} holds whole numbers beyond 2**53 as fractions, because some are missing: their last "
                f"digits are lost, as in {there[np.abs(there).argmax()]:.0f}",
                hint="read it as dtype 'Int64' or as text; if they are fractions, give a Polars frame; "
                "nothing was committed",
            )


def _must_be_plain_values(name: str, values: Iterable[Any]) -> None:
    """Raise `BadData` for Python objects that would come back as something else: sets, ids, objects of many shapes."""
    there = [value for value in values if value is not None]
    odd: object = next((value for value in there if isinstance(value, _UNORDERED)), None)
    if odd is not None:
        raise BadData(f"column {name!r} holds {odd!r}, a {type(odd).__name__}", hint="make it a list or a text")
    shapes = {tuple(cast("dict[str, object]", value)) for value in there if isinstance(value, dict)}
    if len(shapes) > 1:
        raise BadData(
            f"column {name!r} holds objects with other names: {', '.join(map(str, sorted(map(list, shapes))[:2]))}",
            hint="give all of them the same names in the same order, or give them as texts; nothing was committed",
        )


def must_be_names(names: Sequence[Any]) -> None:
    """Raise `BadData` unless all columns have names of their own that are texts and mean nothing else."""
    odd = next((name for name in names if not isinstance(name, str)), None)
    if odd is not None:
        raise BadData(f"a column is named {odd!r}, which is no text", hint="name every column with a text")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise BadData(f"two columns are named {twice!r}", hint="name every column once; nothing was committed")
    taken = next((name for name in names if _is_taken(name)), None)
    if taken is not None:
        raise BadData(
            f"a column is named {taken!r}, which means something else: no column, many, or one of Noria's own",
            hint="rename it; nothing was committed",
        )


def _is_taken(name: str) -> bool:
    """Return whether a name cannot be used for a column: Polars reads `*` and `^...$` as patterns."""
    return name in ("", "*", ROW_SOURCE, LABEL_SOURCE) or (name.startswith("^") and name.endswith("$"))


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
    missing = column.is_null().to_numpy() if column.null_count() else np.zeros(len(column), bool)
    return [np.packbits(missing).tobytes(), *_present(column)]


def _present(column: pl.Series) -> list[bytes | memoryview]:
    kind = column.dtype
    if kind.is_float():
        numbers = _whole(column, 0.0).cast(pl.Float64).to_numpy()
        unknown = np.isnan(numbers)
        numbers = np.where(unknown, np.nan, numbers) if unknown.any() else numbers  # one NaN for all
        return [np.ascontiguousarray(numbers).data]
    if kind == pl.UInt64:
        return [_whole(column, 0).to_numpy().data]
    if (kind.is_integer() and not isinstance(kind, pl.Int128 | pl.UInt128)) or kind == pl.Boolean or kind.is_temporal():
        return [_whole(column.to_physical().cast(pl.Int64), 0).to_numpy().data]
    return _of_many(column)


def _of_many(column: pl.Series) -> list[bytes | memoryview]:
    """Return values that take up bytes as they need: their lengths, then all of them."""
    kind = column.dtype
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        texts = _whole(column.cast(pl.String), "")
        return [_packed(texts.str.len_bytes()), "".join(texts.to_list()).encode()]
    if isinstance(kind, pl.Binary):
        parts = _whole(column, b"")
        return [_packed(parts.bin.size()), b"".join(parts.to_list())]
    if isinstance(kind, pl.List | pl.Array):
        lists = column.cast(pl.List(kind.inner))
        return [_packed(lists.list.len().fill_null(0)), *_values(lists.explode())]
    return [repr(value).encode() for value in column.to_list()]


def _whole(column: pl.Series, instead: object) -> pl.Series:
    """Return the column with its nulls replaced; a column without nulls is returned as it is, which is faster."""
    return column.fill_null(instead) if column.null_count() else column


def _packed(lengths: pl.Series) -> bytes:
    return lengths.to_numpy().astype(np.uint32).tobytes()
