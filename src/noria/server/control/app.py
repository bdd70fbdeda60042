"""Makes the control app of a platform: routes, pages, and errors as problems."""

import logging
from collections.abc import Collection, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from noria.boot import Platform
from noria.core.errors import NoriaError
from noria.server.control.events import events
from noria.server.control.pages import pages
from noria.server.control.routes import data, ledger, loops, models, removals, rollouts, runs
from noria.server.control.routes.asking import ERRORS
from noria.server.guard import Guard
from noria.server.problems import MEDIA_TYPE, Problem, body_of, problem, problem_of
from noria.version import __version__

_log = logging.getLogger("noria.control")
_NOUNS = (loops, models, rollouts, data, runs, removals, ledger)
_CODES = {404: "not-found", 405: "method-not-allowed"}
_SOME_PROBLEMS = 3
_TAKES = "/openapi.json says what this route takes"
_NO_JSON = problem(code="not-json", status=400, detail="the body is no JSON", hint=_TAKES)


def make_app(platform: Platform, *, hosts: Collection[str] = ()) -> FastAPI:
    """Return the control app; it answers to `hosts`, and to the names of loopback."""
    app = FastAPI(
        title="Noria",
        summary="Continuous training: loops, cycles, models, datasets, facts.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
    )
    app.state.platform = platform
    for router in (ledger.health, *(noun.router for noun in _NOUNS), events):
        app.include_router(router, responses={**ERRORS})
    app.include_router(pages)
    app.add_exception_handler(NoriaError, _raised)
    app.add_exception_handler(RequestValidationError, _unread)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_middleware(Guard, hosts=hosts)
    return app


def _raised(_request: Request, raised: Exception) -> Response:
    assert isinstance(raised, NoriaError)
    return _answer(problem_of(raised))


def _unread(_request: Request, raised: Exception) -> Response:
    """Say what of a request could not be read, and where."""
    assert isinstance(raised, RequestValidationError)
    if any(entry["type"] == "json_invalid" for entry in raised.errors()):
        return _answer(_NO_JSON)
    found = [f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in raised.errors()[:_SOME_PROBLEMS]]
    detail = "; ".join(found).encode("utf-8", "replace").decode()
    return _answer(problem(code="invalid", status=422, detail=detail, hint=_TAKES))


def _refused(request: Request, raised: Exception) -> Response:
    assert isinstance(raised, HTTPException)
    if raised.status_code == HTTPStatus.BAD_REQUEST:  # a body that no parser could read
        return _answer(_NO_JSON)
    code = _CODES.get(raised.status_code, "invalid")
    detail = f"{request.method} {request.url.path}: {raised.detail}"
    hint = "/openapi.json lists every route"
    return _answer(problem(code=code, status=raised.status_code, detail=detail, hint=hint), raised.headers)


def _unforeseen(request: Request, raised: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=raised)
    return _answer(problem(code="noria", status=500, detail="this was not foreseen", hint="the server's log says more"))


def _answer(found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body_of(found), status_code=found.status, media_type=MEDIA_TYPE, headers=headers)
