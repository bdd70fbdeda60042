"""Reads files of rows: delimited text, JSON, Parquet and Arrow; says what was understood, asks where it is not sure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import polars as pl

from noria.core.errors import BadData, Invalid, NotFound, nearest
from noria.datasets import delimited, frames, inference, kinds, parsing
from noria.datasets.columns import kind_of
from noria.datasets.delimited import Texts
from noria.datasets.inference import Reader, Told, Understood
from noria.datasets.kinds import LOCAL_TIME
from noria.datasets.model import KNOWN_AT, Dataset

_PARQUET, _ARROW, _JSON, _LINES = (".parquet", ".pq"), (".arrow", ".feather", ".ipc"), (".json",), (".ndjson", ".jsonl")
SUFFIXES = (*_PARQUET, *delimited.SUFFIXES, *_ARROW, *_JSON, *_LINES)
_NOTHING = "nothing was committed"


class FileOptions(TypedDict, total=False):
    """How a file is to be read; what is left out is found out, or asked about.

    `types` are kinds by column (int, float, decimal, text, bool, time, date, skip), or a text `a=int,b=text`. `dates`
    is how dates are written: `dmy`, `mdy`, `ymd`, `unix`, `unix_ms`, `unix_us`, or a format such as `%d.%m.%Y`; by
    column as a mapping. `zone` is that of times without one. `null` are texts that mean a missing value. `decimal`
    is the mark before fractions.
    """

    types: Mapping[str, str] | str | None
    dates: Mapping[str, str] | str | None
    zone: str | None
    sep: str | None
    encoding: str | None
    null: str | Sequence[str] | None
    decimal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """The rows of a file or a frame, what each column was taken for, and what was taken for granted."""

    frame: pl.DataFrame
    understood: tuple[Understood, ...] = ()
    notes: tuple[str, ...] = ()


def read(rows: Any, *, dataset: Dataset, known: Mapping[str, str], options: FileOptions) -> FileTable:  # noqa: ANN401 - whatever people hold their rows in
    """Return rows as a table: a frame as it is, a path read by its suffix; `known` are the dataset's kinds by column.

    The columns of text files that the dataset has are read as what it has them for, others are inferred. Raises
    `BadData` with the line, the column and the way out where a value is not sure, and `NotFound` for no such file.
    """
    if isinstance(rows, FileTable):
        return rows
    told = _told(options)
    times = (dataset.time, KNOWN_AT) if dataset.label is not None else (dataset.time,)
    if not isinstance(rows, str | Path):
        _must_be_said(options, ("zone",), "a frame")
        frame = frames.as_frame(rows)
        return FileTable(frame=_localized(frame, told.zone, known))
    file = Path(rows)
    suffix = _suffix(file)
    if suffix in delimited.SUFFIXES:
        texts = delimited.read(file, sep=options.get("sep"), encoding=options.get("encoding"))
        frames.must_be_names([name for name in texts.columns if name and told.types.get(name) != "skip"])
        found, notes = Reader(texts=texts, told=told, times=times, known=known).columns()
        frames.must_be_names([each.name for each in found])
        return FileTable(
            frame=pl.DataFrame([each.column for each in found]), understood=tuple(found), notes=tuple(notes)
        )
    frame, notes = _without_index(file, _typed(file, suffix), told, known)
    if suffix in (*_JSON, *_LINES):
        _must_be_said(options, ("zone", "types", "dates"), file.name)
        frame = _with_times(frame, Reader(texts=_texts(file, frame), told=told, times=times, known=known))
    else:
        _must_be_said(options, ("zone", "types"), file.name)
        _must_only_skip(file, told)
    frame = _localized(frame, told.zone, known)
    return FileTable(frame=frame, understood=tuple(_as_it_is(column) for column in frame.iter_columns()), notes=notes)


def _told(options: FileOptions) -> Told:
    dates = options.get("dates") or {}
    null = options.get("null") or ()
    decimal = options.get("decimal", ".")
    if decimal not in (".", ","):
        raise Invalid(f"{decimal!r} is no mark before fractions", hint="a point or a comma")
    return Told(
        types=pairs(options.get("types") or {}),
        dates={"": dates} if isinstance(dates, str) else dict(dates),
        zone=options.get("zone"),
        null=frozenset([null] if isinstance(null, str) else null),
        decimal=decimal,
    )


def pairs(spelled: Mapping[str, str] | str) -> dict[str, str]:
    """Read `a=int,b=text`; a mapping is returned as it is."""
    if not isinstance(spelled, str):
        return dict(spelled)
    found = [each.rpartition("=") for each in spelled.split(",")]
    if any(not separator for _, separator, _ in found):
        raise Invalid(f"{spelled!r} are no types of columns", hint="write them like id=text,price=float")
    return {name: kind.strip() for name, _, kind in found}


def _must_be_said(options: FileOptions, of_it: Sequence[str], what: str) -> None:
    """Raise `Invalid` for an option that says nothing about such a file or frame."""
    for name, value in options.items():
        if value not in (None, ".", ()) and name not in of_it:
            raise Invalid(f"{name!r} says nothing about {what}", hint="it is for delimited text: .csv, .tsv, .txt")


def _must_only_skip(file: Path, told: Told) -> None:
    for name, kind in told.types.items():
        if kind != "skip":
            raise Invalid(f"{file.name} says itself what {name!r} is", hint="only skip can be told of it")


def _suffix(file: Path) -> str:
    """Return the suffix that says how a file is read, without that of its packing; raises for what cannot be read."""
    if not file.is_file():
        siblings = [other.name for other in file.parent.glob("*") if other.suffix.lower() in SUFFIXES]
        raise NotFound("file", file, hint=nearest(file.name, siblings))
    suffix = file.suffix.lower()
    if suffix in delimited.PACKED:
        inner = Path(file.stem).suffix.lower()
        suffix = inner if inner in delimited.SUFFIXES else ".csv" if not inner and suffix == ".zip" else suffix + inner
    if suffix not in SUFFIXES:
        raise BadData(f"{file.name} is of no kind that can be read", hint=f"one of {', '.join(SUFFIXES)}; {_NOTHING}")
    if file.stat().st_size == 0:
        raise BadData(f"{file.name} is empty", hint=f"{_NOTHING}; was its writer cut short?")
    return suffix


def _typed(file: Path, suffix: str) -> pl.DataFrame:
    """Return the rows of a file that says the types of its values."""
    with frames.in_words(file.name):
        if suffix in _PARQUET:
            return pl.read_parquet(file, glob=False)
        if suffix in _ARROW:
            return pl.read_ipc(file)
        text = file.read_text(encoding="utf-8-sig")
        if suffix in _JSON and text.lstrip().startswith("["):
            return frames.of_records(cast("list[Any]", _decoded(file, text, line=None)))
        lines = enumerate(text.split("\n"), 1)
        return frames.of_records([_decoded(file, line, line=number) for number, line in lines if line.strip()])


def _decoded(file: Path, text: str, *, line: int | None) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_fraction)
    except json.JSONDecodeError as problem:
        place = problem.lineno if line is None else line
        raise BadData(
            f"{file.name}, line {place}: {problem.msg}", hint=f"is it JSON, and whole? {_NOTHING}"
        ) from problem


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        names = [name for name, _ in items]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadData(f"an object has {twice!r} twice", hint=f"name every value once; {_NOTHING}")
    return found


def _fraction(text: str) -> float:
    if not parsing.is_exact(text):
        raise BadData(f"{text} has more digits than a float of 64 bits keeps", hint=f"give it as a text; {_NOTHING}")
    return float(text)


def _without_index(
    file: Path, frame: pl.DataFrame, told: Told, known: Mapping[str, str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Leave out what is told to be skipped, and the index that pandas wrote along if it only counts the rows."""
    kept, notes = list[pl.Series](), list[str]()
    for name in told.types:
        if name not in frame.columns:
            raise BadData(f"{file.name} has no column {name!r} to give a type", hint=nearest(name, frame.columns))
    for column in frame.iter_columns():
        name = column.name
        if told.types.get(name) == "skip":
            notes.append(f"column {name!r} is left out, as told")
        elif (
            name not in known
            and inference.looks_like_index(name)
            and inference.only_counts_rows(file.name, name, column)
        ):
            notes.append(f"column {name!r} only counts the rows, as pandas does: it is left out")
        else:
            kept.append(column)
    frames.must_be_names([column.name for column in kept])
    return pl.DataFrame(kept), tuple(notes)


def _texts(file: Path, frame: pl.DataFrame) -> Texts:
    columns = {column.name: column for column in frame.iter_columns() if column.dtype == pl.String}
    return Texts(file=file.name, columns=columns, lines=range(1, frame.height + 1), notes=())


def _with_times(frame: pl.DataFrame, reader: Reader) -> pl.DataFrame:
    """Return JSON's rows with texts as the times, days and decimals that they have to be, and no others."""
    columns = list[pl.Series]()
    for column in frame.iter_columns():
        known = kinds.type_of_kind(reader.known.get(column.name, kinds.UNKNOWN))
        is_told = column.name in (*reader.times, *reader.told.types, *reader.told.dates)
        if column.dtype == pl.String and (is_told or not isinstance(known, pl.Null | pl.String)):
            column = reader.understood(column.name, column).column  # noqa: PLW2901 - read as what it has to be
        columns.append(column)
    return pl.DataFrame(columns)


def _localized(frame: pl.DataFrame, zone: str | None, known: Mapping[str, str]) -> pl.DataFrame:
    """Return a frame with its times without a zone as moments of one; raises `BadData` for hours there were not."""
    if zone is None:
        return frame
    parsing.must_be_zone(zone)
    columns = list[pl.Series]()
    for column in frame.iter_columns():
        is_local = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None
        if not is_local or kinds.type_of_kind(known.get(column.name, kinds.UNKNOWN)) == LOCAL_TIME:
            columns.append(column)
            continue
        moments = parsing.in_zone(column, zone)
        lost = moments.is_null() & column.is_not_null()
        if lost.any():
            raise BadData(
                f"column {column.name!r} holds {column.filter(lost)[0]}, which the clocks of {zone} showed twice or "
                "not at all",
                hint=f"give the column its offset; {_NOTHING}",
            )
        columns.append(moments)
    return pl.DataFrame(columns)


def _as_it_is(column: pl.Series) -> Understood:
    there = column.drop_nulls()
    return Understood(
        name=column.name,
        kind=kind_of(column.dtype),
        why="as the file has it",
        example=str(there[0]) if there.len() else None,
        missing=column.null_count(),
        column=column,
    )
