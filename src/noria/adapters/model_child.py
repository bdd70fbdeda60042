"""A model process: one version with its own modules; `python -m noria.adapters.model_child DESCRIPTOR`.

It is told what to load by its first message and answers rows with scores until the other end is gone. It has no way
to the database, and its home is what the gateway gave it.
"""

import socket
import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from noria.adapters import messages
from noria.adapters.codecs import standard
from noria.core.errors import NoriaError
from noria.registry.model import Model
from noria.serving import asking


def main() -> None:
    """Serve until the gateway is gone."""
    link = socket.socket(fileno=int(sys.argv[1]))
    order = messages.receive(link)
    try:
        model = _load(order)
    except Exception as problem:  # noqa: BLE001 - users' modules may raise anything when they are imported
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
    if order["bundle"] is not None:
        sys.path.insert(0, order["bundle"])
    return cast("Model", standard().decode(order["codec"], order["payload"]))


def _answer(model: Model, rows: Sequence[dict[str, Any]], inputs: dict[str, str]) -> dict[str, Any]:
    try:
        scores = np.asarray(model.predict(asking.frame_of(rows, inputs)), dtype=np.float64)
    except Exception as problem:  # noqa: BLE001 - users' code may raise anything
        return {"error": f"{type(problem).__name__}: {problem}"}
    if scores.shape != (len(rows),):
        return {"error": f"scores of shape {scores.shape} for {len(rows)} rows"}
    return {"scores": asking.finite(scores.tolist())}


def _refusal(problem: Exception) -> dict[str, str]:
    if isinstance(problem, NoriaError):
        return {"code": problem.code, "error": problem.sentence, "hint": problem.hint}
    return {"code": "", "error": f"{type(problem).__name__}: {problem}", "hint": ""}


if __name__ == "__main__":
    main()
