"""Puts what an endpoint has met into its dataset, exactly once: rows as they were asked about, labels from feedback."""

import contextlib
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from noria.access.model import Permission
from noria.access.service import Access
from noria.core import digests
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import Stale, Unavailable
from noria.core.ids import Ids, moment_of
from noria.datasets import rules as datasets_rules
from noria.datasets.holding import spelled
from noria.datasets.model import PREDICTION, PUSHED, Dataset
from noria.datasets.service import Datasets
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.serving import compacted, erasing, fitting, queries, rules
from noria.serving.compacted import FEEDBACK, PREDICTIONS
from noria.serving.compacting import Compactor, Tidied
from noria.serving.disk import locked
from noria.serving.erasing import LogErased, LogEraser
from noria.serving.history import History, answers_in
from noria.serving.isolating import is_of_records, landed_apart
from noria.serving.log import KINDS, Log, ends, records
from noria.serving.model import Aside, AsideKind, Endpoint, Feedback, Landed, Landing, Prediction
from noria.store.database import Connection, Database

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(minutes=1)
_Asked = dict[str | None, tuple[str, str, datetime]]
"""By the ids of predictions: the keys of their rows, the ids that those rows have, and their event times."""
_There = dict[str, list[tuple[str | None, datetime]]]
"""By keys: the predictions and the event times of their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """One landing on its way: which one, of which endpoint, into which dataset with which columns."""

    context: Context
    endpoint: Endpoint
    dataset: Dataset
    schema: Mapping[str, pl.DataType]
    landing: Landing
    at: datetime

    def key(self, what: str) -> str:
        """Return the key under which a part of the landing is committed, however often it is tried."""
        return f"endpoint/{self.endpoint.name}/{self.landing.number}/{what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What came of a landing's rows, or of its feedback."""

    landed: int = 0
    waiting: tuple[Feedback, ...] = ()
    asides: tuple[Aside, ...] = ()
    repeated: int = 0

    @classmethod
    def of(cls, parts: Iterable["_Part"]) -> "_Part":
        """Return several as one."""
        found = list(parts)
        return cls(
            landed=sum(part.landed for part in found),
            waiting=tuple(one for part in found for one in part.waiting),
            asides=tuple(one for part in found for one in part.asides),
            repeated=sum(part.repeated for part in found),
        )


@dataclass(slots=True, kw_only=True)
class _Matched:
    """Feedback with its rows, feedback whose rows are not there, and the rows of all keys that it is about."""

    rows: pl.DataFrame
    named: list[fitting.Named] = field(default_factory=list[fitting.Named])
    left: list[Feedback] = field(default_factory=list[Feedback])


class Landings:
    """Lands logs. Where the landing ends is written down before it begins, and each part is committed under a key.

    So one that a crash cut short is done again and puts nothing twice. Rows have the source `endpoint/NAME`, labels
    `feedback/NAME`, and those that the model's own decision shaped `feedback/NAME/shaped`.
    """

    def __init__(
        self, database: Database, datasets: Datasets, log: Log, *, ledger: Ledger, access: Access, clock: Clock, ids: Ids,
        patience: timedelta, keep: timedelta | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._datasets = datasets
        self._log = log
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._patience = patience
        self._keep = keep
        self._compactor = Compactor(log.disk, clock=clock, ids=ids)
        self._eraser = LogEraser(log.disk, ids=ids)
        self._histories: dict[tuple[str, str], History[Prediction]] = {}

    def land(self, context: Context, endpoint: Endpoint) -> Landed:
        """Land what has come since the last time; nothing new is nothing landed.

        Each request's rows are rows of their own, known by key and prediction, also where the dataset has rows of
        their keys already; only a row that was pushed just so, with the same time and values, is that row. Feedback that names a prediction is the label of that prediction's row; one that names a
        key is that of the last row under the key that had happened when it was told, or of the first. Feedback on a
        row that is not there waits for it, and is put aside when it has waited too long.

        Every value lands exactly as it was scored; a record with one that its column cannot hold is put aside with
        the reason. Columns that the dataset does not have are left out.

        Raises:
            Stale: another worker is landing the same log.

        """
        with locked(self._log.folder_of(context.project, endpoint.name), shared=True):
            return self._land_new(context, endpoint)

    def tidy(self, context: Context, endpoint: Endpoint, *, dry_run: bool = False) -> Tidied:
        """Compact what has landed, and let go of what is older than is kept; with `dry_run`, only say what of it."""
        folder = self._log.folder_of(context.project, endpoint.name)
        if not folder.exists():
            return Tidied()
        before = self._landing(context, endpoint)
        try:
            tidied = self._compactor.compact(folder, before.positions, dry_run=dry_run)
            if not dry_run:
                self._forget_positions(context, before)
            if self._keep is not None:
                tidied += self._compactor.expire(folder, self._clock.now() - self._keep, dry_run=dry_run)
        except OSError as problem:
            raise Unavailable(
                f"the log could not be compacted: {problem}", hint=f"is there room left for {folder}?"
            ) from problem
        return tidied

    def asides(self, context: Context, endpoint: Endpoint) -> list[Aside]:
        """Return what was put aside because it fits into the dataset in no way, oldest first."""
        self._access.require(context, Permission.DATA_READ)
        return self._database.read(lambda c: queries.all_asides(c, context.project, endpoint.name))

    def erase(self, context: Context, endpoint: Endpoint, keys: Collection[str], *, dry_run: bool = False) -> LogErased:
        """Erase the records of some keys from the log, and from what waits or was put aside; or say how many.

        A landing that is on its way is waited for, so that it puts nothing of them into the dataset afterwards.
        """
        self._access.require(context, Permission.REVIEW)
        project, name = context.project, endpoint.name

        def work(connection: Connection) -> None:
            before = queries.landing(connection, project, name)
            others = (told for told in before.waiting if told.get("key") not in keys)
            after = replace(before, waiting=tuple(told for told in others if told.get("prediction") not in erased.ids))
            queries.put_landing(connection, project, before, after)
            queries.erase_asides(connection, project, name, list(keys), predictions=list(erased.ids))

        folder = self._log.folder_of(project, name)
        with locked(folder):
            erased = self._eraser.erase(folder, keys, dry_run=dry_run)
            if not dry_run:
                self._database.write(work)
        return erased

    def logged(self, context: Context, endpoint: str) -> LogErased:
        """Return how much the log of an endpoint holds; also of one that is there no more."""
        self._access.require(context, Permission.MODEL_READ)
        return erasing.count(self._log.folder_of(context.project, endpoint))

    @contextlib.contextmanager
    def removing(self, context: Context, endpoint: str) -> Generator[None]:
        """Lock the log of an endpoint, so that nothing of it lands, and remove it when the block has ended well."""
        self._access.require(context, Permission.MODEL_PROMOTE)
        folder = self._log.folder_of(context.project, endpoint)
        if not folder.exists():
            yield
            return
        with locked(folder):
            yield
            self._histories.pop((context.project, endpoint), None)
            try:
                erasing.remove(folder, self._log.disk)
            except OSError as problem:
                hint = f"when {folder} can be written: noria remove endpoint {endpoint}"
                raise Unavailable(
                    f"the log of endpoint {endpoint!r} could not be removed: {problem}", hint=hint
                ) from problem

    def _land_new(self, context: Context, endpoint: Endpoint) -> Landed:
        """Land what has come since the last time, or what was cut short then."""
        before = self._landing(context, endpoint)
        plan = before.plan or self._ends(context, endpoint)
        is_new = any(before.positions.get(name, 0) < end for name, end in plan.items())
        if not is_new and not before.waiting:
            return Landed()
        dataset = self._datasets.dataset(context, endpoint.dataset)
        delivery = _Delivery(
            context=context, endpoint=endpoint, dataset=dataset, schema=self._datasets.schema(context, dataset.name), landing=before,
            at=self._clock.now(),
        )  # fmt: skip
        if not is_new and not self._is_due(delivery):
            return Landed(waiting=len(before.waiting))
        return self._land(replace(delivery, landing=self._begun(delivery, plan)))

    def _forget_positions(self, context: Context, before: Landing) -> None:
        """Forget how far segments had landed that compacted files stand for; their names never come again."""
        folder = self._log.folder_of(context.project, before.endpoint)
        there = [path for kind in KINDS for path in compacted.files_of(folder, kind)]
        gone = compacted.replaced_in(there) & set(before.positions)
        if not gone or before.plan is not None:
            return
        left = {name: end for name, end in before.positions.items() if name not in gone}
        after = replace(before, positions=left)
        with contextlib.suppress(Stale):  # somebody is landing: the next time will do
            self._database.write(lambda c: queries.put_landing(c, context.project, before, after))

    def _land(self, delivery: _Delivery) -> Landed:
        """Land a plan: rows first, then the labels of rows, then tell how far it got, in one transaction."""
        context, landing = delivery.context, delivery.landing
        rows = self._land_rows(delivery)
        labels = self._land_labels(replace(delivery, schema=self._datasets.schema(context, delivery.dataset.name)))
        asides = rows.asides + labels.asides
        done = replace(
            landing,
            number=landing.number + 1,
            positions={**landing.positions, **(landing.plan or {})},
            plan=None,
            waiting=tuple(msgspec.to_builtins(told) for told in labels.waiting),
        )

        def work(connection: Connection) -> None:
            queries.put_landing(connection, context.project, landing, done)
            queries.insert_asides(connection, context.project, landing, asides)
            self._tell(connection, delivery, asides)

        self._database.write(work)
        return Landed(
            rows=rows.landed,
            labels=labels.landed,
            waiting=len(labels.waiting),
            aside=len(asides),
            repeated=rows.repeated,
        )

    def _tell(self, connection: Connection, delivery: _Delivery, asides: Collection[Aside]) -> None:
        """Tell how much was put aside; what and why stands in its table, where it can be erased."""
        if not asides:
            return
        name = delivery.endpoint.name
        told: dict[str, object] = {"endpoint": name, "dataset": delivery.dataset.name}
        told |= {"rows": sum(aside.kind is AsideKind.ROW for aside in asides)}
        told |= {"feedback": sum(aside.kind is AsideKind.FEEDBACK for aside in asides)}
        self._ledger.record(connection, delivery.context, FactKind.RECORDS_PUT_ASIDE, subject=name, payload=told)

    def _landing(self, context: Context, endpoint: Endpoint) -> Landing:
        return self._database.read(lambda c: queries.landing(c, context.project, endpoint.name))

    def _ends(self, context: Context, endpoint: Endpoint) -> dict[str, int]:
        """Return where the log ends now; that of feedback first, so that the predictions it is about are in it."""
        folder = self._log.folder_of(context.project, endpoint.name)
        plan = ends(folder, FEEDBACK)
        return plan | ends(folder, PREDICTIONS)

    def _begun(self, delivery: _Delivery, plan: Mapping[str, int]) -> Landing:
        """Write down where this landing ends, unless one that was cut short has."""
        before, project = delivery.landing, delivery.context.project
        if before.plan is not None:
            return before
        after = replace(before, plan=plan)
        self._database.write(lambda c: queries.put_landing(c, project, before, after))
        return after

    def _is_due(self, delivery: _Delivery) -> bool:
        """Say whether a row has come that feedback waits for, or feedback has waited too long."""
        waiting = [msgspec.convert(one, Feedback) for one in delivery.landing.waiting]
        try:
            return any(self._is_over(delivery, one) for one in waiting) or bool(
                self._known(delivery, [one.key for one in waiting if one.key is not None])
            )
        except Exception as problem:
            if is_of_records(problem):
                return True  # one of them is put aside when they are landed
            raise

    def _is_over(self, delivery: _Delivery, told: Feedback) -> bool:
        return delivery.at - told.at > self._patience

    def _known(self, delivery: _Delivery, keys: Iterable[str]) -> set[str]:
        return self._datasets.known_keys(delivery.context, delivery.dataset.name, keys)

    # --- rows

    def _land_rows(self, delivery: _Delivery) -> _Part:
        asked = list(self._asked(delivery).items())

        def land(some: Sequence[tuple[str, Prediction]]) -> _Part:
            what = "rows" if len(some) == len(asked) else f"rows/{digests.of_json([one for one, _ in some])}"
            return self._land_rows_of(delivery, dict(some), what)

        def aside(one: tuple[str, Prediction], why: str) -> _Part:
            return _Part(asides=(fitting.aside_row(one[1], why, at=delivery.at),))

        return _Part.of(landed_apart(asked, land, put_aside=aside))

    def _land_rows_of(self, delivery: _Delivery, asked: Mapping[str, Prediction], what: str) -> _Part:
        """Land some rows in one commit, but for those that do not fit."""
        dataset, context = delivery.dataset, delivery.context
        found = fitting.rows_of(
            list(asked.items()), dataset, delivery.schema, at=delivery.at,
            holds_large=lambda column: self._datasets.holds_large(context, dataset.name, column),
        )  # fmt: skip
        known = self._rows(delivery, spelled(found.frame[dataset.key]))
        fresh = found.frame.join(known, on=[dataset.key, PREDICTION], how="anti", maintain_order="left")
        same = self._datasets.pushed_just_so(context, dataset.name, fresh)
        fresh = fresh.filter(~pl.col(PREDICTION).is_in(same[PREDICTION].implode()))
        misfits = dict(fitting.sifted(fresh, lambda rows: self._datasets.misfit(context, dataset, rows)))
        fresh = fresh.filter(~pl.col(PREDICTION).is_in(list(misfits)))
        asides = [fitting.aside_row(asked[one], why, at=delivery.at) for one, why in misfits.items()]
        held = pl.concat([known[dataset.key], fresh[dataset.key]])
        repeated = fresh.height - held.n_unique() + known[dataset.key].n_unique()
        return _Part(landed=self._commit(delivery, fresh, what), asides=(*found.asides, *asides), repeated=repeated)

    def _asked(self, delivery: _Delivery) -> dict[str, Prediction]:
        """Return one record of each request by the id that it was answered under, in the order of their times."""
        asked: dict[str, Prediction] = {}
        for one in sorted(self._read(delivery, PREDICTIONS, Prediction), key=lambda one: one.at):
            answered = rules.stamped(delivery.endpoint, one.request)
            if not one.is_shadow and (answered not in asked or one.prediction == answered):
                asked[answered] = one
        return asked

    def _commit(self, delivery: _Delivery, rows: pl.DataFrame, what: str) -> int:
        if not rows.height:
            return 0
        source = f"endpoint/{delivery.endpoint.name}"
        made = self._datasets.commit(delivery.context, delivery.dataset, rows, source=source, key=delivery.key(what))
        return made.rows

    # --- labels

    def _land_labels(self, delivery: _Delivery) -> _Part:
        """Land the feedback of the plan and what waited."""
        told = [msgspec.convert(one, Feedback) for one in delivery.landing.waiting]
        told += list(self._read(delivery, FEEDBACK, Feedback))
        told = [_not_ahead(one, delivery.at) for one in told]
        if delivery.dataset.label is None:
            return _Part(asides=tuple(self._aside(delivery, one, "its dataset has no label") for one in told))
        parts = landed_apart(
            told,
            lambda some: self._land_labels_of(delivery, some),
            put_aside=lambda one, why: _Part(asides=(self._aside(delivery, one, why),)),
        )
        return _Part.of(parts)

    def _land_labels_of(self, delivery: _Delivery, some: Sequence[Feedback]) -> _Part:
        """Land some feedback, but for what waits, and what does not fit."""
        told = sorted(some, key=lambda one: one.at)
        matched = self._matched(delivery, told)
        found = fitting.labels_of(matched.named, delivery.dataset, delivery.schema, at=delivery.at)
        labels = datasets_rules.owned(found.frame, matched.rows, dataset=delivery.dataset)
        landed = sum(
            self._land_some(delivery, part)
            for part in labels.sort(fitting.SHAPED, maintain_order=True).partition_by(
                fitting.SHAPED, maintain_order=True
            )
        )
        over = [one for one in matched.left if self._is_over(delivery, one)]
        return _Part(
            landed=landed,
            waiting=tuple(one for one in matched.left if not self._is_over(delivery, one)),
            asides=(*found.asides, *(self._aside(delivery, one, "its row did not come") for one in over)),
        )

    @staticmethod
    def _aside(delivery: _Delivery, told: Feedback, reason: str) -> Aside:
        return fitting.aside_feedback(told, reason, at=delivery.at)

    def _land_some(self, delivery: _Delivery, labels: pl.DataFrame) -> int:
        """Land labels of one source under keys that say what they are: the same ones once, however often it is tried."""
        is_shaped = bool(labels[0, fitting.SHAPED]) if labels.height else False
        source = f"feedback/{delivery.endpoint.name}" + ("/shaped" if is_shaped else "")
        landed = 0
        for part in fitting.rounds(labels.drop(fitting.SHAPED), key=delivery.dataset.key):
            digest = digests.of_json([[str(cell) for cell in row] for row in part.iter_rows()])
            key = delivery.key(f"{'shaped' if is_shaped else 'labels'}/{digest[:16]}")
            named = part if part[PREDICTION].null_count() < part.height else part.drop(PREDICTION)
            made = self._datasets.land_labels(delivery.context, delivery.dataset, named, source=source, key=key)
            landed += made.labels
        return landed

    def _matched(self, delivery: _Delivery, told: Sequence[Feedback]) -> _Matched:
        """Find the rows that feedback is about: that of the prediction it names, or those of its key."""
        asked = self._asked_about(delivery, told)
        keys = {asked[one.prediction][0] if one.prediction in asked else one.key for one in told}
        rows = self._rows(delivery, [key for key in keys if key is not None])
        there: _There = {}
        columns = spelled(rows[delivery.dataset.key]), rows[PREDICTION], rows[delivery.dataset.time]
        for key, prediction, time in zip(*columns, strict=True):
            there.setdefault(key, []).append((prediction, time))
        matched = _Matched(rows=rows)
        for one in told:
            found = _row_of(one, asked, there) if one.at <= delivery.at else None
            if found is None:
                matched.left.append(one)
            else:
                matched.named.append(fitting.Named(key=found[0], prediction=found[1], told=one))
        return matched

    def _asked_about(self, delivery: _Delivery, told: Iterable[Feedback]) -> _Asked:
        """Return the keys of the rows that predictions were about, and the ids those rows have, by the predictions' ids."""
        ids = [one.prediction for one in told if one.prediction is not None]
        if not ids:
            return {}
        place = (delivery.context.project, delivery.endpoint.name)
        if place not in self._histories:
            self._histories[place] = answers_in(self._log.folder_of(*place))
        since = min(_asked_at(prediction) for prediction in ids) - _SLACK
        found = self._histories[place].since(since).filter(pl.col("prediction").is_in(ids))
        rows = found.select("prediction", "row_key", "request", pl.coalesce("time", "at")).iter_rows()
        return {
            prediction: (key, rules.stamped(delivery.endpoint, request), moment)
            for prediction, key, request, moment in rows
        }

    def _read(self, delivery: _Delivery, name: str, kind: type[Any]) -> Iterable[Any]:
        plan = {segment: end for segment, end in (delivery.landing.plan or {}).items() if segment.startswith(name)}
        folder = self._log.folder_of(delivery.context.project, delivery.endpoint.name)
        return (record for _, _, record in records(folder, kind, after=delivery.landing.positions, until=plan))

    def _rows(self, delivery: _Delivery, keys: Iterable[str]) -> pl.DataFrame:
        return self._datasets.rows_of_keys(delivery.context, delivery.dataset.name, keys)


def _row_of(told: Feedback, asked: _Asked, there: _There) -> tuple[str, str | None] | None:
    """Return key and prediction of the row that feedback is about, None if it is not there; see `rules.owned`.

    A request about a row that was pushed just so has none of its own: it is the row without prediction of that time.
    So are rows that landed before rows knew their predictions.
    """
    if told.prediction is None:
        return None if told.key is None or told.key not in there else (told.key, None)
    if told.prediction not in asked:
        return None
    key, answered, moment = asked[told.prediction]
    of_key = there.get(key, ())
    if any(prediction == answered for prediction, _ in of_key):
        return key, answered
    return (key, PUSHED) if (None, moment) in of_key else None


def _not_ahead(told: Feedback, now: datetime) -> Feedback:
    """Return feedback that was told on a clock which was ahead as told now; a little ahead is another machine's clock."""
    return told if told.at <= now + _SLACK else msgspec.structs.replace(told, at=now)


def _asked_at(prediction: str) -> datetime:
    try:
        return moment_of(prediction.rpartition(".")[0].rpartition(".")[2])
    except ValueError:  # a token of another source of ids
        return _LONG_AGO + _SLACK
