"""Puts what an endpoint has met into its dataset, exactly once: rows as they were asked about, labels from feedback."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from noria.core import digests
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import BadData, NotFound
from noria.core.ids import moment_of
from noria.datasets.model import KNOWN_AT, Dataset
from noria.datasets.service import Datasets
from noria.serving import queries
from noria.serving.history import History, answers_in
from noria.serving.compacted import FEEDBACK, PREDICTIONS
from noria.serving.log import Log, ends, records
from noria.serving.model import Endpoint, Feedback, Landed, Landing, Prediction
from noria.store.database import Database

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(minutes=1)
_decode = msgspec.json.decode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """One landing on its way: which one, of which endpoint, into which dataset with which columns."""

    context: Context
    endpoint: Endpoint
    dataset: Dataset
    schema: Mapping[str, pl.DataType]
    landing: Landing

    def key(self, what: str) -> str:
        """Return the key under which a part of the landing is committed, however often it is tried."""
        return f"endpoint/{self.endpoint.name}/{self.landing.number}/{what}"


class Landings:
    """Lands logs. Where the landing ends is written down before it begins, and each part is committed under a key.

    So one that a crash cut short is done again and puts nothing twice. Rows have the source `endpoint/NAME`, labels
    `feedback/NAME`, and those that the model's own decision shaped `feedback/NAME/shaped`.
    """

    def __init__(self, database: Database, datasets: Datasets, log: Log, *, clock: Clock) -> None:
        self._database = database
        self._datasets = datasets
        self._log = log
        self._clock = clock
        self._histories: dict[tuple[str, str], History[Prediction]] = {}

    def land(self, context: Context, endpoint: Endpoint) -> Landed:
        """Land what has come since the last time; nothing new is nothing landed.

        A row whose key the dataset holds already is left out. Feedback on a row that it does not hold waits for it.
        Columns that the dataset does not have are left out, and what is not of a column's kind is null.

        Raises:
            Stale: another worker is landing the same log.

        """
        before = self._database.read(lambda c: queries.landing(c, context.project, endpoint.name))
        plan = before.plan or self._ends(context, endpoint)
        is_new = any(before.positions.get(name, 0) < end for name, end in plan.items())
        if not is_new and not before.waiting:
            return Landed()
        dataset = self._datasets.dataset(context, endpoint.dataset)
        schema = self._schema(context, dataset)
        delivery = _Delivery(context=context, endpoint=endpoint, dataset=dataset, schema=schema, landing=before)
        if not is_new and not self._has_come(delivery):
            return Landed(waiting=len(before.waiting))
        landing = self._begun(delivery, plan)
        delivery = replace(delivery, landing=landing)
        rows = self._land_rows(delivery)
        labels, waiting = self._land_labels(replace(delivery, schema=self._schema(context, dataset)))
        done = replace(
            landing,
            number=landing.number + 1,
            positions={**landing.positions, **(landing.plan or {})},
            plan=None,
            waiting=tuple(msgspec.to_builtins(told) for told in waiting),
        )
        self._database.write(lambda c: queries.put_landing(c, context.project, landing, done))
        return Landed(rows=rows, labels=labels, waiting=len(waiting))

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

    def _has_come(self, delivery: _Delivery) -> bool:
        """Say whether a row has come that feedback waits for."""
        waiting = [msgspec.convert(one, Feedback) for one in delivery.landing.waiting]
        return bool(self._known(delivery, [(one.key, one) for one in waiting]))

    # --- rows

    def _land_rows(self, delivery: _Delivery) -> int:
        frame = _rows_of(self._read(delivery, PREDICTIONS, Prediction), delivery)
        if frame.height == 0:
            return 0
        for known in (self._keys_near, self._all_keys):
            fresh = frame.join(known(delivery, frame), on=delivery.dataset.key, how="anti")
            if fresh.height == 0:
                return 0
            try:
                return self._commit(delivery, fresh)
            except BadData:
                if known == self._all_keys:
                    raise
        return 0

    def _commit(self, delivery: _Delivery, rows: pl.DataFrame) -> int:
        source = f"endpoint/{delivery.endpoint.name}"
        made = self._datasets.commit(delivery.context, delivery.dataset, rows, source=source, key=delivery.key("rows"))
        return made.rows

    def _keys_near(self, delivery: _Delivery, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the dataset's keys around the times of some rows, where those with the same keys mostly are."""
        times = frame[delivery.dataset.time]
        first, last = times.min(), times.max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        return self._keys(delivery, since=first - _SLACK, until=last + _SLACK)

    def _all_keys(self, delivery: _Delivery, frame: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002 - as _keys_near
        return self._keys(delivery)

    def _keys(
        self, delivery: _Delivery, *, since: datetime | None = None, until: datetime | None = None
    ) -> pl.DataFrame:
        name = delivery.dataset.key
        try:
            return self._datasets.read(
                delivery.context, delivery.dataset.name, columns=[name], since=since, until=until
            )
        except NotFound:  # no snapshot yet
            return pl.DataFrame(schema={name: delivery.schema.get(name, pl.String())})

    # --- labels

    def _land_labels(self, delivery: _Delivery) -> tuple[int, list[Feedback]]:
        """Land the feedback of the plan and what waited; return how many labels, and what waits still."""
        told = [msgspec.convert(one, Feedback) for one in delivery.landing.waiting]
        told += list(self._read(delivery, FEEDBACK, Feedback))
        if not told or delivery.dataset.label is None:
            return 0, []
        rows = self._rows_of_predictions(delivery, told)
        named = [(rows.get(one.prediction or "", one.key), one) for one in sorted(told, key=lambda one: one.at)]
        known, now = self._known(delivery, named), self._clock.now()
        landed = 0
        for is_shaped, what in ((False, "labels"), (True, "shaped")):
            mine = {key: one for key, one in named if key in known and one.at <= now and one.shaped is is_shaped}
            landed += self._land_some(delivery, what, mine)
        return landed, [one for key, one in named if key not in known or one.at > now]

    def _known(self, delivery: _Delivery, named: Iterable[tuple[str | None, Feedback]]) -> set[str]:
        """Return which of these keys the dataset holds."""
        wanted = [key for key, _ in named if key is not None]
        keys = self._keys(delivery)[delivery.dataset.key].cast(pl.String)
        return set(keys.filter(keys.is_in(wanted)))

    def _land_some(self, delivery: _Delivery, what: str, named: Mapping[str, Feedback]) -> int:
        """Land labels under a key that says what they are: the same ones once, however often it is tried."""
        frame = _labels_of(named, delivery)
        if frame.height == 0:
            return 0
        source = f"feedback/{delivery.endpoint.name}" + ("/shaped" if what == "shaped" else "")
        spelled = digests.of_json([[key, one.label, one.at.isoformat()] for key, one in named.items()])
        made = self._datasets.land_labels(
            delivery.context, delivery.dataset, frame, source=source, key=delivery.key(f"{what}/{spelled[:16]}")
        )
        return made.labels

    def _rows_of_predictions(self, delivery: _Delivery, told: Iterable[Feedback]) -> dict[str, str]:
        """Return the keys of the rows that predictions were about, by their ids."""
        ids = [one.prediction for one in told if one.prediction is not None]
        if not ids:
            return {}
        place = (delivery.context.project, delivery.endpoint.name)
        if place not in self._histories:
            self._histories[place] = answers_in(self._log.folder_of(*place))
        since = min(_asked_at(prediction) for prediction in ids) - _SLACK
        found = self._histories[place].since(since).filter(pl.col("prediction").is_in(ids))
        return dict(zip(found["prediction"], found["row_key"], strict=True))

    def _read(self, delivery: _Delivery, name: str, kind: type[Any]) -> Iterable[Any]:
        plan = {segment: end for segment, end in (delivery.landing.plan or {}).items() if segment.startswith(name)}
        folder = self._log.folder_of(delivery.context.project, delivery.endpoint.name)
        return (record for _, _, record in records(folder, kind, after=delivery.landing.positions, until=plan))

    def _schema(self, context: Context, dataset: Dataset) -> Mapping[str, pl.DataType]:
        """Return the dataset's columns with their types; none before its first rows."""
        try:
            return self._datasets.read(context, dataset.name, since=_LONG_AGO, until=_LONG_AGO).schema
        except NotFound:
            return {}


def _rows_of(predictions: Iterable[Prediction], delivery: _Delivery) -> pl.DataFrame:
    """Return the rows that were asked about as the dataset has them, each once."""
    dataset, schema = delivery.dataset, delivery.schema
    asked = {one.row_key: one for one in predictions if not one.is_shadow}
    rows: list[dict[str, Any]] = [_decode(one.row) for one in asked.values()]
    names = list(schema) or list(dict.fromkeys([dataset.key, dataset.time, *(name for row in rows for name in row)]))
    columns = {name: [row.get(name) for row in rows] for name in names if name not in (dataset.label, KNOWN_AT)}
    columns[dataset.key] = list(asked)
    columns[dataset.time] = [one.time or one.at for one in asked.values()]
    frame = pl.DataFrame([_column(name, values, schema.get(name)) for name, values in columns.items()])
    return frame.drop_nulls(dataset.key)


def _labels_of(named: Mapping[str, Feedback], delivery: _Delivery) -> pl.DataFrame:
    """Return labels by their rows' keys as the dataset has them; what is no label of its kind is left out."""
    dataset, schema = delivery.dataset, delivery.schema
    label = dataset.label or ""
    known_at = pl.Series(KNOWN_AT, [one.at for one in named.values()], pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        [
            _column(dataset.key, list(named), schema.get(dataset.key)),
            _column(label, [one.label for one in named.values()], schema.get(label)),
            known_at,
        ]
    ).drop_nulls(label)


def _column(name: str, values: list[Any], kind: pl.DataType | None) -> pl.Series:
    """Return values as a column of a kind; what is not of it is null."""
    if isinstance(kind, pl.Datetime) and any(isinstance(value, str) for value in values):
        texts = pl.Series(name, values, pl.String, strict=False)
        return texts.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    column = pl.Series(name, values, strict=False)
    if kind is None or kind == pl.Null():
        return column
    return column.cast(kind, strict=False)


def _asked_at(prediction: str) -> datetime:
    try:
        return moment_of(prediction.rpartition(".")[0].rpartition(".")[2])
    except ValueError:  # a token of another source of ids
        return _LONG_AGO + _SLACK
