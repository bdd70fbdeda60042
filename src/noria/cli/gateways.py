"""Asks the gateways of this machine how they stand, and the disk of the log whether it takes anything."""

import errno
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from noria.boot import Platform
from noria.serving.log import probe
from noria.serving.presence import present

_PATIENCE_SECONDS = 5.0
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM})
"""What may be forbidden to whoever asks, and allowed to gateways."""
_ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # a gateway of this machine has no proxy


def gateway_troubles(platform: Platform) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the gateways of this machine and with the log: about what, in words, what to do."""
    folder = platform.log.folder
    if not folder.exists():
        return
    try:
        probe(folder, platform.log.disk)
    except OSError as problem:
        if problem.errno not in _NOT_OURS:
            yield "the log", f"nothing can be written into {folder}: {problem.strerror}", "make room on its disk"
    for address in present(folder):
        about = f"gateway {address}"
        told = _health(address)
        if told is None:
            yield about, f"it did not answer within {_PATIENCE_SECONDS:.0f} s", "look at its output; start it again"
            continue
        yield from ((about, words, do) for words, do in _words(told))


def _words(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for endpoint, why in told.get("troubles", {}).items():
        yield f"endpoint {endpoint} cannot answer: {why}", "look at the gateway's output; it goes on trying"
    for endpoint, why in told.get("failures", {}).items():
        yield f"endpoint {endpoint} keeps its old route: {why}", f"noria models, then noria rollback for {endpoint}"
    if told.get("log", "ok") != "ok":
        yield f"predictions and feedback are refused: {told['log']}", "make room on the log's disk"
    if told.get("status") == "stale":
        yield f"it has not reached the database for {told['route_age_seconds']:.0f} s", "see whether the database runs"


def _health(address: str) -> dict[str, Any] | None:
    """Return what a gateway says of itself; None when it says nothing."""
    here = address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    try:
        with _ask(f"{here}/healthz", timeout=_PATIENCE_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            try:
                return json.load(refused)
            except ValueError:
                return None
    except (OSError, ValueError):
        return None
