"""The columns of a dataset: their kinds and order, fixed by the first commit."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from polars.exceptions import PolarsError

from noria.core.errors import BadData, nearest
from noria.datasets.model import KNOWN_AT, PREDICTION, Dataset

MOMENT = pl.Datetime("us", "UTC")
_UNKNOWN = "unknown"
_WIDER = {("int", "float"): "float", ("float", "int"): "float"}
_TYPES: dict[str, pl.DataType] = {"int": pl.Int64(), "float": pl.Float64(), "text": pl.String(), "time": MOMENT}


def kind_of(dtype: pl.DataType) -> str:
    """Return a column's kind; the same kind is stored in the same way, whatever its width was."""
    if dtype == pl.Null:
        return _UNKNOWN
    if dtype == pl.Boolean:
        return "bool"
    if dtype.is_integer():
        return "int"
    if dtype.is_float():
        return "float"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "text"
    return "time" if isinstance(dtype, pl.Datetime) and dtype.time_zone else str(dtype)


def type_of(kind: str) -> pl.DataType | None:
    """Return the type that a column of a plain kind is stored as; None for a kind that is not plain, or unknown."""
    return pl.Boolean() if kind == "bool" else _TYPES.get(kind)


def plain_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with one type for each kind of column: 64 bits, UTC in microseconds, plain text."""
    for name, dtype in frame.schema.items():
        if dtype == pl.Object:
            raise BadData(f"column {name!r} holds Python objects", hint="give it a type; nothing was committed")
    return _cast(frame, {name: kind_of(dtype) for name, dtype in frame.schema.items()})


def joined_columns(dataset: Dataset, known: Mapping[str, str], frame: pl.DataFrame) -> dict[str, str]:
    """Return the dataset's columns, in their order, with the kinds that rows or labels have as well.

    The columns of rows are those of the first commit; the label's is that of the first labels. Raises `BadData` for
    rows with other columns, and for columns of another kind; whole numbers may become fractions.
    """
    hidden = {PREDICTION, KNOWN_AT} if dataset.label else {PREDICTION}
    found = {name: kind_of(dtype) for name, dtype in frame.schema.items() if name not in hidden}
    rows_known = [name for name in known if name != dataset.label]
    if dataset.label not in found and rows_known:
        _must_be_the_same(dataset, rows_known, list(found))
    return {
        name: _joined(dataset, name, known.get(name, _UNKNOWN), found.get(name, _UNKNOWN))
        for name in {**known, **found}
    }


def conformed(frame: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Return rows or labels with the dataset's types, and rows with its order of columns."""
    ordered = [name for name in columns if name in frame.columns]
    others = [name for name in frame.columns if name not in columns]
    return _cast(frame.select(*ordered, *others), columns)


def _must_be_the_same(dataset: Dataset, known: Sequence[str], found: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise BadData(
                f"dataset {dataset.name!r} has no column {name!r}",
                hint=f"{nearest(name, known)} nothing was committed; other columns are another dataset".strip(),
            )
    for name in known:
        if name not in found:
            raise BadData(
                f"the rows lack the column {name!r} of dataset {dataset.name!r}", hint=nothing_committed(found)
            )


def _joined(dataset: Dataset, name: str, known: str, found: str) -> str:
    if _UNKNOWN in (known, found):
        return found if known == _UNKNOWN else known
    if known == found:
        return known
    wider = _WIDER.get((known, found))
    if wider is None:
        raise BadData(
            f"column {name!r} of dataset {dataset.name!r} is {known}, and these rows have {found}",
            hint="cast it before the commit; nothing was committed",
        )
    return wider


def _cast(frame: pl.DataFrame, kinds: Mapping[str, str]) -> pl.DataFrame:
    wanted = {name: _TYPES[kinds[name]] for name in frame.columns if kinds.get(name) in _TYPES}
    try:
        return frame.cast(wanted)  # type: ignore[arg-type]  # names to types, as cast takes them
    except PolarsError as problem:
        raise BadData(
            f"a value is too large to be kept: {str(problem).splitlines()[0]}",
            hint="whole numbers have 64 bits with a sign; nothing was committed",
        ) from problem


def nothing_committed(found: Iterable[str], name: str = "") -> str:
    """Return the hint that offers the names there are, or the nearest one, and says that nothing was lost."""
    offer = nearest(name, found) if name else "found: " + ", ".join(sorted(found))
    return f"{offer} nothing was committed".strip()
