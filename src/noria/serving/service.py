"""Verbs of serving: make an endpoint, change its route, answer, take feedback, look at what was answered."""

from collections.abc import Sequence

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import Conflict, Invalid, NotFound, Stale
from noria.core.ids import Ids
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.registry.service import Registry
from noria.serving import queries, rules
from noria.serving.model import Endpoint, Route, Variant
from noria.store.database import Connection, Database

_MOST_LETTERS = 255


class Endpoints:
    """The endpoints of a platform. Verbs that end in `_in` do their work in the caller's transaction."""

    def __init__(
        self, database: Database, *, registry: Registry, ledger: Ledger, access: Access, clock: Clock, ids: Ids
    ) -> None:
        self._database = database
        self._registry = registry
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

    def all(self, context: Context) -> list[Endpoint]:
        """Return the project's endpoints, by name."""
        self._access.require(context, Permission.MODEL_READ)
        return self._database.read(lambda c: queries.all_endpoints(c, context.project))

    def of_model(self, context: Context, model: str) -> list[Endpoint]:
        """Return the endpoints that answer with a model, by name."""
        return [endpoint for endpoint in self.all(context) if endpoint.model == model]

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

    def epochs(self, context: Context) -> dict[str, int]:
        """Return the epoch of each endpoint's route; a gateway asks this often, and it is cheap."""
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
