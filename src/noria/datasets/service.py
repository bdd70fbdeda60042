"""Verbs of datasets: commit rows, land labels, read as of a time, compare, profile."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import polars as pl

from noria.access.model import Permission
from noria.access.service import Access
from noria.core import digests
from noria.core.clock import Clock, as_utc
from noria.core.context import Context
from noria.core.errors import Conflict, NotFound, Stale
from noria.core.ids import Ids
from noria.datasets import frames, profiles, queries, rules
from noria.datasets.fragments import FragmentReader
from noria.datasets.model import KNOWN_AT, Dataset, Difference, Fragment, FragmentKind, Rows, Snapshot
from noria.datasets.profiles import Profile
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.store.blobs import Blobs
from noria.store.database import Connection, Database

_FRAGMENT_ROWS = 250_000
_TRIES = 20
_CACHE_BYTES = 512 * 2**20

Answer = TypeVar("Answer")


class Datasets:
    """Datasets as immutable snapshots of content-addressed fragments; reads show only what was known."""

    def __init__(
        self, database: Database, blobs: Blobs, *, ledger: Ledger, access: Access, clock: Clock, ids: Ids,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:  # fmt: skip
        self._database = database
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids
        self._reader = FragmentReader(blobs, cache_bytes=cache_bytes)
        self._listed: dict[tuple[str, str], list[Fragment]] = {}

    # --- writing

    def create(self, context: Context, dataset: Dataset) -> Dataset:
        """Declare a dataset; declaring it again changes nothing. Raises `Conflict` if it was declared otherwise."""
        self._access.require(context, Permission.DATA_WRITE)
        known = self._database.read(lambda c: queries.dataset(c, context.project, dataset.name))
        if known is None:
            self._retried(lambda: self._database.write(lambda c: self._create(c, context, dataset)))
        elif known[0] != dataset:
            was = known[0]
            raise Conflict(
                f"dataset {dataset.name!r} has key {was.key!r}, time {was.time!r} and label {was.label!r}",
                hint="declare it as it is, or give the other one another name",
            )
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
    ) -> Snapshot:
        """Commit rows as a new snapshot: a Polars, pandas or PyArrow table, or a path to Parquet, CSV or Arrow.

        Rows may bring their labels along: in the label's column, each with `known_at`, or known at arrival. Under a
        `key`, committing the same rows again returns the same snapshot, and other rows are a `Conflict`.

        Raises:
            BadData: the rows cannot be what the dataset holds; nothing was committed.

        """
        self._access.require(context, Permission.DATA_WRITE)
        self.create(context, dataset)
        arrived = as_utc(arrived_at) if arrived_at is not None else self._clock.now()
        frame, labels = rules.split_labels(dataset, frames.as_frame(rows), arrived_at=arrived)
        frame = rules.checked_rows(dataset, frame)
        if labels is not None:
            labels = rules.checked_labels(dataset, labels, now=self._clock.now())
        return self._committed(context, dataset, (frame, labels), source=source, arrived=arrived, key=key)

    def land_labels(
        self,
        context: Context,
        dataset: Dataset,
        labels: Any,  # noqa: ANN401 - whatever people hold their labels in
        *,
        source: str,
        arrived_at: datetime | None = None,
        key: str | None = None,
    ) -> Snapshot:
        """Land labels of rows that are there: a table of key, label and `known_at`. Later labels correct earlier ones.

        `key` works as in `commit`. Raises `BadData` for labels that are missing, NaN, from the future, of no row.
        """
        self._access.require(context, Permission.DATA_WRITE)
        self.create(context, dataset)
        arrived = as_utc(arrived_at) if arrived_at is not None else self._clock.now()
        checked = rules.checked_labels(dataset, frames.as_frame(labels), now=self._clock.now())
        return self._committed(context, dataset, (None, checked), source=source, arrived=arrived, key=key)

    # --- reading

    def read(
        self,
        context: Context,
        dataset: str,
        *,
        snapshot: str | None = None,
        as_of: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        labelled: bool = False,
    ) -> pl.DataFrame:
        """Return rows with event times in [since, until), in order of time and key, with labels as known at `as_of`.

        `snapshot` (an id, or NAME@N) chooses what was committed, the newest if not given; `as_of` shows only rows
        whose event had happened and labels that were known by then. A label that is not known is null; `known_at`
        comes along. `labelled` leaves out rows without a label.

        Raises:
            NotFound: there is no such dataset, snapshot or column.

        """
        found = self.rows(
            context,
            dataset,
            snapshot=snapshot,
            as_of=as_of,
            since=since,
            until=until,
            labelled=labelled,
        ).load()
        if columns is None:
            return found
        for name in columns:
            if name not in found.columns:
                raise NotFound("column", name, known=found.columns)
        return found.select(columns)

    def rows(
        self,
        context: Context,
        dataset: str,
        *,
        snapshot: str | None = None,
        as_of: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        labelled: bool = False,
    ) -> Rows:
        """Return a read that is known by its digest and loaded when asked; see `read`."""
        self._access.require(context, Permission.DATA_READ)
        declared = self.dataset(context, dataset)
        chosen = self.latest(context, dataset) if snapshot is None else self.snapshot(context, snapshot)
        if chosen is None:
            raise NotFound("snapshot of dataset", dataset, hint=f"commit rows first: noria data push {dataset} FILE")
        bounds = {"as_of": as_of, "since": since, "until": until}
        parts = rules.relevant(self._fragments(context, dataset), through=chosen.number, **bounds)
        digest = rules.read_digest(parts, dataset=dataset, labelled=labelled, **bounds)

        def load() -> pl.DataFrame:
            return self._reader.read(digest, lambda: self._load(declared, parts, labelled=labelled, **bounds))

        return Rows(dataset=dataset, snapshot=chosen.id, digest=digest, reader=load, **bounds)

    def dataset(self, context: Context, name: str) -> Dataset:
        """Return a dataset; raises `NotFound`."""
        self._access.require(context, Permission.DATA_READ)
        found = self._database.read(lambda c: queries.dataset(c, context.project, name))
        if found is None:
            raise NotFound("dataset", name, known=[other.name for other in self.datasets(context)])
        return found[0]

    def datasets(self, context: Context) -> list[Dataset]:
        """Return the project's datasets, by name."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.all_datasets(c, context.project))

    def latest(self, context: Context, dataset: str, *, by: datetime | None = None) -> Snapshot | None:
        """Return the newest snapshot, or the newest committed by a moment; None if there is none yet."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.latest(c, context.project, dataset, by=by))

    def snapshot(self, context: Context, name: str) -> Snapshot:
        """Return a snapshot by its id, by NAME@N, or the newest by NAME; raises `NotFound`."""
        self._access.require(context, Permission.DATA_READ)
        dataset, separator, number = name.partition("@")

        def query(connection: Connection) -> Snapshot | None:
            if separator and number.isdigit():
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
        parts = rules.relevant(
            self._fragments(context, chosen.dataset),
            through=chosen.number,
            as_of=None,
            since=since,
            until=until,
        )
        return profiles.merge([self._reader.profile(part) for part in parts if part.kind is FragmentKind.ROWS])

    def diff(self, context: Context, before: str, after: str) -> Difference:
        """Return what the later of two snapshots of one dataset has that the earlier has not."""
        first, second = sorted((self.snapshot(context, before), self.snapshot(context, after)), key=lambda s: s.number)
        if first.dataset != second.dataset:
            raise Conflict(f"{first} and {second} are of two datasets", hint="compare snapshots of one")
        parts = self._fragments(context, first.dataset)
        old = [part for part in parts if part.added_in <= first.number]
        new = [part for part in parts if first.number < part.added_in <= second.number]
        added = {kind: [part for part in new if part.kind is kind] for kind in FragmentKind}
        merged = [
            profiles.merge([self._reader.profile(part) for part in side if part.kind is FragmentKind.ROWS])
            for side in (old, new)
        ]
        return Difference(
            before=str(first),
            after=str(second),
            rows_added=sum(part.rows for part in added[FragmentKind.ROWS]),
            labels_added=sum(part.rows for part in added[FragmentKind.LABELS]),
            labels_changed=self._changed(context, first.dataset, old, added[FragmentKind.LABELS]),
            drifted=profiles.drifted(*merged),
        )

    # --- inside

    def _create(self, connection: Connection, context: Context, dataset: Dataset) -> None:
        if queries.dataset(connection, context.project, dataset.name) is None:
            queries.insert_dataset(connection, context.project, dataset, at=self._clock.now())
            told = {"dataset": dataset.name, "key": dataset.key, "time": dataset.time, "label": dataset.label}
            self._ledger.record(connection, context, FactKind.DATASET_CREATED, subject=dataset.name, payload=told)

    def _committed(
        self,
        context: Context,
        dataset: Dataset,
        frames_given: tuple[pl.DataFrame | None, pl.DataFrame | None],
        *,
        source: str,
        arrived: datetime,
        key: str | None,
    ) -> Snapshot:
        """Store the frames, then put the snapshot in; begin again if somebody else was faster."""
        rows, labels = frames_given
        content = digests.of_json([None if frame is None else frames.frame_digest(frame) for frame in frames_given])

        def once() -> Snapshot:
            known = self._keyed(context, dataset, key, content=content)
            if known is not None:
                return known
            newest = self.latest(context, dataset.name)
            number = 1 if newest is None else newest.number + 1
            parts = self._parts(context, dataset, rows, labels, number=number)
            digest = digests.of_json([newest.digest if newest else None, [[part.kind, part.digest] for part in parts]])
            made = Snapshot(
                id=self._ids.new("snapshot"),
                dataset=dataset.name,
                number=number,
                parent=None if newest is None else newest.id,
                digest=digest,
                content=content,
                rows=0 if rows is None else rows.height,
                labels=0 if labels is None else labels.height,
                source=source,
                arrived_at=arrived,
                committed_at=self._clock.now(),
                committed_by=str(context.actor),
                key=key,
            )
            self._database.write(lambda connection: self._put(connection, context, dataset, made, parts, rows))
            return made

        return self._retried(once)

    def _put(
        self, connection: Connection, context: Context, dataset: Dataset, made: Snapshot, parts: Sequence[Fragment], rows: pl.DataFrame | None,
    ) -> None:  # fmt: skip
        queries.lock(connection, context.project, dataset.name)
        newest = queries.latest(connection, context.project, dataset.name)
        if (None if newest is None else newest.id) != made.parent:
            raise Stale(f"dataset {dataset.name!r} got another snapshot meanwhile")
        if rows is not None:
            found = queries.dataset(connection, context.project, dataset.name)
            columns = rules.joined_columns(dataset, found[1] if found else {}, rows)
            queries.set_columns(connection, context.project, dataset.name, columns)
        queries.insert_snapshot(connection, context.project, made, parts)
        shared = {
            "dataset": dataset.name,
            "snapshot": made.id,
            "number": made.number,
            "source": made.source,
            "digest": made.digest,
        }
        for kind, count in ((FragmentKind.ROWS, made.rows), (FragmentKind.LABELS, made.labels)):
            mine = [part for part in parts if part.kind is kind]
            if not mine:
                continue
            span = {
                "first_time": min(p.first_time for p in mine).isoformat(),
                "last_time": max(p.last_time for p in mine).isoformat(),
            }
            fact = FactKind.DATASET_COMMITTED if kind is FragmentKind.ROWS else FactKind.FEEDBACK_LANDED
            self._ledger.record(
                connection, context, fact, subject=dataset.name, payload=shared | {kind.value: count} | span
            )

    def _parts(
        self,
        context: Context,
        dataset: Dataset,
        rows: pl.DataFrame | None,
        labels: pl.DataFrame | None,
        *,
        number: int,
    ) -> list[Fragment]:
        """Check the frames against what is there, and store them as fragments."""
        there = self._fragments(context, dataset.name)
        parts: list[Fragment] = []
        if rows is not None:
            found = self._database.read(lambda c: queries.dataset(c, context.project, dataset.name))
            rules.joined_columns(dataset, found[1] if found else {}, rows)
            touched = self._reader.together(rules.overlapping(there, rows[dataset.key], kind=FragmentKind.ROWS))
            if touched is not None:
                rules.must_be_new(rows[dataset.key], touched[dataset.key], dataset=dataset)
            parts += [self._rows_part(dataset, part, number=number) for part in rows.iter_slices(_FRAGMENT_ROWS)]
        if labels is not None:
            owners = self._owners(dataset, there, rows, labels[dataset.key])
            parts += [
                self._labels_part(dataset, part, owners, number=number) for part in labels.iter_slices(_FRAGMENT_ROWS)
            ]
        return parts

    def _owners(
        self, dataset: Dataset, there: Sequence[Fragment], rows: pl.DataFrame | None, keys: pl.Series
    ) -> pl.DataFrame:
        """Return key and time of the rows that labels belong to; raises `BadData` if some belong to none."""
        touched = self._reader.together(rules.overlapping(there, keys, kind=FragmentKind.ROWS))
        named = [frame.select(dataset.key, dataset.time) for frame in (touched, rows) if frame is not None]
        if not named:
            rules.must_be_known(keys, keys.clear(), dataset=dataset)
        owners = pl.concat(named, how="vertical_relaxed")
        rules.must_be_known(keys, owners[dataset.key], dataset=dataset)
        return owners

    def _rows_part(self, dataset: Dataset, frame: pl.DataFrame, *, number: int) -> Fragment:
        blob, digest = self._reader.put(frame)
        keys = frame[dataset.key].cast(pl.String)
        return Fragment(
            id=self._ids.new("fragment"),
            kind=FragmentKind.ROWS,
            blob=blob,
            digest=digest,
            rows=frame.height,
            added_in=number,
            first_time=frame[0, dataset.time],
            last_time=frame[-1, dataset.time],
            first_key=str(keys.min()),
            last_key=str(keys.max()),
            known_from=None,
            known_through=None,
            profile=self._reader.put_profile(frame),
        )

    def _labels_part(self, dataset: Dataset, frame: pl.DataFrame, owners: pl.DataFrame, *, number: int) -> Fragment:
        blob, digest = self._reader.put(frame)
        keys = frame[dataset.key].cast(pl.String)
        times = frame.join(owners, on=dataset.key, how="inner")[dataset.time].sort()
        return Fragment(
            id=self._ids.new("fragment"),
            kind=FragmentKind.LABELS,
            blob=blob,
            digest=digest,
            rows=frame.height,
            added_in=number,
            first_time=times[0],
            last_time=times[-1],
            first_key=str(keys.min()),
            last_key=str(keys.max()),
            known_from=frame[0, KNOWN_AT],
            known_through=frame[-1, KNOWN_AT],
            profile=None,
        )

    def _load(
        self, dataset: Dataset, parts: Sequence[Fragment], *, labelled: bool, as_of: datetime | None, since: datetime | None, until: datetime | None,
    ) -> pl.DataFrame:  # fmt: skip
        rows = self._reader.together([part for part in parts if part.kind is FragmentKind.ROWS])
        if rows is None:
            raise NotFound(
                f"row of dataset {dataset.name!r} in",
                f"{since} to {until}",
                hint="widen the window: noria data show NAME",
            )
        rows = rules.inside(rows, time=dataset.time, as_of=as_of, since=since, until=until)
        if dataset.label is None:
            return rows.sort(dataset.time, dataset.key)
        labels = self._reader.together([part for part in parts if part.kind is FragmentKind.LABELS])
        if labels is None:
            blank = [pl.lit(None).alias(dataset.label), pl.lit(None, pl.Datetime("us", "UTC")).alias(KNOWN_AT)]
            whole = rows.with_columns(blank)
        else:
            whole = rows.join(rules.known_by(labels, key=dataset.key, as_of=as_of), on=dataset.key, how="left")
        return (whole.drop_nulls(dataset.label) if labelled else whole).sort(dataset.time, dataset.key)

    def _fragments(self, context: Context, dataset: str) -> list[Fragment]:
        """Return all fragments of a dataset; those seen before are not asked for again, for they never change."""
        place = (context.project, dataset)
        seen = self._listed.get(place, [])
        last = seen[-1].added_in if seen else 0
        newer = self._database.read(lambda c: queries.fragments_after(c, context.project, dataset, last))
        if newer:
            seen = self._listed[place] = seen + newer
        return seen

    def _keyed(self, context: Context, dataset: Dataset, key: str | None, *, content: str) -> Snapshot | None:
        if key is None:
            return None
        known = self._database.read(lambda c: queries.keyed(c, context.project, dataset.name, key))
        if known is not None and known.content != content:
            raise Conflict(
                f"{known} was committed under the key {key!r} with other content",
                hint="the same key means the same content; give this one a key of its own",
            )
        return known

    def _changed(self, context: Context, dataset: str, old: Sequence[Fragment], new: Sequence[Fragment]) -> int:
        declared = self.dataset(context, dataset)
        before, after = (
            self._reader.together([p for p in side if p.kind is FragmentKind.LABELS]) for side in (old, new)
        )
        if before is None or after is None or declared.label is None:
            return 0
        was, now = (rules.known_by(side, key=declared.key, as_of=None) for side in (before, after))
        both = was.join(now, on=declared.key, suffix="_now")
        return both.filter(pl.col(declared.label) != pl.col(f"{declared.label}_now")).height

    def _names(self, context: Context) -> list[str]:
        return [dataset.name for dataset in self.datasets(context)]

    @staticmethod
    def _retried(work: Callable[[], Answer]) -> Answer:
        for _ in range(_TRIES - 1):
            try:
                return work()
            except Stale:
                continue
        return work()
