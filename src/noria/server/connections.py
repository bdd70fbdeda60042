"""Connections of a server within limits: how many, how large their headers, how long a request may take to come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from noria.server.guard import refuse
from noria.server.problems import MEDIA_TYPE, Problem, body_of, problem
from noria.settings import Settings

_MOST_HEADERS = 200
_SLOW = problem(
    code="too-slow",
    status=408,
    detail="the request did not come in time",
    hint="send it at once, or raise read_seconds",
)
_BUSY = problem(
    code="busy", status=503, detail="too many connections at once", hint="try again, or raise most_connections"
)
_LONG = problem(
    code="headers-too-large", status=431, detail="the headers are too large", hint="send less in headers and path"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server allows its clients; see the settings of the same names."""

    most_connections: int = 500
    read_seconds: float = 30.0
    most_header_bytes: int = 32 * 2**10

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits that the settings name."""
        return cls(
            most_connections=settings.most_connections,
            read_seconds=settings.read_seconds,
            most_header_bytes=settings.most_header_bytes,
        )


def limited(limits: Limits) -> type[asyncio.Protocol]:
    """Return the protocol of a server's connections under these limits."""
    return type("LimitedConnection", (_Connection,), {"limits": limits})


async def _refuse_headers(_scope: Any, _receive: Any, send: Callable[..., Any]) -> None:  # noqa: ANN401 - an ASGI app
    await refuse(send, _LONG)


class _Connection(HttpToolsProtocol):
    """A connection that is closed when a request does not come, or its answer is not taken, within `read_seconds`.

    A single timer looks at the moment since when something is waited for: a request that comes in time pays for
    noting that moment and for nothing else.
    """

    limits = Limits()
    _since: float | None = None
    _head_bytes = 0
    _has_head = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's own
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.most_connections:
            self._close_with(_BUSY)
            return
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.limits.read_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is no whole request yet is waited for, but not for ever, and does not grow without end."""
        if self.transport.is_closing():
            return
        cycle = self._begun()
        if self._since is None and (cycle is None or not cycle.more_body):
            self._since = self.loop.time()
        super().data_received(data)
        if self._has_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.most_header_bytes + len(data):
            self._close_with(_LONG)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_bytes, self._has_head = 0, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer a request, unless its headers are too large; its body must come in time as well."""
        self._has_head = True
        self._since = self.loop.time()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if not self.url.startswith(b"/"):
            self._take_authority()
        if size <= self.limits.most_header_bytes and len(self.headers) <= _MOST_HEADERS:
            super().on_headers_complete()
            return
        app: Any = self.app  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - uvicorn's own
        self.app = _refuse_headers
        try:
            super().on_headers_complete()
        finally:
            self.app = app  # pyright: ignore[reportUnknownMemberType] - see above

    def on_message_complete(self) -> None:
        """Wait for nothing: the request is here."""
        self._since = None
        super().on_message_complete()

    def _begun(self) -> RequestResponseCycle | None:
        """Return the request that came last; uvicorn's types do not know that there may be none."""
        return self.cycle

    def _take_authority(self) -> None:
        """Let the host of `GET http://host/path` stand for the header `Host`, as RFC 9112 has it (3.2.2)."""
        target = cast("Any", httptools.parse_url(self.url))  # its stubs know of no part that lacks
        if target.host is not None:
            port = b"" if target.port is None else b":%d" % target.port
            kept = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers[:] = [*kept, (b"host", target.host + port)]

    def _look(self) -> None:
        """Close what was waited for too long, or look again when that could be."""
        now, patience = self.loop.time(), self.limits.read_seconds
        if self._since is None and self.transport.get_write_buffer_size():
            self._since = now  # an answer that nobody takes
        waited = 0.0 if self._since is None else now - self._since
        if waited >= patience:
            self._close_with(_SLOW)
            return
        self._timer = self.loop.call_later(max(patience - waited, 0.01), self._look)

    def _close_with(self, found: Problem) -> None:
        """Say why unless an answer has begun, and close."""
        cycle = self._begun()
        is_answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if is_answering or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        body = body_of(found)
        lines = [f"HTTP/1.1 {found.status} {found.title}", f"content-type: {MEDIA_TYPE}"]
        lines += [f"content-length: {len(body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1") + body)
        self.transport.close()
