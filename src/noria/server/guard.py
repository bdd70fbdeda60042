"""Stands before an app: refuses what is too large, from another site, or meant for another host, before reading it."""

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noria.core.errors import Invalid
from noria.server.problems import MEDIA_TYPE, Problem, body_of, problem

MOST_BYTES = 1 << 20
"""How large the body of a control request may be."""
_MOST_DIGITS = 18
_IS_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*").fullmatch
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN = frozenset({b"cross-site", b"same-site"})
_READ = frozenset({b"host", b"origin", b"sec-fetch-site", b"content-length"})


class Hosts:
    """The names that a server answers to: those of loopback, the address that a request came in on, and given ones.

    A given name is exact (`noria.example.com`), or stands for all names below it (`*.svc.cluster.local`).
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        for name in names:
            bare = _bare(name.removeprefix("*."))
            if _address(bare) is None and not _IS_NAME(bare):
                hint = "name hosts one by one, without scheme and port, or all below a domain: *.svc.cluster.local"
                raise Invalid(f"the setting hosts has {name!r}, which is no host's name", hint=hint)
        self._exact = frozenset({"localhost", *(_bare(name) for name in names if not name.startswith("*."))})
        self._below = tuple(_bare(name[1:]) for name in names if name.startswith("*."))
        self.has = lru_cache(maxsize=1024)(self._has)

    def _has(self, host: bytes, local: str) -> bool:
        """Say whether a `Host` header names this server, which was reached at the address `local`."""
        name = _name_of(host.decode("latin-1"))
        if name is None:
            return False
        if name in self._exact or name.endswith(self._below or "\0"):
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or address == _address(local))


def names_in(setting: str) -> list[str]:
    """Return the names of the setting `hosts`, which are separated by commas."""
    return [name.strip() for name in setting.split(",") if name.strip()]


class _TooLarge(Exception):
    """The body grew past what is read."""


class Guard:
    """An ASGI middleware that answers only to `hosts`, and lets no page of another site act.

    A page of another site cannot make a browser act here (its `Origin` is not ours), nor can a name that was rebound
    to this machine (its `Host` is not ours). A program sends no `Origin`. `most_bytes` limits the body, None leaves
    that to the app; `refused` hears of what was refused here.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] = (), most_bytes: int | None = MOST_BYTES,
        refused: Callable[[Problem], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._app = app
        self._hosts = Hosts(hosts)
        self._most_bytes = most_bytes
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a problem, or let the app answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            self._refused(refused)
            await refuse(send, refused)
        elif self._most_bytes is None:
            await self._app(scope, receive, send)
        else:
            await self._measured(scope, receive, send, self._most_bytes)

    def _refusal(self, scope: Scope) -> Problem | None:
        read = [(name, value) for name, value in scope["headers"] if name in _READ]
        hosts = [value for name, value in read if name == b"host"]
        server = scope.get("server")
        if len(hosts) != 1 or not self._hosts.has(hosts[0], "" if server is None else str(server[0])):
            return _misdirected(hosts)
        if scope["method"] not in _CHANGES_NOTHING and _is_foreign(read, hosts[0]):
            hint = "a program sends no Origin; a page acts only on the server that it came from"
            return problem(code="cross-site", status=403, detail="another site's page may not act here", hint=hint)
        if "\0" in scope["path"]:
            return problem(code="not-found", status=404, detail="no name has a NUL in it")
        most = self._most_bytes
        lengths = [value for name, value in read if name == b"content-length"]
        if most is not None and any(not _is_at_most(length, most) for length in lengths):
            return _too_large(most)
        return None

    async def _measured(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        """Let the app read the body, but not past the limit; a body without a stated length is counted as it comes."""
        seen, has_begun = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
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
                await refuse(send, _too_large(most))


def _is_foreign(read: list[tuple[bytes, bytes]], host: bytes) -> bool:
    """Say whether a browser says that a page of another site sends this."""
    authority = host.lower()
    return any(
        (name == b"origin" and value.partition(b"://")[2].lower() != authority)
        or (name == b"sec-fetch-site" and value in _FOREIGN)
        for name, value in read
    )


def _is_at_most(length: bytes, most: int) -> bool:
    return length.isdigit() and len(length) <= _MOST_DIGITS and int(length) <= most


def _misdirected(hosts: list[bytes]) -> Problem:
    named = " and ".join(repr(host[:100].decode("latin-1")) for host in hosts[:2]) or "a request without a Host"
    hint = "open it as http://127.0.0.1 or http://localhost, or add the name to the setting hosts"
    return problem(code="misdirected", status=421, detail=f"this server is not {named}", hint=hint)


def _too_large(most: int) -> Problem:
    hint = f"send at most {most:,} bytes; rows go in with noria data push"
    return problem(code="too-large", status=413, detail="the body is too large", hint=hint)


def _bare(name: str) -> str:
    return name.lower().removesuffix(".").removeprefix("[").removesuffix("]")


def _name_of(host: str) -> str | None:
    """Return the host of `host[:port]` in lower case, an IPv6 address without its brackets; None if it is no host."""
    if host.startswith("["):
        name, closed, rest = host[1:].partition("]")
        is_whole = bool(closed) and (not rest or (rest[0] == ":" and (rest[1:].isdecimal() or not rest[1:])))
        return name if is_whole and _address(name) is not None else None
    name, separator, port = host.partition(":")
    return _bare(name) or None if not separator or port.isdecimal() or not port else None


@lru_cache(maxsize=256)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


async def refuse(send: Send, found: Problem) -> None:
    """Answer with a problem, and read nothing more of this connection."""
    body = body_of(found)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what was not read is not read
    ]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
