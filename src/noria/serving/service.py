"""Verbs of serving: make an endpoint, change its route, answer, take feedback, look at what was answered."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock, Stopwatch
from noria.core.context import Context
from noria.core.errors import Conflict, Invalid, NotFound, Retired, Stale
from noria.core.ids import Ids
from noria.datasets.model import KNOWN_AT, PREDICTION
from noria.datasets.rules import must_be_texts
from noria.datasets.service import Datasets
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.registry.loading import Loader
from noria.registry.model import ModelVersion
from noria.registry.service import Registry
from noria.serving import asking, history, queries, rules
from noria.serving.answering import Answerer, Question
from noria.serving.log import Log
from noria.serving.model import (
    Answer,
    Endpoint,
    Feedback,
    Loading,
    Prediction,
    Rescoring,
    Route,
    Servable,
    Variant,
)
from noria.serving.preparing import Prepared
from noria.store import retirements
from noria.store.database import Connection, Database
from noria.store.retirements import Kind

_MOST_LETTERS = 255


class Endpoints:
    """The endpoints of a platform. Verbs that end in `_in` do their work in the caller's transaction."""

    def __init__(
        self, database: Database, log: Log, *, registry: Registry, datasets: Datasets, loader: Loader,
        stopwatch: Stopwatch, ledger: Ledger, access: Access, clock: Clock, ids: Ids,
    ) -> None:  # fmt: skip
        self._database = database
        self._log = log
        self._registry = registry
        self._datasets = datasets
        self._answerer = Answerer(registry, loader, log, stopwatch=stopwatch, ids=ids)
        self._histories: dict[tuple[str, str], tuple[history.History[Prediction], history.History[Feedback]]] = {}
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids

    # --- endpoints

    def create(self, context: Context, name: str, *, model: str, dataset: str) -> Endpoint:
        """Make an endpoint without a route; making it again changes nothing. See `create_in`."""
        return self._database.write(lambda c: self.create_in(c, context, name, model=model, dataset=dataset))

    def create_in(self, connection: Connection, context: Context, name: str, *, model: str, dataset: str) -> Endpoint:
        """Make an endpoint in the caller's transaction; it answers nothing until it has a route.

        Raises:
            Conflict: there is one of this name, for another model or dataset.

        """
        self._access.require(context, Permission.LOOP_WRITE)
        known = queries.endpoint(connection, context.project, name)
        if known is not None:
            if (known.model, known.dataset) != (model, dataset):
                raise Conflict(
                    f"endpoint {name!r} answers with model {known.model!r} for dataset {known.dataset!r}",
                    hint="give the other one another name",
                )
            return known
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > _MOST_LETTERS:
            raise Invalid(f"{name!r} is no name for an endpoint", hint="use letters, digits, '-', '_' and '.'")
        made = Endpoint(name=name, model=model, dataset=dataset, secret=self._ids.new("secret"))
        first = self._next_route(context, made, epoch=0, variants=(), shadows=(), reason="made")
        queries.insert_endpoint(connection, context.project, made, first)
        told = {"endpoint": name, "model": model, "dataset": dataset}
        self._ledger.record(connection, context, FactKind.ENDPOINT_CREATED, subject=name, payload=told)
        return made

    def get(self, context: Context, name: str) -> Endpoint:
        """Return an endpoint; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        found = self._database.read(lambda c: queries.endpoint(c, context.project, name))
        if found is None:
            raise self._missing(context, name)
        return found

    def all(self, context: Context, *, with_retired: bool = False) -> list[Endpoint]:
        """Return the project's endpoints, by name; those that are retired only `with_retired`."""
        self._access.require(context, Permission.MODEL_READ)

        def look(connection: Connection) -> list[Endpoint]:
            left_out = set[str]() if with_retired else retirements.hidden(connection, context.project, Kind.ENDPOINT)
            return [each for each in queries.all_endpoints(connection, context.project) if each.name not in left_out]

        return self._database.read(look)

    def of_model(self, context: Context, model: str) -> list[Endpoint]:
        """Return the endpoints of a model, by name, also the retired ones: their logs land, and their routes move."""
        return [endpoint for endpoint in self.all(context, with_retired=True) if endpoint.model == model]

    def of_model_in(self, connection: Connection, context: Context, model: str) -> list[Endpoint]:
        """Return the endpoints that answer with a model as the caller's transaction sees them."""
        self._access.require(context, Permission.MODEL_READ)
        return [known for known in queries.all_endpoints(connection, context.project) if known.model == model]

    # --- routes

    def route(self, context: Context, name: str) -> Route:
        """Return an endpoint's route as it is now; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        found = self._database.read(lambda c: queries.route(c, context.project, name))
        if found is None:
            raise self._missing(context, name)
        return found

    def route_in(self, connection: Connection, context: Context, name: str) -> Route:
        """Return the route and keep it as it is until the caller's transaction ends; raises `NotFound`."""
        self._access.require(context, Permission.MODEL_READ)
        found = queries.route(connection, context.project, name, lock=True)
        if found is None:
            raise NotFound("endpoint", name)
        return found

    def routes(self, context: Context, name: str) -> list[Route]:
        """Return every route that an endpoint had, oldest first: who answered when, and why."""
        endpoint = self.get(context, name)
        return self._database.read(lambda c: queries.all_routes(c, context.project, name, model=endpoint.model))

    def epochs(self, context: Context) -> dict[str, int | None]:
        """Return the epoch of each endpoint's route, None for one that is retired; a gateway asks often: it is cheap."""
        return self._database.read(lambda c: queries.epochs(c, context.project))

    def set_route(
        self, context: Context, name: str, *, expected_epoch: int, variants: Sequence[Variant],
        shadows: Sequence[int] = (), reason: str,
    ) -> Route:  # fmt: skip
        """Change who answers, in a transaction of its own; see `set_route_in`."""
        return self._database.write(
            lambda connection: self.set_route_in(
                connection,
                context,
                name,
                expected_epoch=expected_epoch,
                variants=variants,
                shadows=shadows,
                reason=reason,
            )
        )

    def set_route_in(
        self, connection: Connection, context: Context, name: str, *, expected_epoch: int,
        variants: Sequence[Variant], shadows: Sequence[int] = (), reason: str,
    ) -> Route:  # fmt: skip
        """Change who answers, if the route is still of the expected epoch; the variant on trial stands first.

        No variants at all: nobody answers.

        Raises:
            NotFound: there is no such endpoint, or no such version of its model.
            Stale: somebody else has changed the route meanwhile.
            Invalid: weights that do not sum to 1, or a version named twice.

        """
        self._access.require(context, Permission.MODEL_PROMOTE)
        rules.checked_variants(variants, shadows)
        before = self.route_in(connection, context, name)
        if before.epoch != expected_epoch:
            raise Stale(
                f"the route of endpoint {name!r} is of epoch {before.epoch}, not {expected_epoch}",
                hint="look at it again, and decide anew",
            )
        endpoint = queries.endpoint(connection, context.project, name)
        assert endpoint is not None
        epoch = before.epoch + 1
        after = self._next_route(context, endpoint, epoch=epoch, variants=variants, shadows=shadows, reason=reason)
        for number in after.versions:
            self._registry.version_in(connection, context, endpoint.model, number)
        queries.change_route(connection, context.project, after)
        self._ledger.record(connection, context, FactKind.ROUTE_CHANGED, subject=name, payload=_told(after))
        return after

    # --- answers, and what turned out to be so

    def predict(self, context: Context, name: str, rows: pl.DataFrame, *, key: str) -> list[Answer]:
        """Answer rows in this process, one answer a row and in their order; `key` is the column that the route goes by.

        Each answer and each shadow's is logged at the time of the platform's clock. A gateway answers in the same
        way over HTTP.

        Raises:
            NotFound: there is no such endpoint, or the rows have no such column.
            BadData: a value that the dataset could not keep exactly.
            Unavailable: nobody answers there yet.
            ModelFailed: the version failed, and no other one has a share of the traffic.
            Retired: the endpoint was retired.
            BadData: a text with the letter NUL, which not every store can hold.
            NotStored: the log could not be written; what is in no log was not answered.

        """
        endpoint, route = self._in_use(context, name), self.route(context, name)
        dataset = self._datasets.dataset(context, endpoint.dataset)
        now = self._clock.now()
        must_be_texts(rows)
        rows = asking.exact(rows, dataset, self._datasets.kinds(context, dataset.name), at=now)
        requests = [self._ids.new("q").removeprefix("q_") for _ in range(rows.height)]
        question = Question(
            context=context,
            endpoint=endpoint,
            dataset=dataset,
            route=route,
            rows=rows,
            asked=asking.ask(rows, dataset=dataset, key=key, at=now, requests=requests),
            inputs={version: self.inputs(context, endpoint, version) for version in route.versions},
        )
        return self._answerer.answer(question)

    def tell(self, context: Context, name: str, feedback: Sequence[Feedback]) -> None:
        """Take feedback on an endpoint's predictions; when it returns it survives loss of power.

        Raises:
            NotFound: there is no such endpoint, or a prediction that it never gave.
            Retired: the endpoint was retired.
            BadData: what could be no label of any dataset, a time without a zone, a key that no store can hold.
            NotStored: the log could not be written; nothing was taken.

        """
        self._access.require(context, Permission.DATA_WRITE)
        endpoint = self._in_use(context, name)
        for told in feedback:
            asking.must_be_storable(told)
            rules.must_be_feedback(told)
            if told.prediction is not None:
                rules.endpoint_of(told.prediction, {name: endpoint})
        self._log.told(context.project, name, feedback)

    def outcomes(
        self, context: Context, name: str, *, since: datetime, until: datetime, as_of: datetime
    ) -> pl.DataFrame:
        """Return one row for each answer logged in [since, until), with its label as known at `as_of`, else null.

        Columns: request, prediction, key, at, version, is_shadow, score, missing, latency_ms, error, label. Answers
        of a live version and of its shadows share `request`. Labels come from feedback and from the dataset.
        """
        endpoint = self.get(context, name)
        answers, told = self._history(context, name)
        within = answers.since(since).filter(pl.col("at") < until, pl.col("at") <= as_of)
        landed = self._landed(context, endpoint, within, as_of=as_of)
        known = told.since(None).filter(pl.col("at") <= as_of)
        return history.labelled(within, known, landed).select(history.COLUMNS)

    def answers(self, context: Context, name: str, *, since: datetime) -> pl.DataFrame:
        """Return one row for each answer logged since then, as `outcomes` does, but without labels."""
        self.get(context, name)
        return self._history(context, name)[0].since(since)

    def serve_in(self, connection: Connection, context: Context, version: ModelVersion, prepared: Prepared) -> Servable:
        """Record in the caller's transaction what a version is served as; recording it again changes nothing."""
        self._access.require(context, Permission.MODEL_WRITE)
        servable = Servable(
            model=version.model,
            version=version.number,
            kind=prepared.kind,
            inputs=prepared.inputs,
            words=prepared.words,
            blob=prepared.blob,
            golden=prepared.golden,
        )
        queries.put_servable(connection, context.project, servable)
        return servable

    def servable(self, context: Context, model: str, version: int) -> Servable | None:
        """Return what a version is served as, None for one that was registered without saying."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda c: queries.find_servable(c, context.project, model, version))

    def loaded(self, context: Context, loading: Loading) -> None:
        """Record how a version was loaded, or why it could not be, to answer an endpoint's requests."""
        self._access.require(context, Permission.MODEL_READ)
        self._database.write(lambda c: queries.put_loading(c, context.project, loading))

    def loading(self, context: Context, model: str, version: int) -> Loading | None:
        """Return how a version was loaded last, None if no gateway has loaded it."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda c: queries.find_loading(c, context.project, model, version))

    def rescoring(self, context: Context, name: str) -> Rescoring | None:
        """Return how an endpoint's answers were scored again, None if none were yet."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda c: queries.rescoring(c, context.project, name))

    def inputs(self, context: Context, endpoint: Endpoint, version: int) -> Mapping[str, str]:
        """Return the columns that a version reads, in their order, with their kinds; of one not recorded, all there are.

        Where the record does not tell the order, it is that of the dataset.
        """
        found = self.servable(context, endpoint.model, version)
        if found is not None and found.is_ordered:
            return found.inputs
        order = self._datasets.order(context, endpoint.dataset)
        if found is None:
            there = set(self._datasets.columns(context, endpoint.dataset))
            return {name: "unknown" for name in order if name in there}
        places = {name: place for place, name in enumerate(order)}
        names = sorted(found.inputs, key=lambda name: places.get(name, len(places)))
        return {name: found.inputs[name] for name in names}

    def _in_use(self, context: Context, name: str) -> Endpoint:
        """Return an endpoint that answers and is told; raises `NotFound`, and `Retired` for one that was retired."""
        found = self.get(context, name)
        if name in self._database.read(lambda c: retirements.hidden(c, context.project, Kind.ENDPOINT)):
            raise Retired(Kind.ENDPOINT.value, name)
        return found

    def _history(self, context: Context, name: str) -> tuple[history.History[Prediction], history.History[Feedback]]:
        place = (context.project, name)
        if place not in self._histories:
            folder = self._log.folder_of(*place)
            self._histories[place] = (history.answers_in(folder), history.told_in(folder))
        return self._histories[place]

    def _landed(self, context: Context, endpoint: Endpoint, answers: pl.DataFrame, *, as_of: datetime) -> pl.DataFrame:
        """Return the dataset's labels of the rows that were asked about, as known then."""
        dataset = self._datasets.dataset(context, endpoint.dataset)
        times = answers.select(time=pl.coalesce("time", "at"))["time"]
        first, last = times.min(), times.max()
        if dataset.label is None or not isinstance(first, datetime) or not isinstance(last, datetime):
            return history.NO_LABELS
        if self._datasets.latest(context, dataset.name) is None:
            return history.NO_LABELS
        until = last + timedelta(microseconds=1)
        rows = self._datasets.read(
            context, dataset.name, as_of=as_of, since=first, until=until, labelled=True, with_predictions=True
        )
        return pl.DataFrame(
            {
                "row_key": rows[dataset.key].cast(pl.String),
                "prediction": rows[PREDICTION],
                "label": rows[dataset.label].cast(pl.Float64, strict=False),
                "at": rows[KNOWN_AT],
            }
        )

    def _next_route(
        self, context: Context, endpoint: Endpoint, *, epoch: int, variants: Sequence[Variant],
        shadows: Sequence[int], reason: str,
    ) -> Route:  # fmt: skip
        return Route(
            endpoint=endpoint.name,
            model=endpoint.model,
            epoch=epoch,
            variants=tuple(variants),
            shadows=tuple(shadows),
            at=self._clock.now(),
            by=str(context.actor),
            reason=reason,
        )

    def _missing(self, context: Context, name: str) -> NotFound:
        known = [endpoint.name for endpoint in self.all(context)]
        hint = "" if known else "start a loop: noria loop start FILE makes one of its name"
        return NotFound("endpoint", name, known=known, hint=hint)


def _told(route: Route) -> dict[str, object]:
    return {
        "endpoint": route.endpoint,
        "model": route.model,
        "epoch": route.epoch,
        "variants": [[variant.version, variant.weight] for variant in route.variants],
        "shadows": list(route.shadows),
        "reason": route.reason,
    }
