"""Versions in processes of their own: whatever their code does, it does there, and a death costs no request."""

import contextlib
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from noria.adapters import messages
from noria.core.clock import MachineStopwatch
from noria.core.errors import BadData, CannotServe, Invalid, ModelFailed, NoriaError, NotFound, TimedOut, Unavailable
from noria.registry.model import ModelVersion
from noria.serving.golden import Golden
from noria.serving.running import Row, Scores

_MOST_ROWS = 256
_PATIENCE_SECONDS = 10.0
_LOADING_SECONDS = 120.0
_ENDING_SECONDS = 10.0
_REMEMBERED_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_KINDS = frozenset({float, type(None)})
_log = logging.getLogger("noria.gateway")
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

    A process that dies is replaced, and what it had in hand is asked again, each request by itself: only one that is in
    a process when it dies twice fails. One that takes longer than `patience` seconds is replaced, too, and what it had
    in hand fails. The thread that talks to it goes on whatever is raised in it: the requests concerned fail.
    """

    def __init__(self, order: Order, forks: "_ForkServer", *, patience: float = _PATIENCE_SECONDS) -> None:
        self._order = order
        self._forks = forks
        self._patience = patience
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._child: _Child | None = _Child(order, forks)
        self._closing = threading.Lock()
        self._closed = False
        self._pause = _FIRST_PAUSE_SECONDS
        self._stopwatch = MachineStopwatch()
        self._unstarted: str | None = None
        self._failed: tuple[float, str] | None = None
        self.deaths = 0
        self._thread = self._started()

    @property
    def process(self) -> int | None:
        """Return the id of the process as it is now, None between two."""
        return None if self._child is None else self._child.id

    @property
    def trouble(self) -> str | None:
        """Say why no process can be started, or what became of the last rows if it was a short while ago; see the port."""
        failed = self._failed
        if self._unstarted is not None or failed is None:
            return self._unstarted
        return failed[1] if self._stopwatch.wall() - failed[0] < _REMEMBERED_SECONDS else None

    def submit(self, rows: Sequence[Row]) -> "Future[Scores]":
        """Queue rows; see the port."""
        answer: Future[Scores] = Future()
        with self._closing:
            if self._closed:
                raise Unavailable(f"{self._order.version} is no longer served here", hint="ask again")
            if not self._thread.is_alive():  # no way is known to this; an endpoint that hangs would be worse
                _log.error("the thread of %s had ended, and is started again", self._order.version)
                self.deaths += 1
                self._thread = self._started()
            self._waiting.put(_Waiting(rows, answer))
        return answer

    def close(self) -> None:
        """Answer what was submitted, and end the process."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=f"noria-{self._order.version}", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        is_last = False
        while not is_last:
            batch: list[_Waiting] = []
            try:
                is_last = self._gather(batch)
                live = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
                if live:
                    self._answer(live)
            except BaseException as problem:  # noqa: BLE001 - the thread goes on: nobody else answers for this version
                self._give_up(batch, problem)
        self._let_go()

    def _give_up(self, batch: Sequence[_Waiting], problem: BaseException) -> None:
        """Fail what was in hand when something was raised that nobody foresaw, and begin with a fresh process."""
        _log.error("%s: %s", self._order.version, "what was raised was not foreseen", exc_info=problem)
        words = f"{self._order.version} could not be asked: {type(problem).__name__}: {problem}"
        for waiting in batch:
            with contextlib.suppress(InvalidStateError):  # it has its answer
                waiting.answer.set_exception(Unavailable(words, hint="other rows are answered; the log says more"))
        self._died(words)

    def _gather(self, batch: list[_Waiting]) -> bool:
        """Take what waits, up to a number of rows; return whether nothing will come after it."""
        other = self._next()
        count = 0
        while other is not None:
            batch.append(other)
            count += len(other.rows)
            if count >= _MOST_ROWS:
                return False
            try:
                other = self._waiting.get_nowait()
            except queue.Empty:
                return False
        return True

    def _next(self) -> _Waiting | None:
        """Wait for what comes next; while there is no process, try now and then to start one meanwhile."""
        while self._child is None:
            try:
                return self._waiting.get(timeout=self._pause)
            except queue.Empty:
                with contextlib.suppress(Unavailable):
                    self._replaced()
        return self._waiting.get()

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Score a batch; if it fails as a whole, each of its requests by itself."""
        try:
            scores = self._ask([row for waiting in batch for row in waiting.rows])
        except TimedOut as problem:
            for waiting in batch:
                waiting.answer.set_exception(problem)
            return
        except (_DiedError, NoriaError) as problem:
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
        except NoriaError as problem:
            waiting.answer.set_exception(problem)

    def _ask(self, rows: Sequence[Row]) -> Scores:
        message = self._message(rows)
        child = self._child or self._replaced()
        try:
            reply = child.ask(message, count=len(rows), seconds=self._patience)
        except TimeoutError as problem:
            words = f"the process of {self._order.version} did not answer within {self._patience:g} seconds"
            self._died(words)
            hint = "it is replaced; ask again, with fewer rows at once, or raise answer_seconds"
            raise TimedOut(words, hint=hint) from problem
        except (EOFError, OSError) as problem:  # it died, or what it said is no answer
            self._died(f"the process of {self._order.version} died with the last rows that it was asked about")
            raise _DiedError from problem
        self._failed = None
        if isinstance(reply, str):
            raise ModelFailed(self._order.version, reply)
        return reply

    def _message(self, rows: Sequence[Row]) -> bytes:
        """Return the rows as they are sent; a value that cannot be stops no row that has it where nobody reads it."""
        try:
            return messages.encoded(rows)
        except Exception:  # noqa: BLE001 - whatever the encoder says of a value
            inputs = self._order.inputs
            read = [{name: row[name] for name in inputs if name in row} for row in rows]
        for place, row in enumerate(read):
            for name, value in row.items():
                try:
                    messages.encoded(value)
                except Exception as problem:
                    raise BadData(
                        f"column {name!r} of row {place} has a value that {self._order.version} cannot be given: {problem}",
                        hint="send a number of at most 64 bits, a text, true, false or null",
                    ) from problem
        return messages.encoded(read)

    def _died(self, words: str) -> None:
        """Remember that a process failed, and end what is left of it."""
        self._failed = (self._stopwatch.wall(), words)
        self.deaths += 1
        self._let_go()

    def _let_go(self) -> None:
        """End the process, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _replaced(self) -> "_Child":
        """Start another process; raises `Unavailable` when that fails, whatever the machine lacks."""
        try:
            self._child = _Child(self._order, self._forks)
        except Exception as problem:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            said = problem.sentence if isinstance(problem, NoriaError) else str(problem)
            self._unstarted = f"the process of {self._order.version} could not be started again: {said}"
            _log.error(self._unstarted)
            hint = (
                problem.hint if isinstance(problem, NoriaError) else "it is tried again; the machine may lack something"
            )
            raise Unavailable(self._unstarted, hint=hint) from problem
        if self._unstarted is not None:
            self._unstarted = self._failed = None
        self._pause = _FIRST_PAUSE_SECONDS
        return self._child


class ModelProcesses:
    """Opens versions in processes of their own, all forked from one that has imported `modules` before."""

    def __init__(self, modules: Sequence[str] = (), *, patience: float = _PATIENCE_SECONDS) -> None:
        self._forks = _ForkServer(modules)
        self._patience = patience

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
        return ProcessScorer(order, self._forks, patience=self._patience)

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
                try:
                    self._send(theirs)
                except OSError:  # it has died since
                    self._end()
                    self._send(theirs)
            except BaseException:
                mine.close()
                raise
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
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, with a module of ours
                    [sys.executable, "-u", "-m", "noria.adapters.model_child", str(theirs.fileno()), *self._modules],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the gateway, which lets them finish
                    env={**os.environ, **_ONE_THREAD, **_NO_THREADS},  # noqa: TID251 - handed on as it is, not read
                )
        except BaseException:
            mine.close()
            raise
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
        self.id: int | None = None
        try:
            self.id = int(messages.receive(self._link, seconds=_LOADING_SECONDS)["process"])
            messages.send(self._link, order.message())
            reply = messages.receive(self._link, seconds=_LOADING_SECONDS)
            problem = _refused(order, reply) if "error" in reply else None
        except (EOFError, OSError) as died:
            self.end()
            raise Invalid(
                f"the process of {order.version} died while it loaded", hint="look at what it wrote to standard error"
            ) from died
        except BaseException:
            self.end()
            raise
        if problem is not None:
            self.end()
            raise problem

    def ask(self, message: bytes, *, count: int, seconds: float) -> "Scores | str":
        """Return a score for each of the rows, or in words why there are none.

        Raises:
            EOFError: it died, or what it said is no answer.
            OSError: it died; a `TimeoutError`: it took too long.

        """
        self._link.settimeout(seconds)
        self._link.sendall(message)
        reply = messages.receive(self._link, seconds=seconds)
        if isinstance(reply, dict):
            told = cast("dict[str, Any]", reply)
            if isinstance(told.get("error"), str):
                return told["error"]
            scores: Any = told.get("scores")
            found = cast("list[Any]", scores if isinstance(scores, list) else [])
            if isinstance(scores, list) and len(found) == count and _KINDS.issuperset(map(type, found)):
                return cast("Scores", found)
        raise EOFError("this is no answer")

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
