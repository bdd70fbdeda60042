"""Pure decisions about data: what may be committed, what a read may see, which fragments can matter to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from noria.core import digests
from noria.core.durations import spell_duration
from noria.core.errors import BadData, Conflict, Invalid, nearest
from noria.datasets import columns
from noria.datasets.model import (
    KEY_LETTERS,
    KNOWN_AT,
    MOST_LETTERS,
    PREDICTION,
    PUSHED,
    Dataset,
    Fragment,
    FragmentKind,
)

_SHOWN = 3
_KEY_KINDS = ("int", "text")
NUL = "\0"
_FIRST_INT = -(2**63)
_YEARS = (1, 9999)
_LIVE = timedelta(days=1)
"""How old an event may be whose label arrives and is no history."""
_PLACE = "noria_place"


def must_be_declared_so(known: Dataset, dataset: Dataset) -> None:
    """Raise `Conflict` if a dataset of this name was declared with another key, time or label."""
    if known != dataset:
        raise Conflict(
            f"dataset {known.name!r} has key {known.key!r}, time {known.time!r} and label {known.label!r}",
            hint="declare it as it is, or give the other one another name",
        )


def must_fit(**texts: str | None) -> None:
    """Raise `Invalid` for a source or a key that is empty, too long, or has the letter that databases refuse."""
    for name, text in texts.items():
        if text is not None and (not 0 < len(text) <= MOST_LETTERS or NUL in text):
            raise Invalid(
                f"{text[:KEY_LETTERS]!r} is no {name}", hint=f"give 1 to {MOST_LETTERS} letters, none of them NUL"
            )


def checked_rows(dataset: Dataset, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows fit to be committed, in order of time and key; raises `BadData` with the way out."""
    _must_have(frame, (dataset.key, dataset.time), f"rows of dataset {dataset.name!r}")
    if frame.height == 0:
        raise BadData("there are no rows", hint="nothing was committed; was the file's writer cut short?")
    frame = frame.with_columns(_moments(frame, dataset.time))
    _must_be_keys(frame, dataset.key)
    must_be_texts(frame)
    return columns.plain_types(frame).sort(dataset.time, dataset.key)


def checked_labels(dataset: Dataset, frame: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Return labels fit to land, with exactly the columns key, label and known_at; raises `BadData`."""
    if dataset.label is None:
        raise BadData(f"dataset {dataset.name!r} has no label", hint="declare one: nr.Dataset(..., label='column')")
    wanted = (dataset.key, dataset.label, KNOWN_AT)
    _must_have(frame, wanted, f"labels of dataset {dataset.name!r}")
    if frame.height == 0:
        raise BadData("there are no labels", hint="nothing was landed; was the file's writer cut short?")
    for name in frame.columns:
        if name not in (*wanted, PREDICTION):
            raise BadData(
                f"labels of dataset {dataset.name!r} have no column {name!r}",
                hint=f"give {dataset.key!r}, {dataset.label!r} and {KNOWN_AT!r} alone; nothing was landed",
            )
    named = [frame[PREDICTION]] if PREDICTION in frame.columns else []
    frame = pl.DataFrame([frame[dataset.key], frame[dataset.label], _moments(frame, KNOWN_AT), *named])
    _must_be_keys(frame, dataset.key)
    must_be_texts(frame)
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
    return columns.plain_types(frame).sort(KNOWN_AT, dataset.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowing:
    """When labels that come without `known_at` count as known: a delay after their events, or when they arrived."""

    arrived_at: datetime
    delay: timedelta | None = None
    is_told: bool = False
    """Whether somebody has said the delay; else it is that of history which is pushed first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """Rows without their labels, the labels that came along, and in words when those count as known."""

    rows: pl.DataFrame
    labels: pl.DataFrame | None = None
    known: str | None = None


def split_labels(dataset: Dataset, frame: pl.DataFrame, knowing: Knowing) -> Parted:
    """Part rows that bring their labels along; a missing label is not known yet."""
    if dataset.label is None:
        return Parted(rows=frame)
    if dataset.label not in frame.columns:
        if KNOWN_AT in frame.columns:
            raise BadData(
                f"the rows have {KNOWN_AT!r}, and no label {dataset.label!r} that was known then",
                hint=f"{nearest(dataset.label, frame.columns)} nothing was committed".strip(),
            )
        return Parted(rows=frame)
    _must_have(frame, (dataset.key, dataset.time), f"rows of dataset {dataset.name!r}")
    rows = pl.DataFrame([c for c in frame.iter_columns() if c.name not in (dataset.label, KNOWN_AT)])
    brought = frame.filter(frame[dataset.label].is_not_null())
    if not brought.height:
        return Parted(rows=rows)
    moments, known = _known(dataset, brought, knowing)
    return Parted(rows=rows, labels=pl.DataFrame([brought[dataset.key], brought[dataset.label], moments]), known=known)


def _known(dataset: Dataset, brought: pl.DataFrame, knowing: Knowing) -> tuple[pl.Series, str | None]:
    """Return when each label became known, and in words what was taken for granted."""
    given = brought[KNOWN_AT] if KNOWN_AT in brought.columns else pl.Series(KNOWN_AT, [None] * brought.height, pl.Null)
    count = given.null_count()
    if count == 0 or (count < brought.height and not (knowing.is_told and isinstance(given.dtype, pl.Datetime))):
        return given, None  # with gaps that nobody has said the meaning of: `checked_labels` refuses them
    events = _moments(brought, dataset.time)
    assumed = pl.repeat(knowing.arrived_at, brought.height, dtype=columns.MOMENT, eager=True)
    if knowing.delay is not None:
        after = events + knowing.delay
        assumed = after.zip_with(after < assumed, assumed)
    told = given if given.null_count() < brought.height else given.cast(columns.MOMENT)
    known = columns.exactly(told, columns.MOMENT).zip_with(given.is_not_null(), assumed)
    return known.alias(KNOWN_AT), _words(count, events.filter(given.is_null()), knowing)


def _words(count: int, events: pl.Series, knowing: Knowing) -> str:
    """Say when labels without `known_at` were taken to be known."""
    labels = f"{count:,} labels came without {KNOWN_AT!r}"
    if knowing.delay is None:
        first = events.min()
        past = isinstance(first, datetime) and knowing.arrived_at - first > _LIVE
        words = f"{labels}: they count as known when they arrived, {knowing.arrived_at:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"{words}, so no moment before shows them; say otherwise with label_delay (--label-delay 0d)"
            if past
            else words
        )
    when = "at its event" if not knowing.delay else f"{spell_duration(knowing.delay)} after its event"
    words = f"{labels}: each counts as known {when}, and no later than it arrived"
    return (
        words
        if knowing.is_told
        else f"{words}, as history that is pushed first; say otherwise with label_delay (--label-delay 7d)"
    )


def known_too_early(rows: pl.DataFrame, labels: pl.DataFrame, *, dataset: Dataset) -> str | None:
    """Say that labels are known before the events of their rows, or None if none is."""
    events = pl.DataFrame({"key": rows[dataset.key], "event": rows[dataset.time]})
    known = pl.DataFrame({"key": labels[dataset.key], "known": labels[KNOWN_AT]})
    early = known.join(events, on="key", how="inner", maintain_order="left").filter(pl.col("known") < pl.col("event"))
    return (
        f"{early.height:,} labels are known before their events, first that of {early[0, 0]!r}"
        if early.height
        else None
    )


def key_range(keys: pl.Series) -> tuple[str, str]:
    """Return the first and the last key, spelled so that texts compare as the keys do."""
    if keys.dtype.is_integer():
        return _spelled_int(keys.min()), _spelled_int(keys.max())
    return str(keys.min()), str(keys.max())


def overlapping(parts: Iterable[Fragment], keys: pl.Series, *, kind: FragmentKind) -> list[Fragment]:
    """Return the fragments of a kind whose range of keys touches these keys'."""
    first, last = key_range(keys)
    return [part for part in parts if part.kind is kind and part.first_key <= last and first <= part.last_key]


def identified(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows or labels with the column that names their prediction; it is null where there was none."""
    return frame if PREDICTION in frame.columns else frame.with_columns(pl.lit(None, pl.String).alias(PREDICTION))


def must_be_new(rows: pl.DataFrame, known: pl.DataFrame, *, dataset: Dataset) -> None:
    """Raise `BadData` if rows are there already: the same prediction's, or for others any row of the same key."""
    rows, key = identified(rows).select(dataset.key, PREDICTION), dataset.key
    pushed, asked = rows.filter(pl.col(PREDICTION).is_null()), rows.filter(pl.col(PREDICTION).is_not_null())
    twice = pl.concat([pushed.join(known, on=key, how="semi"), asked.join(known, on=[key, PREDICTION], how="semi")])[
        key
    ]
    if twice.len():
        raise BadData(
            f"{twice.len():,} rows have keys that dataset {dataset.name!r} holds already: {_some(twice)}",
            hint="leave them out; to make a push safe to repeat, give it a key (--once KEY)",
        )


def must_be_known(labels: pl.DataFrame, owners: pl.DataFrame, *, dataset: Dataset) -> None:
    """Raise `BadData` if labels belong to no row."""
    strangers = labels.join(owners, on=[dataset.key, PREDICTION], how="anti", nulls_equal=True)[dataset.key]
    if strangers.len():
        raise BadData(
            f"{strangers.len():,} labels belong to no row of dataset {dataset.name!r}: {_some(strangers)}",
            hint="commit their rows first; nothing was landed",
        )


def owned(labels: pl.DataFrame, owners: pl.DataFrame, *, dataset: Dataset) -> pl.DataFrame:
    """Return labels with the prediction that each belongs to; as they are where neither they nor rows name one.

    A label that names no prediction is of the last row under its key that had happened when it became known, and of
    the first one if none had. Of two at the same time, the one asked about later counts as the last.
    """
    if PREDICTION not in labels.columns and owners[PREDICTION].null_count() == owners.height:
        return labels
    labels = identified(labels).with_row_index(_PLACE)
    unnamed = labels.filter(pl.col(PREDICTION).is_null()).drop(PREDICTION)
    happened = pl.col(dataset.time) <= pl.col(KNOWN_AT)
    ticks = pl.col(dataset.time).dt.epoch("us")
    choices = unnamed.join(owners.select(dataset.key, dataset.time, PREDICTION), on=dataset.key, how="inner")
    ranked = choices.sort(_PLACE, happened, pl.when(happened).then(ticks).otherwise(-ticks), PREDICTION)
    chosen = ranked.unique(_PLACE, keep="last").select(_PLACE, PREDICTION)
    found = labels.join(chosen, on=_PLACE, how="left", suffix="_chosen", maintain_order="left")
    return found.with_columns(pl.coalesce(PREDICTION, f"{PREDICTION}_chosen", pl.lit(PUSHED))).drop(
        _PLACE, f"{PREDICTION}_chosen"
    )


def unspelled(labels: pl.DataFrame) -> pl.DataFrame:
    """Return labels as they are stored: of a row without a prediction they name none."""
    if PREDICTION not in labels.columns:
        return labels
    named = pl.when(pl.col(PREDICTION) != PUSHED).then(pl.col(PREDICTION))
    found = labels.with_columns(named.alias(PREDICTION))
    return found if found[PREDICTION].null_count() < found.height else found.drop(PREDICTION)


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


def read_digest(dataset: Dataset, parts: Sequence[Fragment], *, schema: Fragment, **bounds: object) -> str:
    """Return the digest of a read, from the digests of the fragments that can matter to it and its bounds.

    `schema` is the dataset's first fragment, which says the columns of a read without rows.
    """
    spelled = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in bounds.items()}
    declared = [dataset.name, dataset.key, dataset.time, dataset.label, schema.digest]
    told = [[part.kind.value, part.digest] for part in parts]
    return digests.of_json({"dataset": declared, "fragments": told, "bounds": spelled})


def known_by(labels: pl.DataFrame, *, key: str) -> pl.DataFrame:
    """Return each row's label: the one that became known last, of two at once the one landed last."""
    if labels[key].n_unique() == labels.height:
        return labels
    row = [key, PREDICTION] if PREDICTION in labels.columns else [key]
    return labels.sort(KNOWN_AT, maintain_order=True).unique(row, keep="last", maintain_order=True)


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


def _must_have(frame: pl.DataFrame, names: Sequence[str], what: str) -> None:
    for name in names:
        if name not in frame.columns:
            raise BadData(f"the {what} lack the column {name!r}", hint=columns.nothing_committed(frame.columns, name))


def _spelled_int(number: object) -> str:
    assert isinstance(number, int)
    return f"{number - _FIRST_INT:020d}"


def _must_be_keys(frame: pl.DataFrame, key: str) -> None:
    """Raise `BadData` unless the keys are whole numbers or texts, all there, each once."""
    kind = columns.kind_of(frame[key].dtype)
    if kind not in _KEY_KINDS and frame[key].null_count() < frame.height:
        raise BadData(f"key {key!r} is {kind}", hint="keys are whole numbers or texts: cast it; nothing was committed")
    _must_be_unique(frame, key)
    if kind == "text":
        texts = frame[key].cast(pl.String)
        bad = texts.filter((texts.str.len_chars() > KEY_LETTERS) | texts.str.contains(NUL, literal=True))
        if bad.len():
            raise BadData(
                f"{bad.len():,} keys are longer than {KEY_LETTERS:,} letters, or have the letter NUL",
                hint="use a digest of them as the key; nothing was committed",
            )


def must_be_texts(frame: pl.DataFrame) -> None:
    """Raise `BadData` for the letter NUL in a text or in a column's name: not every store can hold it."""
    for name, dtype in frame.schema.items():
        if NUL in name:
            raise BadData(f"the name of column {name!r} has the letter NUL", hint="rename it; nothing was committed")
        if not isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
            continue
        first = frame[name].cast(pl.String).str.contains(NUL, literal=True).arg_max()
        if first is not None and NUL in (frame[first, name] or ""):
            raise BadData(
                f"column {name!r} has a text with the letter NUL in row {first}: {frame[first, name][:100]!r}",
                hint="take it out, databases refuse it; nothing was committed",
            )


def _must_be_unique(frame: pl.DataFrame, key: str) -> None:
    if frame[key].null_count():
        raise BadData(
            f"{frame[key].null_count():,} rows have no {key!r}",
            hint="every row needs a key of its own; nothing was committed",
        )
    if frame[key].n_unique() < frame.height:
        row = frame.select(key, PREDICTION) if PREDICTION in frame.columns else frame.select(key)
        twice = frame[key].filter(row.is_duplicated()).unique(maintain_order=True)
        if not twice.len():
            return
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
            hint="write times like 2026-01-31T12:00:00Z, or say the zone: zone='Europe/Berlin' (or 'UTC')",
        )
    if column.null_count():
        raise BadData(f"{column.null_count():,} rows have no {name!r}", hint="leave them out; nothing was committed")
    years = column.dt.year()
    if not years.is_between(*_YEARS).all():
        raise BadData(
            f"column {name!r} reaches from the year {years.min()} to {years.max()}",
            hint="were seconds, milliseconds or microseconds mistaken for one another? nothing was committed",
        )
    return columns.exactly(column, columns.MOMENT)


def _missing(column: pl.Series) -> int:
    nan = int(column.is_nan().sum()) if column.dtype.is_float() else 0
    return column.null_count() + nan


def _some(keys: pl.Series) -> str:
    shown = ", ".join(repr(key) for key in keys.head(_SHOWN).to_list())
    return shown + (", ..." if keys.len() > _SHOWN else "")
