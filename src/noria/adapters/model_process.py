"""Versions in processes of their own: whatever their code does, it does there, and a death costs no request."""

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.adapters import messages
from noria.core.errors import Invalid, ModelFailed, NotFound, Unavailable
from noria.registry.model import ModelVersion
from noria.serving.running import Row, Scores

_MOST_ROWS = 256
_PATIENCE_SECONDS = 30.0
_LOADING_SECONDS = 120.0
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
"""More compute threads than cores make the slowest answers a hundred times slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a model process loads: the artifact's bytes, the folder of its bundle, and the columns that it reads."""

    version: str
    codec: str
    payload: bytes
    bundle: str | None
    inputs: Mapping[str, str]

    def message(self) -> dict[str, Any]:
        """Return the first message that the process gets."""
        return {"codec": self.codec, "payload": self.payload, "bundle": self.bundle, "inputs": dict(self.inputs)}


@dataclass(frozen=True, slots=True)
class _Waiting:
    rows: Sequence[Row]
    answer: "Future[Scores]"


class ProcessScorer:
    """One version in a process of its own. What waits while it works is scored together next.

    A process that dies or hangs is replaced, and what it had in hand is asked again, each request by itself: only one
    that is in a process when it dies twice fails.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._child: _Child | None = _Child(order)
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"noria-{order.version}", daemon=True)
        self._thread.start()

    @property
    def process(self) -> int | None:
        """Return the id of the process as it is now, None between two."""
        return None if self._child is None else self._child.id

    def submit(self, rows: Sequence[Row]) -> "Future[Scores]":
        """Queue rows; see the port."""
        answer: Future[Scores] = Future()
        with self._closing:
            if self._closed:
                raise Unavailable(f"{self._order.version} is no longer served here", hint="ask again")
            self._waiting.put(_Waiting(rows, answer))
        return answer

    def close(self) -> None:
        """Answer what was submitted, and end the process."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, is_last = self._gather(first)
            live = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
            if live:
                self._answer(live)
            if is_last:
                break
        if self._child is not None:
            self._child.end()

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return what waits, up to a number of rows, and whether nothing will come after it."""
        batch, count = [first], len(first.rows)
        while count < _MOST_ROWS:
            try:
                other = self._waiting.get_nowait()
            except queue.Empty:
                break
            if other is None:
                return batch, True
            batch.append(other)
            count += len(other.rows)
        return batch, False

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Score a batch; if it fails as a whole, each of its requests by itself."""
        try:
            scores = self._ask([row for waiting in batch for row in waiting.rows])
        except (_DiedError, ModelFailed, Unavailable) as problem:
            if len(batch) == 1 and not isinstance(problem, _DiedError):
                batch[0].answer.set_exception(problem)
                return
            for waiting in batch:
                self._answer_alone(waiting)
            return
        begin = 0
        for waiting in batch:
            waiting.answer.set_result(scores[begin : begin + len(waiting.rows)])
            begin += len(waiting.rows)

    def _answer_alone(self, waiting: _Waiting) -> None:
        try:
            waiting.answer.set_result(self._ask(waiting.rows))
        except _DiedError:
            problem = Unavailable(
                f"the process of {self._order.version} died twice with these rows",
                hint="look at what it wrote to standard error; other rows are answered",
            )
            waiting.answer.set_exception(problem)
        except (ModelFailed, Unavailable) as problem:
            waiting.answer.set_exception(problem)

    def _ask(self, rows: Sequence[Row]) -> Scores:
        child = self._child or self._replaced()
        try:
            reply = child.ask(rows)
        except (EOFError, OSError) as problem:  # it died, or hung for too long
            child.end()
            self._child = None
            raise _DiedError from problem
        if "error" in reply:
            raise ModelFailed(self._order.version, reply["error"])
        return reply["scores"]

    def _replaced(self) -> "_Child":
        try:
            self._child = _Child(self._order)
        except (Invalid, NotFound) as problem:
            raise Unavailable(
                f"the process of {self._order.version} could not be started again: {problem.sentence}",
                hint=problem.hint,
            ) from problem
        return self._child


def open_process(
    version: ModelVersion, payload: bytes, bundle: Path | None, inputs: Mapping[str, str]
) -> ProcessScorer:
    """Start a version's process and wait until it is ready; see `ProcessOpener`."""
    order = Order(
        version=str(version),
        codec=version.artifact.codec,
        payload=payload,
        bundle=None if bundle is None else str(bundle),
        inputs=inputs,
    )
    return ProcessScorer(order)


class _DiedError(Exception):
    """The process died with rows in its hands."""


class _Child:
    """One process, ready when it is made."""

    def __init__(self, order: Order) -> None:
        self._link, theirs = socket.socketpair()
        self._link.settimeout(_LOADING_SECONDS)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, with a module of ours
                [sys.executable, "-m", "noria.adapters.model_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the gateway, which lets it finish
                env={**os.environ, **_ONE_THREAD},  # noqa: TID251 - handed on as it is, not read
            )
        self.id = self._process.pid
        try:
            messages.send(self._link, order.message())
            reply = messages.receive(self._link)
        except (EOFError, OSError) as problem:
            self.end()
            raise Invalid(
                f"the process of {order.version} died while it loaded", hint="look at what it wrote to standard error"
            ) from problem
        if "error" in reply:
            self.end()
            raise _refused(order, reply)
        self._link.settimeout(_PATIENCE_SECONDS)

    def ask(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the process's answer; raises `EOFError` or `OSError` when it died or took too long."""
        messages.send(self._link, rows)
        return messages.receive(self._link)

    def end(self) -> None:
        """End the process and wait for it; calling it twice is fine."""
        self._link.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)


def _refused(order: Order, reply: Mapping[str, str]) -> Invalid | NotFound:
    if order.bundle is None and reply["code"] == NotFound.code:
        return NotFound(
            "bundle",
            order.version,
            hint=f"{reply['error']}: a version that a loop registers keeps the modules that its preprocess needs",
        )
    return Invalid(f"{order.version} cannot be loaded: {reply['error']}", hint=reply["hint"])
