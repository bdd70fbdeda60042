"""Stands before the app: turns away what is too large, from another site, or meant for another host, before reading it."""

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noria.server.problems import MEDIA_TYPE, Problem, body_of, problem

MOST_BYTES = 1 << 20
"""How large a request's body may be."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


class _TooLarge(Exception):
    """The body grew past what is read."""


class Guard:
    """An ASGI middleware; `hosts` are the names it answers to, any if None.

    A page of another site cannot make a browser act here (its `Origin` is not ours), nor can a name that was rebound
    to this machine (its `Host` is not ours).
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None = None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem, or let the app answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _answer(send, refused)
            return
        await self._measured(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return _too_large()
        host = headers.get("host", "")
        if self._hosts is not None and _without_port(host) not in self._hosts:
            hint = "open it as http://127.0.0.1 or http://localhost, or let it listen elsewhere: noria server --host"
            return problem(code="misdirected", status=421, detail=f"this server is not {host[:100]!r}", hint=hint)
        origin = headers.get("origin")
        if scope["method"] not in _CHANGES_NOTHING and origin is not None and origin.partition("://")[2] != host:
            return problem(code="cross-site", status=403, detail="another site's page may not act here")
        if "\0" in scope["path"]:
            return problem(code="not-found", status=404, detail="no name has a NUL in it")
        return None

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app read the body, but not past the limit; a body without a stated length is counted as it comes."""
        seen, has_begun = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except _TooLarge:
            if not has_begun:
                await _answer(send, _too_large())


def _too_large() -> Problem:
    hint = f"send at most {MOST_BYTES:,} bytes; rows go in with noria data push"
    return problem(code="too-large", status=413, detail="the body is too large", hint=hint)


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdecimal() else host


async def _answer(send: Send, found: Problem) -> None:
    body = body_of(found)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what was not read is not read
    ]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
