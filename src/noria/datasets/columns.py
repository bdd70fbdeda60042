"""The columns of a dataset: their kinds and order, fixed by the first commit; a kind is stored in one way, exactly."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from polars.exceptions import PanicException, PolarsError

from noria.core.errors import BadData, nearest
from noria.datasets import kinds
from noria.datasets.model import KNOWN_AT, PREDICTION, Dataset

MOMENT = kinds.MOMENT
_EXACT = 2**53
"""From here on floats of 64 bits leave out whole numbers."""


def kind_of(dtype: pl.DataType) -> str:
    """Return a column's kind; the same kind is stored in the same way, whatever its width was."""
    return kinds.kind_of_stored(kinds.stored_type(dtype))


def type_of(kind: str) -> pl.DataType | None:
    """Return the type that a column of a plain kind is stored as; None for a kind that is not plain, or unknown."""
    return kinds.plain_type(kind)


def plain_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with one type for each kind of column: 64 bits, microseconds, UTC, plain text.

    Raises `BadData` for values that the type cannot hold exactly, and for Python objects.
    """
    for name, dtype in frame.schema.items():
        if dtype == pl.Object:
            raise BadData(f"column {name!r} holds Python objects", hint="give it a type; nothing was committed")
        if not kinds.is_kept(dtype):
            raise BadData(f"column {name!r} holds {dtype}", hint="make it numbers or text; nothing was committed")
    return pl.DataFrame([_plain(column) for column in frame.iter_columns()])


def _plain(column: pl.Series) -> pl.Series:
    """Return a column as its kind is stored; one of text without any value has no kind yet."""
    is_empty = kinds.kind_of_stored(kinds.stored_type(column.dtype)) == "text" and column.null_count() == column.len()
    return exactly(column, pl.Null() if is_empty else kinds.stored_type(column.dtype))


def joined_columns(dataset: Dataset, known: Mapping[str, str], frame: pl.DataFrame) -> dict[str, str]:
    """Return the dataset's columns, in their order, with the kinds that rows or labels have as well.

    The columns of rows are those of the first commit; the label's is that of the first labels. Raises `BadData` for
    rows with other columns, and for columns of another kind; whole numbers may become fractions, and a column that
    had no values takes the kind of its first.
    """
    hidden = {PREDICTION, KNOWN_AT} if dataset.label else {PREDICTION}
    found = {name: kind_of(dtype) for name, dtype in frame.schema.items() if name not in hidden}
    rows_known = [name for name in known if name != dataset.label]
    if dataset.label not in found and rows_known:
        _must_be_the_same(dataset, rows_known, list(found))
    return {
        name: _joined(dataset, name, known.get(name, kinds.UNKNOWN), found.get(name, kinds.UNKNOWN))
        for name in {**known, **found}
    }


def conformed(frame: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Return rows or labels with the dataset's types, and rows with its order of columns."""
    ordered = [name for name in columns if name in frame.columns]
    others = [name for name in frame.columns if name not in columns]
    cast = [exactly(frame[name], kinds.type_of_kind(columns[name])) for name in ordered]
    return pl.DataFrame([*cast, *(frame[name] for name in others)])


def widened(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the columns whose whole numbers become fractions, so that those stored before must be exact as such."""
    return [name for name, kind in after.items() if kind == "float" and before.get(name) == "int"]


def must_be_exact_as_fractions(dataset: Dataset, whole: pl.Series) -> None:
    """Raise `BadData` if stored whole numbers would run together as fractions of 64 bits."""
    changed = _changed(whole, whole.cast(pl.Float64))
    if changed is not None:
        raise BadData(
            f"column {whole.name!r} of dataset {dataset.name!r} holds whole numbers beyond 2**53, such as "
            f"{whole[changed]}, and these rows have fractions, which would run them together",
            hint="give whole numbers (in pandas with gaps: dtype 'Int64'), or make both text; nothing was committed",
        )


def must_not_be_rounded(dataset: Dataset, fractions: pl.Series) -> None:
    """Raise `BadData` if fractions that join whole numbers are so large that digits may have been lost before."""
    if not fractions.dtype.is_float():
        return
    large = fractions.filter((fractions.abs() >= _EXACT) & fractions.is_finite())
    if large.len():
        raise BadData(
            f"column {fractions.name!r} of dataset {dataset.name!r} holds whole numbers, and these rows have "
            f"{large[0]:.0f} as a fraction, whose last digits may be lost",
            hint="give whole numbers (in pandas with gaps: dtype 'Int64'), or make both text; nothing was committed",
        )


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
    wide = kinds.wider(kinds.type_of_kind(known), kinds.type_of_kind(found))
    if wide is None:
        raise BadData(
            f"column {name!r} of dataset {dataset.name!r} is {known}, and these rows have {found}",
            hint="cast it before the commit; nothing was committed",
        )
    return kinds.kind_of_stored(wide)


def exactly(column: pl.Series, wanted: pl.DataType) -> pl.Series:
    """Return a column as another type; raises `BadData` where a value would not be the same."""
    if column.dtype == wanted:
        return column
    try:
        cast = column.cast(wanted)
    except (PolarsError, PanicException) as problem:
        raise BadData(
            f"column {column.name!r} holds a value that {kinds.kind_of_stored(wanted)} cannot: "
            f"{str(problem).splitlines()[0]}",
            hint="whole numbers have 64 bits with a sign, decimals 38 digits: give it as text; nothing was committed",
        ) from problem
    place = _changed(column, cast) if kinds.may_lose(column.dtype, wanted) else None
    if place is not None:
        raise BadData(
            f"column {column.name!r} holds {_spelled(column, place)} in row {place + 1:,}, which {wanted} cannot hold "
            "exactly",
            hint="round it, or give it as text; times are kept to the microsecond; nothing was committed",
        )
    return cast


def _spelled(column: pl.Series, place: int) -> str:
    """Spell a value with all its digits; Python's times have no nanoseconds."""
    is_time = isinstance(column.dtype, pl.Datetime | pl.Duration)
    return str(column.slice(place, 1).dt.to_string("iso")[0]) if is_time else repr(column[place])


def _changed(before: pl.Series, after: pl.Series) -> int | None:
    """Return the first place where a cast has changed a value, None if there is none."""
    back = after.cast(before.dtype, strict=False)
    if back.equals(before):
        return None
    place, count = 0, before.len()
    while count > 1:  # halving: values of any type can be compared as a whole
        half = count // 2
        if back.slice(place, half).equals(before.slice(place, half)):
            place, half = place + half, count - half
        count = half
    return place


def nothing_committed(found: Iterable[str], name: str = "") -> str:
    """Return the hint that offers the names there are, or the nearest one, and says that nothing was lost."""
    offer = nearest(name, found) if name else "found: " + ", ".join(sorted(found))
    return f"{offer} nothing was committed".strip()
