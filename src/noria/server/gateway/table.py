"""Who answers what just now: follows the routes in the database, and loads a version before it gets a request."""

import logging
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from noria.boot import Platform
from noria.core.clock import Stopwatch
from noria.core.errors import NoriaError, NotFound, Retired, Unavailable
from noria.datasets.model import Dataset
from noria.server.gateway.bodies import Door, Reader
from noria.server.gateway.metrics import ScorerState
from noria.serving.model import Endpoint, Loading, Route, ServableKind
from noria.serving.running import Scorer

_RETRY_SECONDS = 5.0
_SERVICE = "gateway"
_log = logging.getLogger("noria.gateway")


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A version that is ready, and how many routes, present or still in use, hold it."""

    version: int
    scorer: Scorer
    reader: Reader
    holders: int = 0


@dataclass(slots=True, kw_only=True)
class Live:
    """One endpoint under one route with its versions; let go when it was replaced and its last request is answered."""

    endpoint: Endpoint
    dataset: Dataset
    door: Door
    route: Route
    versions: Mapping[int, Loaded]
    requests: int = 0
    is_replaced: bool = False


@dataclass(slots=True, kw_only=True)
class _Failure:
    """A route that could not be loaded: why, and when to try again."""

    epoch: int
    words: str
    try_at: float = field(default=0.0)


class Table:
    """The endpoints of a project as they are live in this process.

    A thread of its own asks for the routes' epochs; what is new is loaded, and then swapped in. Requests that were begun under the
    old route end under it; what no route needs any more is closed after them. A version that cannot be loaded never
    takes traffic: the old route stays until it can.
    """

    def __init__(self, platform: Platform, *, stopwatch: Stopwatch) -> None:
        self._platform = platform
        self._context = platform.context.acting_as(_SERVICE)
        self._every = platform.settings.route_poll_seconds
        self._stopwatch = stopwatch
        self._live: dict[str, Live] = {}
        self._failures: dict[str, _Failure] = {}
        self._retired: frozenset[str] = frozenset()
        self._told: dict[tuple[str, int], tuple[ServableKind | None, str]] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._refreshing: dict[str, threading.Thread] = {}
        self._reached_at = stopwatch.wall()

    @property
    def retired(self) -> frozenset[str]:
        """Return the names of the endpoints that are retired."""
        return self._retired

    @property
    def project(self) -> str:
        """Return the project whose endpoints these are."""
        return self._context.project

    def start(self) -> None:
        """Load what is live now, and follow it from then on. Raises `Unavailable` without a database."""
        self.look()
        self.go_on()

    def go_on(self) -> None:
        """Follow the routes in a thread of its own, unless one does."""
        if not self._ending.is_set() and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._follow, name="noria-routes", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Follow no more, and close all versions; calling it twice is fine."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._wait()
        for name in list(self._live):
            self._swap(name, None)

    def age(self) -> float:
        """Return how many seconds ago the database was last heard of."""
        return self._stopwatch.wall() - self._reached_at

    def failures(self) -> dict[str, str]:
        """Return why a newer route of an endpoint could not be loaded, by its name."""
        return {name: failure.words for name, failure in list(self._failures.items())}

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints that are known, by name."""
        return {name: live.endpoint for name, live in list(self._live.items())}

    def scorers(self) -> list[ScorerState]:
        """Return how what runs each loaded version stands."""
        return [
            ScorerState(
                endpoint=live.endpoint.name,
                version=loaded.version,
                trouble=loaded.scorer.trouble,
                deaths=loaded.scorer.deaths,
            )
            for live in list(self._live.values())
            for loaded in live.versions.values()
        ]

    def routes(self) -> list[Route]:
        """Return the routes by which answers are given now."""
        return [live.route for live in list(self._live.values())]

    @contextmanager
    def entered(self, name: str) -> Generator[Live]:
        """Hold an endpoint as it is now while a request is answered.

        Raises:
            NotFound: there is none of this name.
            Retired: there is, and it was retired.
            Unavailable: there is, and nothing that could be loaded answers there.

        """
        with self._lock:
            live = self._live.get(name)
            if live is None:
                raise self.absent(name)
            live.requests += 1
        try:
            yield live
        finally:
            with self._lock:
                live.requests -= 1
                freed = self._freed(live)
            _close(freed)

    def absent(self, name: str) -> NoriaError:
        """Return what keeps an endpoint from answering: there is none, it is retired, or its versions cannot be loaded."""
        if name in self._retired:
            return Retired("endpoint", name)
        failure = self._failures.get(name)
        if failure is None:
            return NotFound("endpoint", name, known=self._live)
        return Unavailable(f"endpoint {name!r} has nothing to answer with: {failure.words}", hint="noria doctor")

    def look(self) -> None:
        """Compare the routes with the database's, and load what changed. Raises what keeps the database from answering."""
        self._notice()
        self._wait()

    def _notice(self) -> None:
        """Begin to load what changed, each endpoint in a thread of its own: none waits for another's slow version."""
        epochs = self._platform.endpoints.epochs(self._context)
        self._reached_at = self._stopwatch.wall()
        self._retired = frozenset(name for name, epoch in epochs.items() if epoch is None)
        for name in {*list(self._live), *list(self._failures)}:
            if epochs.get(name) is None and not self._is_loading(name):
                self._let_go(name)
        for name, epoch in epochs.items():
            if epoch is None:
                continue
            live, failure = self._live.get(name), self._failures.get(name)
            if live is not None and live.route.epoch == epoch:
                self._failures.pop(name, None)
            elif failure is None or failure.epoch != epoch or failure.try_at <= self._stopwatch.wall():
                self._begin(name, epoch)

    def _let_go(self, name: str) -> None:
        """Answer no more for an endpoint that was retired or removed."""
        self._failures.pop(name, None)
        if name in self._live:
            self._swap(name, None)
            _log.info("endpoint %s answers no more: it was retired or removed", name)

    def _begin(self, name: str, epoch: int) -> None:
        if not self._is_loading(name):
            thread = threading.Thread(target=self._refresh, args=(name, epoch), name=f"noria-loading-{name}")
            thread.start()
            self._refreshing[name] = thread

    def _is_loading(self, name: str) -> bool:
        before = self._refreshing.get(name)
        return before is not None and before.is_alive()

    def _wait(self) -> None:
        for thread in list(self._refreshing.values()):
            thread.join()

    def _follow(self) -> None:
        while not self._ending.wait(self._every):
            try:
                self._notice()
            except NoriaError as problem:
                _log.warning("the database was not reached for %.1f s: %s", self.age(), problem.sentence)
            except BaseException:  # noqa: BLE001 - the thread goes on whatever happened
                _log.exception("the routes could not be looked at")

    def _refresh(self, name: str, epoch: int) -> None:
        """Load an endpoint's newest route and swap it in; if that fails, the old one answers on."""
        try:
            self._swap(name, self._loaded(name))
        except NoriaError as problem:
            self._failed(name, epoch, f"{problem.sentence} ({problem.hint})" if problem.hint else problem.sentence)
        except Exception as problem:  # noqa: BLE001 - the old route answers on, whatever keeps the new one from loading
            _log.exception("endpoint %s", name)
            self._failed(name, epoch, f"{type(problem).__name__}: {problem}")
        else:
            self._failures.pop(name, None)

    def _failed(self, name: str, epoch: int, words: str) -> None:
        try_at = self._stopwatch.wall() + _RETRY_SECONDS
        self._failures[name] = _Failure(epoch=epoch, words=f"epoch {epoch}: {words}", try_at=try_at)
        _log.error("endpoint %s keeps its old route: epoch %d: %s", name, epoch, words)

    def _loaded(self, name: str) -> Live:
        """Return the endpoint under its newest route; versions that are live already are taken over."""
        rooms = self._platform
        endpoint, route = rooms.endpoints.get(self._context, name), rooms.endpoints.route(self._context, name)
        dataset = rooms.datasets.dataset(self._context, endpoint.dataset)
        live = self._live.get(name)
        before = dict[int, Loaded]() if live is None else live.versions
        versions: dict[int, Loaded] = {}
        try:
            for number in route.versions:
                versions[number] = before.get(number) or self._opened(endpoint, dataset, number)
        except Exception:
            _close(loaded for number, loaded in versions.items() if number not in before)
            raise
        door = Door(dataset, rooms.datasets.kinds(self._context, dataset.name))
        return Live(endpoint=endpoint, dataset=dataset, door=door, route=route, versions=versions)

    def _opened(self, endpoint: Endpoint, dataset: Dataset, number: int) -> Loaded:
        rooms = self._platform
        version = rooms.registry.version(self._context, endpoint.model, number)
        servable = rooms.endpoints.servable(self._context, endpoint.model, number)
        inputs = rooms.endpoints.inputs(self._context, endpoint, number)
        others = (*rooms.datasets.columns(self._context, dataset.name), dataset.key, dataset.time, dataset.label or "")
        try:
            opened = rooms.runtime.open(version, servable, inputs=inputs)
        except Exception as problem:
            words = problem.sentence if isinstance(problem, NoriaError) else f"{type(problem).__name__}: {problem}"
            self._tell(endpoint.model, number, None, words)
            raise
        _log.info("%s is loaded for endpoint %s: %s", version, endpoint.name, opened.words)
        self._tell(endpoint.model, number, opened.kind, opened.words)
        kinds = rooms.datasets.kinds(self._context, dataset.name)
        return Loaded(version=number, scorer=opened.scorer, reader=Reader(inputs, others=others, checked=kinds))

    def _tell(self, model: str, version: int, kind: ServableKind | None, words: str) -> None:
        """Record how a version was loaded, for those who do not see this process; the same is told once."""
        told = (kind, words)
        if self._told.get((model, version)) == told:
            return
        loading = Loading(model=model, version=version, kind=kind, words=words, at=self._platform.clock.now())
        try:
            self._platform.endpoints.loaded(self._context, loading)
        except NoriaError as problem:
            _log.warning("how %s@%d was loaded is not recorded: %s", model, version, problem.sentence)
        else:
            self._told[model, version] = told

    def _swap(self, name: str, after: Live | None) -> None:
        with self._lock:
            before = self._live.pop(name, None)
            if after is not None:
                self._live[name] = after
                for loaded in after.versions.values():
                    loaded.holders += 1
            if before is not None:
                before.is_replaced = True
            freed = [] if before is None else self._freed(before)
        _close(freed)

    @staticmethod
    def _freed(live: Live) -> list[Loaded]:
        """Return the versions that nobody holds once a replaced route has answered its last request."""
        if not live.is_replaced or live.requests:
            return []
        live.is_replaced = False  # let go once
        for loaded in live.versions.values():
            loaded.holders -= 1
        return [loaded for loaded in live.versions.values() if not loaded.holders]


def _close(freed: Iterable[Loaded]) -> None:
    """Close versions in a thread of their own: a model process may still be answering a shadow's rows."""
    for loaded in freed:
        try:
            threading.Thread(target=loaded.scorer.close, name="noria-closing").start()
        except RuntimeError:  # the machine has no thread left: what answers now must go on doing so
            _log.exception("version %d could not be closed", loaded.version)
