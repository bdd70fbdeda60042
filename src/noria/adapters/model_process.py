"""Versions in processes of their own: whatever their code does, it does there, and a death costs no request."""

import contextlib
import os
import queue
import signal
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
from noria.core.errors import CannotServe, Invalid, ModelFailed, NotFound, Unavailable
from noria.registry.model import ModelVersion
from noria.serving.golden import Golden
from noria.serving.running import Row, Scores

_MOST_ROWS = 256
_PATIENCE_SECONDS = 30.0
_LOADING_SECONDS = 120.0
_ENDING_SECONDS = 10.0
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
"""More compute threads than cores make the slowest answers a hundred times slower."""
_NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Arrow's memory allocator starts a thread when it is imported; a fork is safe only of a process that has one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a model process loads: the artifact's bytes, the folder of its bundle, and the columns that it reads.

    Each process that is started holds itself against the golden rows before it is ready.
    """

    version: str
    codec: str
    payload: bytes
    bundle: str | None
    inputs: Mapping[str, str]
    golden: Golden | None = None

    def message(self) -> dict[str, Any]:
        """Return the first message that the process gets."""
        told: dict[str, Any] = {"version": self.version, "codec": self.codec, "payload": self.payload}
        rows = None if self.golden is None else self.golden.encoded()
        return told | {"bundle": self.bundle, "inputs": dict(self.inputs), "golden": rows}


@dataclass(frozen=True, slots=True)
class _Waiting:
    rows: Sequence[Row]
    answer: "Future[Scores]"


class ProcessScorer:
    """One version in a process of its own. What waits while it works is scored together next.

    A process that dies or hangs is replaced, and what it had in hand is asked again, each request by itself: only one
    that is in a process when it dies twice fails.
    """

    def __init__(self, order: Order, forks: "_ForkServer") -> None:
        self._order = order
        self._forks = forks
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._child: _Child | None = _Child(order, forks)
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
            self._child = _Child(self._order, self._forks)
        except (Invalid, NotFound, CannotServe) as problem:
            raise Unavailable(
                f"the process of {self._order.version} could not be started again: {problem.sentence}",
                hint=problem.hint,
            ) from problem
        return self._child


class ModelProcesses:
    """Opens versions in processes of their own, all forked from one that has imported `modules` before."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._forks = _ForkServer(modules)

    def warm(self) -> None:
        """Begin to import the modules, and do not wait for it: the first version is then ready much sooner."""
        self._forks.start()

    def open(
        self,
        version: ModelVersion,
        payload: bytes,
        bundle: Path | None,
        inputs: Mapping[str, str],
        golden: Golden | None = None,
    ) -> ProcessScorer:
        """Start a version's process and wait until it is ready; see `ProcessOpener`."""
        order = Order(
            version=str(version),
            codec=version.artifact.codec,
            payload=payload,
            bundle=None if bundle is None else str(bundle),
            inputs=inputs,
            golden=golden,
        )
        return self.start(order)

    def start(self, order: Order) -> ProcessScorer:
        """Start a process with what it is to load, and wait until it is ready.

        Raises:
            Invalid: it cannot be loaded.
            NotFound: its bundle is not there.
            CannotServe: it gives golden rows other scores than the judged model gave.

        """
        return ProcessScorer(order, self._forks)

    def close(self) -> None:
        """Fork no more; processes that still answer live on until they are closed. Calling it twice is fine."""
        self._forks.close()


class _DiedError(Exception):
    """The process died with rows in its hands."""


class _ForkServer:
    """The process that all model processes are forked from; started when it is first needed, and again if it died."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        with self._lock:
            if self._link is None:
                self._link = self._begin()

    def fork(self) -> socket.socket:
        """Return the way to a new process; what is sent waits there until the process has come."""
        mine, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                self._send(theirs)
            except OSError:  # it has died since
                self._end()
                self._send(theirs)
        return mine

    def close(self) -> None:
        """End it; calling it twice is fine."""
        with self._lock:
            self._end()

    def _send(self, link: socket.socket) -> None:
        if self._link is None:
            self._link = self._begin()
        socket.send_fds(self._link, [b"."], [link.fileno()])

    def _begin(self) -> socket.socket:
        mine, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, with a module of ours
                [sys.executable, "-u", "-m", "noria.adapters.model_child", str(theirs.fileno()), *self._modules],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the gateway, which lets them finish
                env={**os.environ, **_ONE_THREAD, **_NO_THREADS},  # noqa: TID251 - handed on as it is, not read
            )
        return mine

    def _end(self) -> None:
        if self._link is not None and self._process is not None:
            self._link.close()
            self._process.kill()
            self._process.wait()
        self._link = self._process = None


class _Child:
    """One model process, ready when it is made."""

    def __init__(self, order: Order, forks: _ForkServer) -> None:
        self._link = forks.fork()
        self._link.settimeout(_LOADING_SECONDS)
        self.id: int | None = None
        try:
            self.id = messages.receive(self._link)["process"]
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
        """End the process, which may hang, and wait for it; calling it twice is fine."""
        if self.id is not None:
            with contextlib.suppress(OSError):
                os.kill(self.id, signal.SIGKILL)
                self._link.settimeout(_ENDING_SECONDS)
                while self._link.recv(1 << 16):
                    pass
            self.id = None
        self._link.close()


def _refused(order: Order, reply: Mapping[str, str]) -> Invalid | NotFound | CannotServe:
    if reply["code"] == CannotServe.code:
        return CannotServe(reply["error"], hint=reply["hint"])
    if order.bundle is None and reply["code"] == NotFound.code:
        return NotFound(
            "bundle",
            order.version,
            hint=f"{reply['error']}: a version that a loop registers keeps the modules that its preprocess needs",
        )
    return Invalid(f"{order.version} cannot be loaded: {reply['error']}", hint=reply["hint"])
