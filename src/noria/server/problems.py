"""Errors as `application/problem+json` (RFC 9457): the sentence, and the way out."""

from http import HTTPStatus

import msgspec

from noria.core.errors import NoriaError

MEDIA_TYPE = "application/problem+json"
_HOME = "https://noria.dev/errors/"
_MOST_LETTERS = 2_000
_encode = msgspec.json.Encoder().encode


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong with a request; `code` is one of `docs/errors.md`, `type` its stable address."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


def problem_of(error: NoriaError, *, status: int | None = None) -> Problem:
    """Return the problem that an error is, under its own HTTP status unless another one says more."""
    return problem(code=error.code, status=status or error.status, detail=error.sentence, hint=error.hint)


def problem(*, code: str, status: int, detail: str, hint: str = "") -> Problem:
    """Return a problem that is no error of a room, such as a body that is too large."""
    title = HTTPStatus(status).phrase
    detail = detail if len(detail) <= _MOST_LETTERS else f"{detail[:_MOST_LETTERS]}..."
    detail = detail.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text
    return Problem(type=_HOME + code, title=title, status=status, detail=detail, code=code, hint=hint)


def body_of(found: Problem) -> bytes:
    """Return the problem as JSON."""
    return _encode(found)
