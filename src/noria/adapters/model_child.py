"""Model processes and what they are forked from; `python -m noria.adapters.model_child DESCRIPTOR MODULE...`.

The fork server imports the modules once, and forks a process for each socket that it is sent: in milliseconds, and in
memory that they share. It has one thread, so that a fork of it is safe, and ends when the gateway is gone.

A model process is told what to load by its first message and answers rows with scores until the other end is gone. It
has no way to the database, and its home is what the gateway gave it.
"""

import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from noria.adapters import messages
from noria.adapters.codecs import standard
from noria.core.errors import NoriaError
from noria.registry.model import Model
from noria.serving import asking, golden

_MOST_LETTERS = 2_000


def main() -> None:
    """Load what was named, then fork until the gateway is gone."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        _preload(module)
    gc.collect()
    gc.freeze()  # what is never collected stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here: the system lets go of the dead
    while links := socket.recv_fds(asked, 1, 1)[1]:
        if os.fork() == 0:
            asked.close()
            _live(socket.socket(fileno=links[0]))
        os.close(links[0])


def _preload(module: str) -> None:
    """Import what most versions need; nobody has to have it, and what it raises is for a version that needs it."""
    try:
        importlib.import_module(module)
    except ImportError:
        pass
    except Exception:  # noqa: BLE001 - a broken library keeps no other version from being served
        traceback.print_exc()


def _live(link: socket.socket) -> None:
    """Be a model process to the end; what the fork server had on its stack is not for this process."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        np.random.seed()  # noqa: NPY002 - what users' code draws from differs between processes
        serve(link)
    except BaseException:  # noqa: BLE001 - it goes nowhere but to standard error
        traceback.print_exc()
    finally:
        os._exit(0)


def serve(link: socket.socket) -> None:
    """Load a version, and answer until the other end is gone."""
    messages.send(link, {"process": os.getpid()})
    order = messages.receive(link)
    try:
        model = _load(order)
    except BaseException as problem:  # noqa: BLE001 - users' modules may raise anything when they are imported
        messages.send(link, _refusal(problem))
        return
    messages.send(link, {})
    while True:
        try:
            rows = messages.receive(link)
        except (EOFError, OSError):
            return
        messages.send(link, _answer(model, rows, order["inputs"]))


def _load(order: dict[str, Any]) -> Model:
    """Return the model, held against its golden rows in the very process that is going to answer."""
    if order["bundle"] is not None:
        sys.path.insert(0, order["bundle"])
    model = cast("Model", standard().decode(order["codec"], order["payload"]))
    if order.get("golden") is not None:
        rows = golden.decoded(order["golden"])
        golden.check(rows, golden.asking_model(model, order["inputs"]), within=golden.EXACT, who=str(order["version"]))
    return model


def _answer(model: Model, rows: Sequence[dict[str, Any]], inputs: dict[str, str]) -> dict[str, Any]:
    try:
        groups = asking.alike(rows, inputs)
        if len(groups) == 1:
            return {"scores": asking.finite(_scores(model, rows, inputs).tolist())}
        scores = np.empty(len(rows), dtype=np.float64)
        for places in groups:
            scores[places] = _scores(model, [rows[place] for place in places], inputs)
    except BaseException as problem:  # noqa: BLE001 - users' code may raise anything, and even ask to end the process
        return {"error": _spelled(problem)}
    return {"scores": asking.finite(scores.tolist())}


def _scores(model: Model, rows: Sequence[dict[str, Any]], inputs: dict[str, str]) -> "np.ndarray":
    scores = np.asarray(model.predict(asking.frame_of(rows, inputs)), dtype=np.float64)
    if scores.shape != (len(rows),):
        raise ValueError(f"scores of shape {scores.shape} for {len(rows)} rows")
    return scores


def _refusal(problem: BaseException) -> dict[str, str]:
    if isinstance(problem, NoriaError):
        return {"code": problem.code, "error": problem.sentence, "hint": problem.hint}
    return {"code": "", "error": _spelled(problem), "hint": ""}


def _spelled(problem: BaseException) -> str:
    """Return what was raised as text that can be sent, whatever its own words do."""
    try:
        words = str(problem)
    except Exception:  # noqa: BLE001 - its __str__ is users' code as well
        words = "it does not say what"
    return f"{type(problem).__name__}: {words[:_MOST_LETTERS]}".encode("utf-8", "backslashreplace").decode()


if __name__ == "__main__":
    main()
