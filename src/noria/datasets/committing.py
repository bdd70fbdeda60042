"""Puts rows and labels into a dataset: checked against what is there, stored as fragments, then told in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from noria.core import digests
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import Conflict, Stale
from noria.core.ids import Ids
from noria.datasets import columns as kinds
from noria.datasets import queries, rules
from noria.datasets.fragments import FragmentList, FragmentReader
from noria.datasets.model import KNOWN_AT, PREDICTION, Dataset, Fragment, FragmentKind, Snapshot
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.store.database import Answer, Connection, Database

_FRAGMENT_ROWS = 250_000
_TRIES = 50
_FACTS = {FragmentKind.ROWS: FactKind.DATASET_COMMITTED, FragmentKind.LABELS: FactKind.FEEDBACK_LANDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Rows, labels or both as they came, fit to be committed; `content` is the digest of what was given."""

    dataset: Dataset
    rows: pl.DataFrame | None
    labels: pl.DataFrame | None
    source: str
    arrived_at: datetime
    key: str | None
    content: str
    notes: tuple[str, ...] = ()
    labels_known: str | None = None
    """In words, when labels that did not say it were taken to be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A delivery as stored fragments, checked against the dataset through a snapshot's number."""

    delivery: Delivery
    columns: Mapping[str, str]
    parts: Sequence[Fragment]
    checked_through: int


class Committer:
    """Makes snapshots of deliveries, one after the other, whoever delivers at the same time."""

    def __init__(
        self, database: Database, reader: FragmentReader, listed: FragmentList, *, ledger: Ledger, clock: Clock, ids: Ids,
    ) -> None:  # fmt: skip
        self._database = database
        self._reader = reader
        self._listed = listed
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    def declare(self, context: Context, dataset: Dataset) -> None:
        """Make the dataset if it is not there; raises `Conflict` if it was declared otherwise."""
        if not self.is_declared(context, dataset):
            self._retried(lambda: self._database.write(lambda c: self._declare(c, context, dataset)))

    def is_declared(self, context: Context, dataset: Dataset) -> bool:
        """Say whether the dataset is there; raises `Conflict` if it was declared otherwise."""
        known = self._database.read(lambda c: queries.dataset(c, context.project, dataset.name))
        if known is not None:
            rules.must_be_declared_so(known[0], dataset)
        return known is not None

    def commit(self, context: Context, delivery: Delivery) -> Snapshot:
        """Store the fragments first, then tell of them; begin again where somebody else's commit touches this one."""
        drafts: list[_Draft] = []

        def once() -> Snapshot:
            known = self._database.read(lambda c: self._keyed(c, context, delivery))
            if known is not None:
                return known
            drafts.append(self._draft(context, delivery, drafts[-1] if drafts else None))
            return self._database.write(lambda c: self._put(c, context, drafts[-1]))

        return self._retried(once)

    def kinds(self, context: Context, dataset: str) -> Mapping[str, str]:
        """Return the kinds of a dataset's columns, in their order; none before the first commit."""
        found = self._database.read(lambda c: queries.dataset(c, context.project, dataset))
        return found[1] if found else {}

    # --- before the transaction

    def _draft(self, context: Context, delivery: Delivery, earlier: _Draft | None) -> _Draft:
        """Check a delivery against what is there, and store it; what an earlier try did is not done again."""
        dataset = delivery.dataset
        there = self._listed.of(context, dataset.name)
        through = there[-1].added_in if there else 0
        found = self._database.read(lambda c: queries.dataset(c, context.project, dataset.name))
        known: Mapping[str, str] = found[1] if found else {}
        columns = _columns(delivery, known)
        self._must_stay_exact(delivery, there, kinds.widened(known, columns))
        rows, labels = (
            None if frame is None else kinds.conformed(frame, columns) for frame in (delivery.rows, delivery.labels)
        )
        unseen = [part for part in there if earlier is None or part.added_in > earlier.checked_through]
        if rows is not None:
            touched = self.keyed_rows(dataset, unseen, rows[dataset.key])
            if touched is not None:
                rules.must_be_new(rows, touched, dataset=dataset)
        if earlier is not None and list(earlier.columns.items()) == list(columns.items()):
            return replace(earlier, checked_through=through)
        parts = [] if rows is None else [self._rows_part(dataset, part) for part in rows.iter_slices(_FRAGMENT_ROWS)]
        if labels is not None:
            owners = self._owners(dataset, there, rows, labels[dataset.key])
            labels = rules.unspelled(rules.owned(labels, owners, dataset=dataset))
            rules.must_be_known(rules.identified(labels), owners, dataset=dataset)
            parts += [self._labels_part(dataset, part, owners) for part in labels.iter_slices(_FRAGMENT_ROWS)]
        return _Draft(delivery=delivery, columns=columns, parts=parts, checked_through=through)

    def _must_stay_exact(self, delivery: Delivery, there: Sequence[Fragment], widened: Sequence[str]) -> None:
        """Raise `BadData` if whole numbers become fractions, and those of before or of now are too large for that.

        A fraction that an endpoint was asked about is what was scored, to the last digit, however large it is.
        """
        for name in widened:
            for frame in (delivery.rows, delivery.labels):
                if frame is not None and name in frame.columns and PREDICTION not in frame.columns:
                    kinds.must_not_be_rounded(delivery.dataset, frame[name])
            for part in there:
                frame = self._reader.frame(part)
                if name in frame.columns and frame[name].dtype == pl.Int64:
                    kinds.must_be_exact_as_fractions(delivery.dataset, frame[name])

    def keyed_rows(self, dataset: Dataset, parts: Sequence[Fragment], keys: pl.Series) -> pl.DataFrame | None:
        """Return key, time and prediction of the rows of some keys; None if no fragment may hold one."""
        near = rules.overlapping(parts, keys, kind=FragmentKind.ROWS)
        touched = self._reader.holding(near, keys, dataset=dataset)
        found = [_identified_rows(dataset, self._reader.frame(part), keys) for part in touched]
        return pl.concat(found) if found else None

    def pushed_just_so(self, dataset: Dataset, parts: Sequence[Fragment], rows: pl.DataFrame) -> pl.DataFrame:
        """Return those of some rows that were pushed with the same key, time and values."""
        keys = rows[dataset.key]
        near = rules.overlapping(parts, keys, kind=FragmentKind.ROWS)
        names = [name for name, of in rows.schema.items() if name != PREDICTION and not of.is_nested()]
        schema = {name: rows.schema[name] for name in names}
        pushed: list[pl.DataFrame] = []
        for part in self._reader.holding(near, keys, dataset=dataset):
            frame = rules.identified(self._reader.frame(part))
            frame = frame.filter(frame[dataset.key].is_in(keys.implode()) & frame[PREDICTION].is_null())
            pushed.append(frame[names].cast(schema, strict=False))  # type: ignore[arg-type]  # names to types, as cast takes them
        return rows.join(pl.concat(pushed), on=names, how="semi", nulls_equal=True) if pushed else rows.clear()

    def _owners(
        self, dataset: Dataset, there: Sequence[Fragment], rows: pl.DataFrame | None, keys: pl.Series
    ) -> pl.DataFrame:
        """Return key, time and prediction of the rows that labels may belong to."""
        brought = None if rows is None else _identified_rows(dataset, rows)
        named = [frame for frame in (self.keyed_rows(dataset, there, keys), brought) if frame is not None]
        nothing = {dataset.key: keys.clear(), dataset.time: pl.Series([], dtype=kinds.MOMENT)}
        return pl.concat(named) if named else rules.identified(pl.DataFrame(nothing))

    def _rows_part(self, dataset: Dataset, frame: pl.DataFrame) -> Fragment:
        blob, digest = self._reader.put(frame)
        first_key, last_key = rules.key_range(frame[dataset.key])
        return Fragment(
            id=self._ids.new("fragment"),
            kind=FragmentKind.ROWS,
            blob=blob,
            digest=digest,
            rows=frame.height,
            added_in=0,
            first_time=frame[0, dataset.time],
            last_time=frame[-1, dataset.time],
            first_key=first_key,
            last_key=last_key,
            known_from=None,
            known_through=None,
            profile=self._reader.put_profile(frame),
        )

    def _labels_part(self, dataset: Dataset, frame: pl.DataFrame, owners: pl.DataFrame) -> Fragment:
        blob, digest = self._reader.put(frame)
        first_key, last_key = rules.key_range(frame[dataset.key])
        row = [dataset.key, PREDICTION]
        times = rules.identified(frame).join(owners, on=row, how="inner", nulls_equal=True)[dataset.time].sort()
        return Fragment(
            id=self._ids.new("fragment"),
            kind=FragmentKind.LABELS,
            blob=blob,
            digest=digest,
            rows=frame.height,
            added_in=0,
            first_time=times[0],
            last_time=times[-1],
            first_key=first_key,
            last_key=last_key,
            known_from=frame[0, KNOWN_AT],
            known_through=frame[-1, KNOWN_AT],
            profile=None,
        )

    # --- inside the transaction

    def _declare(self, connection: Connection, context: Context, dataset: Dataset) -> None:
        known = queries.dataset(connection, context.project, dataset.name)
        if known is not None:
            rules.must_be_declared_so(known[0], dataset)
            return
        queries.insert_dataset(connection, context.project, dataset, at=self._clock.now())
        told = {"dataset": dataset.name, "key": dataset.key, "time": dataset.time, "label": dataset.label}
        self._ledger.record(connection, context, FactKind.DATASET_CREATED, subject=dataset.name, payload=told)

    def _put(self, connection: Connection, context: Context, draft: _Draft) -> Snapshot:
        delivery, project, name = draft.delivery, context.project, draft.delivery.dataset.name
        self._declare(connection, context, delivery.dataset)
        queries.lock(connection, project, name)
        same = self._keyed(connection, context, delivery)
        if same is not None:
            return same
        self._must_still_hold(connection, context, draft)
        newest = queries.latest(connection, project, name)
        made = self._snapshot(context, draft, newest)
        parts = [replace(part, added_in=made.number) for part in draft.parts]
        queries.set_columns(connection, project, name, draft.columns)
        queries.insert_snapshot(connection, project, made, parts)
        self._tell(connection, context, made, parts, labels_known=delivery.labels_known)
        return made

    def _must_still_hold(self, connection: Connection, context: Context, draft: _Draft) -> None:
        """Raise `Stale` if what was committed since the draft was checked may touch it."""
        dataset, rows = draft.delivery.dataset, draft.delivery.rows
        found = queries.dataset(connection, context.project, dataset.name)
        known: Mapping[str, str] = found[1] if found else {}
        columns = _columns(draft.delivery, known)
        newer = queries.fragments_after(connection, context.project, dataset.name, draft.checked_through)
        same_rows = rows is not None and rules.overlapping(newer, rows[dataset.key], kind=FragmentKind.ROWS)
        widens = any(kind != columns[name] for name, kind in known.items() if kind == "int")
        if same_rows or (newer and widens) or list(columns.items()) != list(draft.columns.items()):
            raise Stale(f"dataset {dataset.name!r} got another snapshot meanwhile", hint="try again")

    def _snapshot(self, context: Context, draft: _Draft, newest: Snapshot | None) -> Snapshot:
        delivery = draft.delivery
        told = [[part.kind, part.digest] for part in draft.parts]
        return Snapshot(
            id=self._ids.new("snapshot"),
            dataset=delivery.dataset.name,
            number=1 if newest is None else newest.number + 1,
            parent=None if newest is None else newest.id,
            digest=digests.of_json([None if newest is None else newest.digest, told]),
            content=delivery.content,
            rows=0 if delivery.rows is None else delivery.rows.height,
            labels=0 if delivery.labels is None else delivery.labels.height,
            source=delivery.source,
            arrived_at=delivery.arrived_at,
            committed_at=self._clock.now(),
            committed_by=str(context.actor),
            key=delivery.key,
            notes=delivery.notes,
        )

    def _tell(
        self, connection: Connection, context: Context, made: Snapshot, parts: Sequence[Fragment],
        *, labels_known: str | None,
    ) -> None:  # fmt: skip
        shared = {"dataset": made.dataset, "snapshot": made.id, "number": made.number, "source": made.source}
        for kind, count in ((FragmentKind.ROWS, made.rows), (FragmentKind.LABELS, made.labels)):
            mine = [part for part in parts if part.kind is kind]
            if not mine:
                continue
            told = {"digest": made.digest, kind.value: count}
            told |= {"first_time": min(part.first_time for part in mine).isoformat()}
            told |= {"last_time": max(part.last_time for part in mine).isoformat()}
            known = [part.known_through for part in mine if part.known_through is not None]
            if known:
                told |= {"known_through": max(known).isoformat()}
            if kind is FragmentKind.LABELS and labels_known is not None:
                told |= {"labels_known": labels_known}
            self._ledger.record(connection, context, _FACTS[kind], subject=made.dataset, payload=shared | told)

    @staticmethod
    def _keyed(connection: Connection, context: Context, delivery: Delivery) -> Snapshot | None:
        """Return what was committed under the delivery's key; raises `Conflict` if that was other content."""
        if delivery.key is None:
            return None
        known = queries.keyed(connection, context.project, delivery.dataset.name, delivery.key)
        if known is not None and known.content != delivery.content:
            raise Conflict(
                f"{known} was committed under the key {delivery.key!r} with other content",
                hint="the same key means the same content; give this one a key of its own",
            )
        return known

    @staticmethod
    def _retried(work: Callable[[], Answer]) -> Answer:
        for _ in range(_TRIES - 1):
            try:
                return work()
            except Stale:
                continue
        return work()


def _identified_rows(dataset: Dataset, rows: pl.DataFrame, keys: pl.Series | None = None) -> pl.DataFrame:
    """Return key, time and prediction of rows; of those of some keys alone, where they are given."""
    found = rules.identified(rows)[[dataset.key, dataset.time, PREDICTION]]
    return found if keys is None else found.filter(found[dataset.key].is_in(keys.implode()))


def _columns(delivery: Delivery, known: Mapping[str, str]) -> dict[str, str]:
    """Return the dataset's columns with those of the delivery's rows and labels; raises `BadData`."""
    columns = dict(known)
    for frame in (delivery.rows, delivery.labels):
        if frame is not None:
            columns = kinds.joined_columns(delivery.dataset, columns, frame)
    return columns
