"""Listens on a port and serves an app there until told to end; a port that is taken is said before anything starts."""

import errno
import logging
import signal
import socket
from typing import Any

import uvicorn

from noria.core.addresses import must_be_private
from noria.core.errors import Unavailable
from noria.server.connections import Limits, limited

__all__ = ["INSECURE", "Limits", "address", "listen", "serve"]

INSECURE = "Let it listen beyond this machine although there are no accounts: whoever reaches it may do everything."
_BACKLOG = 2048
_DRAIN_SECONDS = 5


def listen(host: str, port: int, *, option: str, insecure: bool = False) -> socket.socket:
    """Return a socket that listens there (port 0: on a free one).

    Raises:
        Unavailable: another process has the port, or this machine has no such address.
        Invalid: other machines could reach it, and nobody said `insecure`.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as problem:
        listening.close()
        taken = problem.errno == errno.EADDRINUSE
        words = f"port {port} of {host} is in use" if taken else f"cannot listen on {host}:{port}: {problem.strerror}"
        raise Unavailable(words, hint=f"end what listens there, or choose another: {option} PORT") from problem
    if not insecure:
        must_be_private(listening)
    listening.listen(_BACKLOG)
    return listening


def serve(app: Any, listening: socket.socket, *, limits: Limits | None = None) -> None:  # noqa: ANN401 - any ASGI app
    """Serve until SIGTERM or Ctrl-C; requests that were begun are answered first."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn drains and then raises the signal again: that is enough
        signal.signal(number, lambda _number, _frame: None)
    config = uvicorn.Config(
        app,
        http=limited(limits or Limits()),
        ws="none",
        proxy_headers=False,  # who is asked for in X-Forwarded-For is nobody we know
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        lifespan="off",
    )
    uvicorn.Server(config).run(sockets=[listening])


def address(listening: socket.socket) -> str:
    """Return where it listens, as a browser would have it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
