"""Pure decisions about data: what may be committed, what a read may see, which fragments can matter to it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import polars as pl

from noria.core import digests
from noria.core.errors import BadData, nearest
from noria.datasets.model import KNOWN_AT, Dataset, Fragment, FragmentKind

_SHOWN = 3
_UNKNOWN = "unknown"
_MOMENT = pl.Datetime("us", "UTC")
_WIDER = {("int", "float"): "float", ("float", "int"): "float"}


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


def plain_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with one type for each kind of column: 64 bits, UTC in microseconds, plain text."""
    types = {"int": pl.Int64, "float": pl.Float64, "text": pl.String, "time": _MOMENT}
    wanted = {name: types[kind] for name, dtype in frame.schema.items() if (kind := kind_of(dtype)) in types}
    return frame.cast(wanted)  # type: ignore[arg-type]  # names to types, as cast takes them


def joined_columns(dataset: Dataset, known: Mapping[str, str], frame: pl.DataFrame) -> dict[str, str]:
    """Return the dataset's columns with this frame's; raises `BadData` if they are not the same columns."""
    found = {name: kind_of(dtype) for name, dtype in frame.schema.items()}
    if not known:
        return found
    for name in found:
        if name not in known:
            raise BadData(
                f"dataset {dataset.name!r} has no column {name!r}",
                hint=nearest(name, known) + " nothing was committed; other columns are another dataset",
            )
    for name in known:
        if name not in found:
            raise BadData(f"the rows lack the column {name!r} of dataset {dataset.name!r}", hint=_nothing(found))
    return {name: _joined(dataset, name, known[name], found[name]) for name in known}


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


def checked_rows(dataset: Dataset, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows fit to be committed, in order of time and key; raises `BadData` with the way out."""
    _must_have(frame, (dataset.key, dataset.time), f"rows of dataset {dataset.name!r}")
    if frame.height == 0:
        raise BadData("there are no rows", hint="nothing was committed; was the file's writer cut short?")
    frame = frame.with_columns(_moments(frame, dataset.time))
    _must_be_unique(frame, dataset.key)
    return plain_types(frame).sort(dataset.time, dataset.key)


def checked_labels(dataset: Dataset, frame: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Return labels fit to land, with exactly the columns key, label and known_at; raises `BadData`."""
    if dataset.label is None:
        raise BadData(f"dataset {dataset.name!r} has no label", hint="declare one: nr.Dataset(..., label='column')")
    wanted = (dataset.key, dataset.label, KNOWN_AT)
    _must_have(frame, wanted, f"labels of dataset {dataset.name!r}")
    if frame.height == 0:
        raise BadData("there are no labels", hint="nothing was landed; was the file's writer cut short?")
    frame = frame.select(dataset.key, dataset.label, _moments(frame, KNOWN_AT))
    _must_be_unique(frame, dataset.key)
    missing = _missing(frame[dataset.label])
    if missing:
        raise BadData(
            f"{missing:,} of {frame.height:,} labels are missing or NaN",
            hint="leave them out until they are known; nothing was landed",
        )
    future = frame.filter(pl.col(KNOWN_AT) > now)
    if future.height:
        first = future[0, dataset.key]
        raise BadData(
            f"{future.height:,} labels are from the future (the first: {first!r}, known at {future[0, KNOWN_AT]})",
            hint=f"{KNOWN_AT} may not be after now, {now:%Y-%m-%d %H:%M:%S} UTC; nothing was landed",
        )
    return plain_types(frame).sort(KNOWN_AT, dataset.key)


def split_labels(
    dataset: Dataset, frame: pl.DataFrame, *, arrived_at: datetime
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Part rows that bring their labels along; a missing label is not known yet, a missing known_at is the arrival."""
    if dataset.label is None or dataset.label not in frame.columns:
        return frame, None
    if KNOWN_AT not in frame.columns:
        frame = frame.with_columns(pl.lit(arrived_at).alias(KNOWN_AT))
    _must_have(frame, (dataset.key,), f"rows of dataset {dataset.name!r}")
    labels = frame.select(dataset.key, dataset.label, KNOWN_AT).drop_nulls(dataset.label)
    return frame.drop(dataset.label, KNOWN_AT), labels if labels.height else None


def overlapping(parts: Iterable[Fragment], keys: pl.Series, *, kind: FragmentKind) -> list[Fragment]:
    """Return the fragments of a kind whose range of keys touches these keys'; keys are compared as text."""
    spelled = keys.cast(pl.String)
    first, last = str(spelled.min()), str(spelled.max())
    return [part for part in parts if part.kind is kind and part.first_key <= last and first <= part.last_key]


def must_be_new(keys: pl.Series, known: pl.Series, *, dataset: Dataset) -> None:
    """Raise `BadData` if rows of these keys are there already."""
    twice = keys.filter(keys.is_in(known.implode()))
    if twice.len():
        raise BadData(
            f"{twice.len():,} rows have keys that dataset {dataset.name!r} holds already: {_some(twice)}",
            hint="leave them out; to make a push safe to repeat, give it a key (--once KEY)",
        )


def must_be_known(keys: pl.Series, known: pl.Series, *, dataset: Dataset) -> None:
    """Raise `BadData` if labels belong to no row."""
    strangers = keys.filter(~keys.is_in(known.implode()))
    if strangers.len():
        raise BadData(
            f"{strangers.len():,} labels belong to no row of dataset {dataset.name!r}: {_some(strangers)}",
            hint="commit their rows first; nothing was landed",
        )


def relevant(
    parts: Iterable[Fragment],
    *,
    through: int,
    as_of: datetime | None,
    since: datetime | None,
    until: datetime | None,
) -> list[Fragment]:
    """Return the fragments of a snapshot that can matter to a read, in the order in which they were committed."""
    return [
        part
        for part in parts
        if part.added_in <= through
        and (since is None or part.last_time >= since)
        and (until is None or part.first_time < until)
        and (as_of is None or part.first_time <= as_of)
        and (as_of is None or part.known_from is None or part.known_from <= as_of)
    ]


def read_digest(parts: Sequence[Fragment], **bounds: object) -> str:
    """Return the digest of a read, from the digests of the fragments that can matter to it and its bounds."""
    spelled = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in bounds.items()}
    return digests.of_json({"fragments": [[part.kind.value, part.digest] for part in parts], "bounds": spelled})


def known_by(labels: pl.DataFrame, *, key: str, as_of: datetime | None) -> pl.DataFrame:
    """Return each key's label as it was known: the one that became known last, of two at once the one landed last."""
    seen = labels if as_of is None else labels.filter(pl.col(KNOWN_AT) <= as_of)
    if seen[key].n_unique() == seen.height:
        return seen
    return seen.sort(KNOWN_AT, maintain_order=True).unique(key, keep="last", maintain_order=True)


def inside(
    rows: pl.DataFrame,
    *,
    time: str,
    as_of: datetime | None,
    since: datetime | None,
    until: datetime | None,
) -> pl.DataFrame:
    """Return the rows with event times in [since, until), none after `as_of`."""
    when = pl.col(time)
    bounds = [
        None if since is None else when >= since,
        None if until is None else when < until,
        None if as_of is None else when <= as_of,
    ]
    return rows.filter(*(bound for bound in bounds if bound is not None))


def _must_have(frame: pl.DataFrame, columns: Sequence[str], what: str) -> None:
    for name in columns:
        if name not in frame.columns:
            raise BadData(f"the {what} lack the column {name!r}", hint=_nothing(frame.columns, name))


def _must_be_unique(frame: pl.DataFrame, key: str) -> None:
    if frame[key].null_count():
        raise BadData(
            f"{frame[key].null_count():,} rows have no {key!r}",
            hint="every row needs a key of its own; nothing was committed",
        )
    if frame[key].n_unique() < frame.height:
        twice = frame[key].filter(frame[key].is_duplicated()).unique(maintain_order=True)
        raise BadData(
            f"{twice.len():,} keys come more than once: {_some(twice)}",
            hint="leave the copies out; nothing was committed",
        )


def _moments(frame: pl.DataFrame, name: str) -> pl.Series:
    column = frame[name]
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if not isinstance(column.dtype, pl.Datetime) or column.dtype.time_zone is None:
        raise BadData(
            f"column {name!r} holds {column.dtype}, not moments with a time zone",
            hint="write times like 2026-01-31T12:00:00Z, or give the column a zone: .dt.replace_time_zone('UTC')",
        )
    if column.null_count():
        raise BadData(f"{column.null_count():,} rows have no {name!r}", hint="leave them out; nothing was committed")
    return column.dt.convert_time_zone("UTC").cast(_MOMENT)


def _missing(column: pl.Series) -> int:
    nan = int(column.is_nan().sum()) if column.dtype.is_float() else 0
    return column.null_count() + nan


def _some(keys: pl.Series) -> str:
    shown = ", ".join(repr(key) for key in keys.head(_SHOWN).to_list())
    return shown + (", ..." if keys.len() > _SHOWN else "")


def _nothing(found: Iterable[str], name: str = "") -> str:
    offer = nearest(name, found) if name else "found: " + ", ".join(sorted(found))
    return f"{offer} nothing was committed".strip()
