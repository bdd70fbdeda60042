"""Verbs of datasets: commit rows, land labels, read as of a time, compare, profile."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Unpack

import polars as pl

from noria.access.model import Permission
from noria.access.service import Access
from noria.core import digests
from noria.core.clock import Clock, as_utc
from noria.core.context import Context
from noria.core.durations import as_duration
from noria.core.errors import BadData, Conflict, Invalid, NotFound
from noria.core.ids import Ids
from noria.datasets import casting, files, frames, profiles, queries, reading, rules
from noria.datasets import columns as kinds
from noria.datasets.committing import Committer, Delivery
from noria.datasets.erasing import Eraser, Erasure
from noria.datasets.files import FileOptions, FileTable
from noria.datasets.fragments import FragmentList, FragmentReader
from noria.datasets.holding import Held, spelled
from noria.datasets.model import (
    KNOWN_AT,
    PREDICTION,
    Dataset,
    Difference,
    Fragment,
    FragmentKind,
    LabelsAhead,
    Rows,
    Snapshot,
)
from noria.datasets.profiles import Profile
from noria.datasets.reading import Reading, Window
from noria.ledger.service import Ledger
from noria.store import retirements
from noria.store.blobs import Blobs
from noria.store.database import Connection, Database
from noria.store.retirements import Kind

_CACHE_BYTES = 512 * 2**20
_NUMBER_DIGITS = 9
_log = logging.getLogger("noria.datasets")


class Datasets:
    """Datasets as immutable snapshots of content-addressed fragments; reads show only what was known."""

    def __init__(
        self, database: Database, blobs: Blobs, *, ledger: Ledger, access: Access, clock: Clock, ids: Ids,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:  # fmt: skip
        self._database = database
        self._access = access
        self._clock = clock
        self._reader = FragmentReader(blobs, cache_bytes=cache_bytes)
        self._listed = FragmentList(database, forget=self._reader.forget)
        self._committer = Committer(database, self._reader, self._listed, ledger=ledger, clock=clock, ids=ids)
        self._eraser = Eraser(database, blobs, self._reader, self._listed, clock=clock, ids=ids)

    # --- writing

    def create(self, context: Context, dataset: Dataset) -> Dataset:
        """Declare a dataset; declaring it again changes nothing. Raises `Conflict` if it was declared otherwise."""
        self._access.require(context, Permission.DATA_WRITE)
        self._committer.declare(context, dataset)
        return dataset

    def commit(
        self,
        context: Context,
        dataset: Dataset,
        rows: Any,  # noqa: ANN401 - whatever people hold their rows in
        *,
        source: str,
        arrived_at: datetime | None = None,
        key: str | None = None,
        label_delay: timedelta | str | None = None,
        **options: Unpack[FileOptions],
    ) -> Snapshot:
        """Commit rows as a new snapshot: a Polars, pandas or PyArrow table, or a path to Parquet, CSV, JSON or Arrow.

        Rows may bring their labels along in the label's column, each with `known_at`. Labels that come without it are
        known `label_delay` after their events (never later than they arrived). Where no delay is told, they are known
        at their events in a dataset's first commit, which is history, unless `arrived_at` is told; and when they
        arrived in later ones. The snapshot's `notes` say what was taken for granted, and so does the log.

        Under a `key`, committing the same rows again returns the same snapshot, and other rows are a `Conflict`.
        `options` say how a file is to be read, and of which `zone` times without one are; see `FileOptions`.

        Raises:
            BadData: the rows cannot be what the dataset holds, or are not sure; nothing was committed.

        """
        self._access.require(context, Permission.DATA_WRITE)
        rules.must_fit(source=source, key=key)
        is_first = not self._committer.is_declared(context, dataset) or not self._listed.of(context, dataset.name)
        given = self.understand(context, dataset, rows, **options)
        knowing = self._knowing(arrived_at, label_delay, is_first=is_first)
        with frames.in_words("the rows"):
            delivery = self._delivery(dataset, given, knowing, source=source, key=key)
        return _said(self._committer.commit(context, delivery))

    def land_labels(
        self,
        context: Context,
        dataset: Dataset,
        labels: Any,  # noqa: ANN401 - whatever people hold their labels in
        *,
        source: str,
        arrived_at: datetime | None = None,
        key: str | None = None,
        **options: Unpack[FileOptions],
    ) -> Snapshot:
        """Land labels of rows that are there: a table of key, label and `known_at`. Later labels correct earlier ones.

        `key` and `options` work as in `commit`. Raises `BadData` for labels that are missing, NaN, from the future, of
        no row.
        """
        self._access.require(context, Permission.DATA_WRITE)
        rules.must_fit(source=source, key=key)
        self._committer.is_declared(context, dataset)
        now = self._clock.now()
        arrived = now if arrived_at is None else as_utc(arrived_at)
        given = self.understand(context, dataset, labels, **options)
        with frames.in_words("the labels"):
            checked = rules.checked_labels(dataset, given.frame, now=now)
        delivery = Delivery(
            dataset=dataset, rows=None, labels=checked, source=source, arrived_at=arrived, key=key,
            content=_content(None, checked), notes=given.notes,
        )  # fmt: skip
        return _said(self._committer.commit(context, delivery))

    def understand(
        self,
        context: Context,
        dataset: Dataset,
        rows: Any,  # noqa: ANN401 - whatever people hold their rows in
        **options: Unpack[FileOptions],
    ) -> FileTable:
        """Return rows as `commit` would read them, and what each column was taken for; nothing is written.

        What comes back may be given to `commit` or `land_labels`. Columns that the dataset has are read as what it has
        them for, others are inferred. Raises `BadData` where that is not sure, with the way to say it.
        """
        self._access.require(context, Permission.DATA_READ)
        return files.read(rows, dataset=dataset, known=self._committer.kinds(context, dataset.name), options=options)

    def erase(
        self, context: Context, dataset: str, holds: Held, *, reason: str, also: Callable[[Connection, Erasure], None]
    ) -> Erasure:
        """Remove held rows with all their labels, or held labels alone, from every snapshot; it cannot be undone.

        Every snapshot stays readable, without them. `also` records, in the same transaction, what the erasure is
        part of. What was erased is kept as counts and a keyed commitment, never in clear.
        """
        self._access.require(context, Permission.DATA_WRITE)
        return self._eraser.erase(context, self.dataset(context, dataset), holds, reason=reason, also=also)

    # --- reading

    def read(
        self, context: Context, dataset: str, *, columns: Sequence[str] | None = None, **options: Unpack[Reading]
    ) -> pl.DataFrame:
        """Return rows with event times in [since, until), in order of time and key, with labels as known at `as_of`.

        `snapshot` (an id, or NAME@N) chooses what was committed, the newest if not given; `as_of` shows only rows
        whose event had happened and labels that were known by then. A label that is not known is null; `known_at`
        comes along. `labelled` leaves out rows without a label. A window without rows is an empty frame. `without`
        leaves out what is held: rows, and labels as if they were not known. `with_sources` adds the columns
        `noria_row_source` and `noria_label_source`: through which source each row and its label came;
        `with_predictions` adds `noria_prediction`: the id of the prediction that a row was scored under, if any.

        Raises:
            NotFound: there is no such dataset, snapshot or column.

        """
        found = self.rows(context, dataset, **options).load()
        if columns is None:
            return found
        for name in columns:
            if name not in found.columns:
                raise NotFound("column", name, known=found.columns)
        return pl.DataFrame([found[name] for name in columns])

    def rows(self, context: Context, dataset: str, **options: Unpack[Reading]) -> Rows:
        """Return a read that is known by its digest and loaded when asked; see `read`."""
        self._access.require(context, Permission.DATA_READ)
        declared = self.dataset(context, dataset)
        chosen = self._chosen(context, dataset, options.get("snapshot"))
        window = _window(as_of=options.get("as_of"), since=options.get("since"), until=options.get("until"))
        labelled, without = options.get("labelled", False), options.get("without") or Held()
        bounds = {"as_of": window.as_of, "since": window.since, "until": window.until}
        there = self._listed.of(context, dataset)
        parts = rules.relevant(there, through=chosen.number, **bounds)
        sources = self._sources(context, dataset) if options.get("with_sources") else None
        predictions = options.get("with_predictions", False)
        seen = replace(window, without=without.inside(**bounds), sources=sources, predictions=predictions)
        more = reading.differences(seen, parts)
        digest = rules.read_digest(declared, parts, schema=there[0], labelled=labelled, **bounds, **more)

        def make() -> pl.DataFrame:
            found = reading.shown(self._reader, declared, parts, seen, schema=there[0])
            return found.filter(found[declared.label].is_not_null()) if labelled and declared.label else found

        return Rows(
            dataset=dataset,
            snapshot=chosen.id,
            digest=digest,
            reader=lambda: self._reader.read(digest, make),
            **bounds,
        )

    def kinds(self, context: Context, name: str) -> Mapping[str, str]:
        """Return the kinds of a dataset's columns, the label's too, in their order; nothing before its first rows."""
        self._access.require(context, Permission.DATA_READ)
        found = self._database.read(lambda c: queries.dataset(c, context.project, name))
        return {} if found is None else found[1]

    def schema(self, context: Context, name: str) -> Mapping[str, pl.DataType]:
        """Return the types of a dataset's columns as they are by now; Null for a kind that nothing has told yet."""
        types: dict[str, pl.DataType] = {}
        for column, kind in self.kinds(context, name).items():
            types[column] = kinds.type_of(kind) or self._kept_type(context, name, column)
        return types

    def holds_large(self, context: Context, name: str, column: str) -> bool:
        """Say whether a column has whole numbers that are no fractions exactly, so that it cannot hold any."""
        self._access.require(context, Permission.DATA_READ)
        return casting.has_large((self._reader.frame(part) for part in self._listed.of(context, name)), column)

    def misfit(self, context: Context, dataset: Dataset, rows: pl.DataFrame) -> str | None:
        """Return why rows cannot be what the dataset holds, None if they can; nothing is written."""
        self._access.require(context, Permission.DATA_READ)
        found = self._database.read(lambda c: queries.dataset(c, context.project, dataset.name))
        try:
            checked = rules.checked_rows(dataset, rows)
            kinds.conformed(checked, kinds.joined_columns(dataset, found[1] if found else {}, checked))
        except BadData as problem:
            return problem.sentence
        return None

    def rows_of_keys(self, context: Context, name: str, keys: Iterable[str]) -> pl.DataFrame:
        """Return key, time and `noria_prediction` of the rows of some keys, spelled as texts."""
        dataset = self.dataset(context, name)
        wanted = self._as_keys(context, dataset, keys)
        found = self._committer.keyed_rows(dataset, self._listed.of(context, name), wanted) if wanted.len() else None
        nothing = {dataset.key: wanted.clear(), dataset.time: pl.Series([], dtype=kinds.MOMENT)}
        return rules.identified(pl.DataFrame(nothing)) if found is None else found

    def pushed_just_so(self, context: Context, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return those of some rows that the dataset holds without a prediction, of the same key, time and values."""
        dataset = self.dataset(context, name)
        return self._committer.pushed_just_so(dataset, self._listed.of(context, name), rows) if rows.height else rows

    def known_keys(self, context: Context, name: str, keys: Iterable[str]) -> set[str]:
        """Return which of some keys, spelled as texts, the dataset holds; its cost follows the keys, not the dataset."""
        dataset = self.dataset(context, name)
        return set(spelled(self.rows_of_keys(context, name, keys)[dataset.key]))

    def first_with(self, context: Context, name: str, keys: Iterable[str]) -> int | None:
        """Return the number of the first snapshot that has a row of some keys, None if there is none."""
        dataset = self.dataset(context, name)
        wanted = self._as_keys(context, dataset, keys)
        parts = [part for part in self._listed.of(context, name) if part.kind is FragmentKind.ROWS]
        holding = self._reader.holding(parts, wanted, dataset=dataset)
        there = (part for part in holding if self._reader.frame(part)[dataset.key].is_in(wanted.implode()).any())
        return min((part.added_in for part in there), default=None)

    def dataset(self, context: Context, name: str) -> Dataset:
        """Return a dataset; raises `NotFound`."""
        self._access.require(context, Permission.DATA_READ)
        found = self._database.read(lambda c: queries.dataset(c, context.project, name))
        if found is None:
            raise NotFound("dataset", name, known=self._names(context))
        return found[0]

    def columns(self, context: Context, name: str) -> tuple[str, ...]:
        """Return the columns of a dataset's rows that hold numbers, truth values or text, but for its key and label."""
        self._access.require(context, Permission.DATA_READ)
        found = self._database.read(lambda c: queries.dataset(c, context.project, name))
        if found is None:
            raise NotFound("dataset", name, known=self._names(context))
        declared, known = found
        plain = ("int", "float", "bool", "text")
        others = (declared.key, declared.label)
        return tuple(sorted(column for column, kind in known.items() if kind in plain and column not in others))

    def order(self, context: Context, name: str) -> tuple[str, ...]:
        """Return all columns of a dataset in their order, which the first commit fixed; raises `NotFound`."""
        self._access.require(context, Permission.DATA_READ)
        found = self._database.read(lambda c: queries.dataset(c, context.project, name))
        if found is None:
            raise NotFound("dataset", name, known=self._names(context))
        return tuple(found[1])

    def datasets(self, context: Context, *, with_retired: bool = False) -> list[Dataset]:
        """Return the project's datasets, by name; those that are retired only `with_retired`."""
        self._access.require(context, Permission.DATA_READ)

        def look(connection: Connection) -> list[Dataset]:
            left_out = set[str]() if with_retired else retirements.hidden(connection, context.project, Kind.DATASET)
            return [each for each in queries.all_datasets(connection, context.project) if each.name not in left_out]

        return self._database.read(look)

    def ahead(self, context: Context, now: datetime) -> list[LabelsAhead]:
        """Return the labels that are known only after a moment, by dataset: they landed while the clock was ahead."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.labels_ahead(c, context.project, as_utc(now)))

    def latest(self, context: Context, dataset: str, *, by: datetime | None = None) -> Snapshot | None:
        """Return the newest snapshot, or the newest committed by a moment; None if there is none yet."""
        self._access.require(context, Permission.DATA_READ)
        moment = None if by is None else as_utc(by)
        return self._database.read(lambda c: queries.latest(c, context.project, dataset, by=moment))

    def snapshot(self, context: Context, name: str) -> Snapshot:
        """Return a snapshot by its id, by NAME@N, or the newest by NAME; raises `NotFound`."""
        self._access.require(context, Permission.DATA_READ)
        dataset, separator, number = name.partition("@")

        def query(connection: Connection) -> Snapshot | None:
            if separator and number.isdecimal() and len(number) <= _NUMBER_DIGITS:
                return queries.numbered(connection, context.project, dataset, int(number))
            return queries.snapshot(connection, context.project, name) or queries.latest(
                connection, context.project, name
            )

        found = self._database.read(query)
        if found is None:
            known = [str(other) for other in self.snapshots(context, dataset)] if separator else self._names(context)
            raise NotFound("snapshot", name, known=known)
        return found

    def snapshots(self, context: Context, dataset: str) -> list[Snapshot]:
        """Return a dataset's snapshots, oldest first."""
        self.dataset(context, dataset)
        return self._database.read(lambda c: queries.all_snapshots(c, context.project, dataset))

    def profile(
        self,
        context: Context,
        snapshot: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Profile:
        """Return the profile of a snapshot's rows, merged from its fragments that overlap [since, until)."""
        chosen = self.snapshot(context, snapshot)
        window = _window(since=since, until=until)
        there = self._listed.of(context, chosen.dataset)
        parts = rules.relevant(there, through=chosen.number, as_of=None, since=window.since, until=window.until)
        return profiles.merge([self._reader.profile(part) for part in parts if part.kind is FragmentKind.ROWS])

    def diff(self, context: Context, before: str, after: str) -> Difference:
        """Return what the later of two snapshots of one dataset has that the earlier has not."""
        first, second = sorted((self.snapshot(context, before), self.snapshot(context, after)), key=lambda s: s.number)
        if first.dataset != second.dataset:
            raise Conflict(f"{first} and {second} are of two datasets", hint="compare snapshots of one")
        parts = self._listed.of(context, first.dataset)
        old, now = ([part for part in parts if part.added_in <= number] for number in (first.number, second.number))
        new = now[len(old) :]
        rows, labels = ([part for part in new if part.kind is kind] for kind in FragmentKind)
        earlier = [part for part in old if part.kind is FragmentKind.ROWS]
        merged = [profiles.merge([self._reader.profile(part) for part in side]) for side in (earlier, rows)]
        return Difference(
            before=str(first),
            after=str(second),
            rows_added=sum(part.rows for part in rows),
            labels_added=sum(part.rows for part in labels),
            labels_changed=self._changed(context, first.dataset, old, labels),
            columns_changed=self._retyped(earlier, rows),
            drifted=profiles.drifted(*merged),
        )

    # --- inside

    def _knowing(
        self, arrived_at: datetime | None, label_delay: timedelta | str | None, *, is_first: bool
    ) -> rules.Knowing:
        """Return when labels without `known_at` count as known; see `commit`."""
        arrived = self._clock.now() if arrived_at is None else as_utc(arrived_at)
        if label_delay is not None:
            delay = as_duration(label_delay)
            if delay < timedelta(0):
                raise Invalid(f"a delay of {delay} cannot be meant", hint="labels are known at their events, or later")
            return rules.Knowing(arrived_at=arrived, delay=delay, is_told=True)
        return rules.Knowing(arrived_at=arrived, delay=timedelta(0) if is_first and arrived_at is None else None)

    def _delivery(
        self, dataset: Dataset, given: FileTable, knowing: rules.Knowing, *, source: str, key: str | None
    ) -> Delivery:
        parted = rules.split_labels(dataset, given.frame, knowing)
        rows, labels, content = rules.checked_rows(dataset, parted.rows), parted.labels, parted.labels
        notes = [*given.notes, parted.known]
        if labels is not None:
            labels = content = rules.checked_labels(dataset, labels, now=self._clock.now())
            if parted.known is None:
                notes.append(rules.known_too_early(rows, labels, dataset=dataset))
            else:  # said again later, the same labels are the same content
                content = labels.drop(KNOWN_AT)
        return Delivery(
            dataset=dataset, rows=rows, labels=labels, source=source, arrived_at=knowing.arrived_at, key=key,
            content=_content(rows, content), notes=tuple(note for note in notes if note), labels_known=parted.known,
        )  # fmt: skip

    def _type(self, context: Context, dataset: Dataset, column: str) -> pl.DataType | None:
        found = self._database.read(lambda c: queries.dataset(c, context.project, dataset.name))
        return None if found is None else kinds.type_of(found[1].get(column, ""))

    def _kept_type(self, context: Context, name: str, column: str) -> pl.DataType:
        """Return the type in which a column of no plain kind is kept."""
        for part in reversed(self._listed.of(context, name)):
            found = self._reader.frame(part).schema.get(column, pl.Null())
            if found != pl.Null():
                return found
        return pl.Null()

    def _as_keys(self, context: Context, dataset: Dataset, keys: Iterable[str]) -> pl.Series:
        """Return keys that were spelled as texts as the dataset has them; what cannot be one is left out."""
        texts = pl.Series(dataset.key, list(keys), pl.String)
        return texts.cast(self._type(context, dataset, dataset.key) or pl.String(), strict=False).drop_nulls()

    def _changed(self, context: Context, dataset: str, old: Sequence[Fragment], new: Sequence[Fragment]) -> int:
        """Return how many rows have another label than they had."""
        declared = self.dataset(context, dataset)
        before, landed = (
            reading.together([self._reader.frame(part) for part in side if part.kind is FragmentKind.LABELS])
            for side in (old, new)
        )
        if before is None or landed is None or declared.label is None:
            return 0
        after = reading.together([before, landed])
        assert after is not None, "two frames make one"
        was, now = (rules.known_by(side, key=declared.key) for side in (before, after))
        was, now = (
            pl.DataFrame({"key": side[declared.key], "prediction": side[PREDICTION], "label": side[declared.label]})
            for side in (rules.identified(was), rules.identified(now))
        )
        both = was.join(now, on=["key", "prediction"], suffix="_now", nulls_equal=True)
        return both.filter(pl.col("label") != pl.col("label_now")).height

    def _retyped(self, old: Sequence[Fragment], new: Sequence[Fragment]) -> dict[str, str]:
        """Return the columns whose kind became another; each commit has the widest kind so far."""
        if not old or not new:
            return {}
        was, now = (
            {
                name: kinds.kind_of(kind)
                for name, kind in self._reader.frame(side[-1]).schema.items()
                if name != PREDICTION
            }
            for side in (old, new)
        )
        return {name: f"{was[name]} to {now[name]}" for name in was if was[name] != now[name]}

    def _chosen(self, context: Context, dataset: str, name: str | None) -> Snapshot:
        """Return the snapshot that a read is of; raises `NotFound`, and `Conflict` for one of another dataset."""
        found = self.latest(context, dataset) if name is None else self.snapshot(context, name)
        if found is None:
            raise NotFound("snapshot of dataset", dataset, hint=f"commit rows first: noria data push {dataset} FILE")
        if found.dataset != dataset:
            raise Conflict(
                f"{found} is no snapshot of dataset {dataset!r}", hint=f"choose one: noria data show {dataset}"
            )
        return found

    def _sources(self, context: Context, dataset: str) -> Mapping[int, str]:
        """Return through which source each snapshot came, by its number."""
        return self._database.read(lambda c: queries.sources(c, context.project, dataset))

    def _names(self, context: Context) -> list[str]:
        return [dataset.name for dataset in self.datasets(context, with_retired=True)]


def _said(made: Snapshot) -> Snapshot:
    """Log what a push took for granted, and return its snapshot."""
    for note in made.notes:
        _log.warning("%s: %s", made, note)
    return made


def _window(*, as_of: datetime | None = None, since: datetime | None = None, until: datetime | None = None) -> Window:
    as_of, since, until = (None if moment is None else as_utc(moment) for moment in (as_of, since, until))
    return Window(as_of=as_of, since=since, until=until)


def _content(rows: pl.DataFrame | None, labels: pl.DataFrame | None) -> str:
    """Return the digest of what was given; the order of rows and columns does not matter."""
    return digests.of_json(
        [
            None if frame is None else frames.frame_digest(pl.DataFrame([frame[n] for n in sorted(frame.columns)]))
            for frame in (rows, labels)
        ]
    )
