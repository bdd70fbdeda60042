"""The gateway as an ASGI app: predict, feedback, health and metrics, and nothing between them and the wire."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from noria.boot import Platform
from noria.core.clock import Stopwatch
from noria.core.errors import NoriaError, NotFound, TimedOut, Unavailable
from noria.server.gateway import bodies
from noria.server.gateway.answers import Answered, Answers
from noria.server.gateway.metrics import Metrics
from noria.server.gateway.table import Live, Table
from noria.server.problems import MEDIA_TYPE, Problem, body_of, problem, problem_of
from noria.serving import rules
from noria.serving.model import Feedback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON, _TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
_PATHS = frozenset({"/feedback", "/healthz", "/metrics"})
_MOST_DIGITS = 18
_log = logging.getLogger("noria.gateway")


class MethodNotAllowed(NoriaError):
    """The route is there, for another method."""

    code = "method-not-allowed"
    status = 405


class Gateway:
    """Answers requests by the table's routes, and logs every answer before it is given."""

    def __init__(self, platform: Platform, table: Table, *, stopwatch: Stopwatch) -> None:
        self._platform = platform
        self._table = table
        self._stopwatch = stopwatch
        self._settings = platform.settings
        self._metrics = Metrics()
        self._answers = Answers(platform, self._metrics, project=table.project, stopwatch=stopwatch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong with it becomes a problem, and the next one is answered."""
        if scope["type"] != "http":
            return None
        path: str = scope["path"]
        try:
            return await self._route(path, scope, receive, send)
        except NoriaError as raised:
            found = problem_of(raised)
        except _GoneError:
            return None
        except Exception:  # noqa: BLE001 - a request that fails is no reason to end
            _log.exception("%s %s failed", scope["method"], path)
            self._metrics.count("noria_failures_total")
            found = problem(
                code="noria", status=500, detail="this was not foreseen", hint="the gateway's log says more"
            )
        self._metrics.count("noria_requests_total", route=_kind(path), status=found.status)
        return await _respond(send, found.status, body_of(found), MEDIA_TYPE.encode(), self._headers(found.status))

    async def _route(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        match path.split("/"):
            case ["", "endpoints", name, "predict"]:
                _must_be(scope, "POST")
                await self._predict(name, scope, receive, send)
            case ["", "feedback"]:
                _must_be(scope, "POST")
                await self._feedback(scope, receive, send)
            case ["", "healthz"]:
                _must_be(scope, "GET")
                self._table.go_on()
                if self._platform.log.trouble is not None:
                    await asyncio.to_thread(self._platform.log.try_again)
                status, found = self.health()
                await _respond(send, status, bodies.plain(found), _JSON)
            case ["", "metrics"]:
                _must_be(scope, "GET")
                log_up = float(self._platform.log.trouble is None)
                told = self._metrics.text(self._table.scorers(), route_age_seconds=self._table.age(), log_up=log_up)
                await _respond(send, 200, told.encode(), _TEXT)
            case _:
                known = ["/endpoints/NAME/predict", "/feedback", "/healthz", "/metrics"]
                raise NotFound("route", path, known=known)

    # --- predictions

    async def _predict(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        begun = self._stopwatch.wall()
        body = await self._body(scope, receive)
        self._must_be_fresh()
        rows, keys, is_single = bodies.asking_of(body)
        with self._table.entered(name) as live:
            requests = (self._platform.ids.new("q")[2:] for _ in rows)
            at = self._platform.clock.now()
            asked = bodies.asked_of(rows, keys, door=live.door, at=at, requests=requests)
            answered = await self._answers.answer(live, rows, asked)
            await _respond(send, 200, _spelled(live, answered, is_single=is_single), _JSON, self._headers(200))
            self._metrics.count("noria_requests_total", route="predict", status=200)
            self._metrics.took(self._stopwatch.wall() - begun)
            self._answers.ask_shadows(live, rows, asked)

    # --- feedback, health

    async def _feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._body(scope, receive)
        endpoints = self._table.endpoints()
        told: dict[str, list[Feedback]] = {}
        for named, one in bodies.telling_of(body, at=self._platform.clock.now()):
            name = rules.named_in(one.prediction) if one.prediction is not None else named or ""
            if name in self._table.retired or (one.prediction is None and name not in endpoints):
                raise self._table.absent(name)
            if one.prediction is not None:
                rules.endpoint_of(one.prediction, endpoints)
            told.setdefault(name, []).append(one)
        for name, pieces in told.items():
            await self._told(name, pieces)
            self._metrics.count("noria_feedback_total", len(pieces), endpoint=name)
        self._metrics.count("noria_requests_total", route="feedback", status=200)
        await _respond(send, 200, bodies.plain({"accepted": sum(map(len, told.values()))}), _JSON)

    async def _told(self, name: str, pieces: Sequence[Feedback]) -> None:
        """Write and sync feedback; a disk that hangs is not waited for for ever."""
        writing = asyncio.to_thread(self._platform.log.told, self._table.project, name, pieces)
        try:
            await asyncio.wait_for(writing, self._settings.answer_seconds)
        except TimeoutError:
            self._metrics.count("noria_log_errors_total", endpoint=name)
            raise TimedOut(
                f"the log did not take the feedback within {self._settings.answer_seconds:g} seconds",
                hint="tell it again: the same feedback twice counts once",
            ) from None

    def refused(self, found: Problem) -> None:
        """Count a request that was refused before it came here."""
        self._metrics.count("noria_requests_total", route="refused", status=found.status)

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the words of how the gateway stands."""
        age, failures = self._table.age(), self._table.failures()
        is_stale = age > self._settings.route_staleness_seconds
        endpoints = {
            route.endpoint: {
                "epoch": route.epoch,
                "variants": [[variant.version, variant.weight] for variant in route.variants],
                "shadows": route.shadows,
            }
            for route in self._table.routes()
        }
        log, troubles = self._platform.log.trouble, self._troubles()
        told = {
            "status": "stale" if is_stale else "degraded" if failures or troubles or log else "ok",
            "route_age_seconds": round(age, 3),
            "endpoints": endpoints,
            "failures": failures,
            "troubles": troubles,
            "log": "ok" if log is None else log,
        }
        refuses_all = (is_stale and self._settings.refuse_when_stale) or (log and not self._settings.answer_unlogged)
        return (503 if refuses_all else 200), told

    def _troubles(self) -> dict[str, str]:
        """Return why versions of an endpoint cannot answer, by its name."""
        return {state.endpoint: state.trouble for state in self._table.scorers() if state.trouble is not None}

    def _must_be_fresh(self) -> None:
        if self._settings.refuse_when_stale and self._table.age() > self._settings.route_staleness_seconds:
            raise StaleRoute(
                f"the routes were last heard of {self._table.age():.0f} s ago",
                hint="this gateway does not reach the database; ask another one",
            )

    def _headers(self, status: int) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = []
        if self._table.age() > self._settings.route_staleness_seconds:
            headers.append((b"noria-route-age", str(int(self._table.age())).encode()))
        if status == bodies.TooLarge.status:  # the rest of the body is not read
            headers.append((b"connection", b"close"))
        return headers

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the whole body; one that is too large is refused by its announced length, or as soon as it is."""
        most = self._settings.most_body_bytes
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and (len(value) > _MOST_DIGITS or int(value) > most):
                raise _too_large(most)
        whole = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            whole += message.get("body", b"")
            if len(whole) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return bytes(whole)


class StaleRoute(Unavailable):
    """The gateway has not heard of its routes for too long, and was told to refuse then."""

    code = "stale-route"


class _GoneError(Exception):
    """The client went away before its request was whole."""


def _too_large(most: int) -> bodies.TooLarge:
    return bodies.TooLarge(
        f"the body is larger than {most:,} bytes", hint="send fewer rows at once, or raise most_body_bytes"
    )


def _must_be(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise MethodNotAllowed(f"{scope['path']} does not take {scope['method']}", hint=f"use {method}")


def _kind(path: str) -> str:
    """Return which of the routes a path is, `other` if none: no client chooses what is counted."""
    if path.startswith("/endpoints/") and path.endswith("/predict"):
        return "predict"
    return path[1:] if path in _PATHS else "other"


def _spelled(live: Live, answered: Answered, *, is_single: bool) -> bytes:
    told = [
        {"prediction": answer.prediction, "version": answer.version, "score": answer.score}
        for answer in answered.answers
    ]
    more: dict[str, Any] = (
        {"epoch": live.route.epoch} if answered.is_logged else {"epoch": live.route.epoch, "logged": False}
    )
    return bodies.plain(told[0] | more if is_single else more | {"answers": told})


async def _respond(
    send: Send, status: int, body: bytes, media_type: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    length = (b"content-length", str(len(body)).encode())
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", media_type), length, *headers],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
