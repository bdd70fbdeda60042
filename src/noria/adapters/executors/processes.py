"""Steps in processes of their own on this machine, which can be ended: for time limits, memory limits, and all cores.

Each process executes one try at a time and is kept for the next one. They are forked from a clean server process
(`forkserver`), because a fork of a process with threads, which this one has, may stop for ever. concurrent.futures and
loky were left aside: to end one task of theirs is to lose the whole pool.

Each is the first of a process group, and ends with the run's process however that ends. So what a step has started
itself is ended with it, and a Ctrl-C in the terminal is for the run's process alone.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from noria.adapters.codecs import standard
from noria.adapters.executors import places
from noria.adapters.executors.importing import GUARD, refuse_while_importing
from noria.adapters.executors.packing import pack_problem, unpack_problem
from noria.adapters.executors.sending import Said, tell, unsent
from noria.core.clock import MachineStopwatch, Stopwatch
from noria.core.errors import BadPipeline, Invalid
from noria.core.masking import hidden, hide_all
from noria.pipelines.references import find, refuse_unless_found
from noria.pipelines.steps import Step
from noria.runs import rules
from noria.runs.executors import Call, Offers, Outcome, Problem
from noria.runs.inprocess import InProcess, own_bytes
from noria.runs.logs import Log
from noria.runs.recorder import Recorder
from noria.runs.slots import Slots
from noria.runs.streams import kept
from noria.runs.values import Taking, Values

_LOOKS_A_SECOND = 20
_PATIENCE_SECONDS = 60.0

_READY, _BEGUN, _WORDS, _PROGRESS, _ENDED = "ready", "begun", "words", "progress", "ended"


class _Sent(NamedTuple):
    """A try on its way to a process: which step of which script, found by which path; where it belongs; its arguments.

    They are pickled by themselves, for they are read only when the step is found. `folder` is for a large result.
    `secrets` were revealed before, and are masked there, too. `environment` is this process's as it is now: the server
    that forks has the one of its own start.
    """

    reference: str
    script: str | None
    path: list[str]
    run: str | None
    place: str
    folder: Path | None
    arguments: bytes
    check_types: bool
    secrets: frozenset[str]
    environment: dict[str, str]


class Processes:
    """Executes tries in processes, as many at a time as their needs leave room for on this machine."""

    name = "processes"

    def __init__(
        self,
        stopwatch: Stopwatch,
        *,
        values: Values | None = None,
        cpus: float | None = None,
        gpus: float = 0.0,
        tags: frozenset[str] = frozenset(),
    ) -> None:
        refuse_while_importing()
        self._watch = stopwatch
        self._values = values
        self._free: deque[_Worker] = deque()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self.offers = Offers(
            ends_steps=True,
            limits_memory=Path("/proc").exists(),
            cpus=cpus or float(os.cpu_count() or 1),
            gpus=gpus,
            memory_bytes=_memory_bytes(),
            tags=tags,
        )
        self._slots = Slots(self.offers)

    def execute(self, call: Call) -> Outcome:
        """Execute the try in a free process, as soon as there is room; end the process if the try needs too much."""
        with self._slots.taken(call.step.needs):
            try:
                sent = _sent(call, self._values.blobs.folder if self._values else None)
            except Exception as problem:  # noqa: BLE001 - whatever fetching a user's arguments raises
                return unsent(problem)
            return self._execute(call, sent)

    def close(self) -> None:
        """End all processes."""
        self._slots.close()
        with self._lock:
            workers, self._all = tuple(self._all), set()
            self._free.clear()
        for worker in workers:
            worker.end()

    def _execute(self, call: Call, sent: bytes) -> Outcome:
        worker = self._take()
        begun = self._watch.wall()
        try:
            with call.stop.cutting(worker.kill):
                outcome = worker.execute(sent, call, self._watch)
        except BaseException:
            self._drop(worker)
            raise
        if outcome is None:
            self._drop(worker)
            return Outcome(problem=worker.problem, wall_seconds=self._watch.wall() - begun)
        with self._lock:
            self._free.append(worker)
        if self._values is not None and isinstance(outcome.returned, places.Left):
            return replace(outcome, returned=self._values.stored(outcome.returned.artifact))
        return outcome

    def _take(self) -> "_Worker":
        with self._lock:
            if self._free:
                return self._free.pop()
            worker = _Worker()
            self._all.add(worker)
        return worker

    def _drop(self, worker: "_Worker") -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


class _Worker:
    """One process, seen from here."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), name="noria-step", daemon=True)
        self._process.start()
        theirs.close()
        self.problem: Problem | None = None
        self._is_ready = False

    def execute(self, sent: bytes, call: Call, watch: Stopwatch) -> Outcome | None:
        """Execute one try; None when the process had to be ended or died, with the reason in `problem`."""
        needs = call.step.needs
        with contextlib.suppress(OSError):  # a process that died at once says so below
            self._connection.send_bytes(sent)
        ends_at: float | None = None
        while True:
            patience = _PATIENCE_SECONDS if needs.memory_bytes is None else 1 / _LOOKS_A_SECOND
            left = patience if ends_at is None else min(patience, max(0.0, ends_at - watch.wall()))
            if wait([self._connection], left):
                told = self._receive()
                if told is None:
                    return None
                kind, value = told
                if kind == _ENDED:
                    return _received(call, value)
                self._is_ready = True
                if kind == _BEGUN and needs.timeout_seconds is not None:
                    ends_at = watch.wall() + needs.timeout_seconds
                tell(call.told, (kind, value))
            if ends_at is not None and watch.wall() >= ends_at:
                return self._give_up(TimeoutError(f"it took longer than {needs.timeout_seconds:g} s and was ended"))
            if needs.memory_bytes is not None and self._used_bytes() > needs.memory_bytes:
                return self._give_up(MemoryError(f"it took more than {needs.memory_bytes:,} bytes and was ended"))

    def kill(self) -> None:
        """Let the process end at once, with what its steps have started; whoever executes a try in it notices."""
        _kill_group(self._process.pid)
        self._process.kill()  # one that had no time to found its group

    def end(self) -> None:
        """End the process, whatever it does, and what its steps have started; let go of it."""
        self.kill()
        self._process.join()
        self._connection.close()
        self._process.close()

    def _receive(self) -> Said | None:
        try:
            return cast("Said", self._connection.recv())
        except (EOFError, ConnectionError):
            self._process.join()
            if not self._is_ready:
                self.problem = _not_started()
                return None
            code = self._process.exitcode
            died = RuntimeError(f"its process died (exit status {code})")
            self.problem = Problem(words=f"was lost: its process died (exit status {code})", cause=died)
            return None

    def _give_up(self, cause: Exception) -> None:
        self.problem = Problem(words=f"raised {rules.sentence(cause)}", cause=cause)

    def _used_bytes(self) -> int:
        try:
            return own_bytes(f"{self._process.pid}")
        except (OSError, IndexError):  # it has just ended
            return 0


def _sent(call: Call, folder: Path | None) -> bytes:
    """Spell a try for a process of ours: the step by its name, its arguments by value, or by place where they are large.

    It is pickled as multiprocessing pickles everything; nobody but this process and its child reads it.
    """
    refuse_unless_found(call.step.function, call.step.what)
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) if call.step.function.__module__ == "__main__" else None
    try:
        arguments = pickle.dumps(dict(call.arguments(places.sent)))
        place = call.run or None, call.id, folder
        around = hidden(), dict(os.environ)  # noqa: TID251 - handed on as it is, not read
        sent = _Sent(call.step.reference, script, list(sys.path), *place, arguments, call.check_types, *around)
        return pickle.dumps(sent)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        raise Invalid(
            f"an argument cannot be sent to another process: {problem}", hint="hand in plain values, frames or arrays"
        ) from problem


def _received(call: Call, value: Mapping[str, Any]) -> Outcome:
    told: Recorder = call.told
    hide_all(value["secrets"])
    told.metrics.update(value["metrics"])
    told.log.write(value["rest"])
    return _outcome(value, told)


def _memory_bytes() -> float:
    """Return how much memory this machine has; without end where the system does not tell."""
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return float("inf")
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _not_started() -> Problem:
    script = getattr(sys.modules["__main__"], "__file__", None) or "the program"
    cause = BadPipeline(
        f"a process for steps died while it imported {script}",
        hint=f"{GUARD}, for {script} is imported by each process",
    )
    return Problem(words=f"could not be executed: {cause.sentence}; {cause.hint}", cause=cause, may_pass=False)


def _kill_group(first: int | None) -> None:
    if sys.platform != "win32" and first is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
            os.killpg(first, signal.SIGKILL)


def _stand_alone() -> None:
    """Found a process group, whose processes may have children of their own, and end it when the run's process ends."""
    multiprocessing.current_process().daemon = False
    if sys.platform != "win32":
        os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, name="noria-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _kill_group(os.getpid())
        os._exit(1)


def _serve(connection: Connection) -> None:
    """Execute tries until nobody asks any more."""
    _stand_alone()
    executor, sending = InProcess(MachineStopwatch()), threading.Lock()

    def send(kind: str, value: object) -> None:
        with sending:  # words are sent from a thread of their own
            connection.send((kind, value))

    with kept(), contextlib.suppress(EOFError, KeyboardInterrupt, ConnectionError):
        send(_READY, None)
        while True:
            send(_ENDED, _executed(executor, send, pickle.loads(connection.recv_bytes())))  # noqa: S301 - see _sent


def _executed(executor: InProcess, send: Callable[[str, object], None], sent: _Sent) -> dict[str, Any]:
    watch = MachineStopwatch()

    def say(text: str) -> None:
        """Send words; those of a thread that goes on when its step has ended are kept with the step that runs then."""
        send(_WORDS, f"[written by a thread of {sent.place} after that had ended]\n{text}" if told.is_over else text)

    log = Log(say, watch.wall)
    told = Recorder(run=sent.run, step=sent.place, log=log, on_progress=lambda said: send(_PROGRESS, said))
    sys.path[:] = sent.path
    os.environ.update(sent.environment)  # noqa: TID251 - see _Sent
    hide_all(sent.secrets)
    try:
        step = _step(sent.reference, sent.script)
    except Exception as problem:  # noqa: BLE001 - whatever importing a user's module raises
        words = f"cannot be found by its process: {rules.sentence(problem)}"
        outcome = Outcome(problem=Problem(words=words, cause=problem, may_pass=False))
    else:

        def given(*_: Taking) -> Mapping[str, object]:
            return pickle.loads(sent.arguments)  # noqa: S301 - see _sent

        send(_BEGUN, None)  # a time limit begins when the step does, and not with what it imports
        outcome = executor.execute(Call(step=step, arguments=given, told=told, check_types=sent.check_types))
    outcome = replace(outcome, returned=places.left(outcome.returned, sent.folder))
    return _ended(outcome, told) | {"metrics": told.metrics, "rest": log.take(), "secrets": hidden()}


def _step(reference: str, script: str | None) -> Step[..., Any]:
    """Find a step by its name; that of a script in the script, which multiprocessing has imported as `__mp_main__`."""
    where, _, name = reference.partition(":")
    main = sys.modules.get("__mp_main__")
    found: object = find(reference) if script is None or main is None else _inside(main, name)
    if not isinstance(found, Step):
        raise BadPipeline(f"{where}:{name} is no step there", hint="define it at the top of a module")
    return cast("Step[..., Any]", found)


def _inside(module: object, name: str) -> object:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _ended(outcome: Outcome, told: Recorder) -> dict[str, Any]:
    """Spell how a try ended: what it returned and logged pickled by itself, an error as other machines send it."""
    returned, params, problem = None, dict[str, bytes](), outcome.problem
    what = "logged a param that"
    try:
        params = {name: pickle.dumps(value) for name, value in told.params.items()}
        what = "returned what"
        returned = None if problem else pickle.dumps(outcome.returned)
    except Exception as refused:  # noqa: BLE001 - whatever a user's value raises when it is pickled
        words = f"{what} cannot be sent back by its process: {rules.sentence(refused)}"
        problem = Problem(words=words, cause=refused, may_pass=False)
    return {
        "outcome": replace(outcome, returned=None, problem=None),
        "returned": returned,
        "params": params,
        "problem": None if problem is None else pack_problem(problem, standard()),
    }


def _outcome(value: Mapping[str, Any], told: Recorder) -> Outcome:
    """Return how a try ended, as it was spelled; a value that this process cannot read is the try's problem."""
    ended: Outcome = value["outcome"]
    if value["problem"] is not None:
        return replace(ended, problem=unpack_problem(value["problem"], standard()))
    what = "logged a param that"
    try:
        told.params.update({name: pickle.loads(spelled) for name, spelled in value["params"].items()})  # noqa: S301 - see _sent
        what = "returned what"
        return replace(ended, returned=pickle.loads(value["returned"]))  # noqa: S301 - see _sent
    except Exception as problem:  # noqa: BLE001 - whatever importing a user's module raises
        words = f"{what} cannot be read by the run's process: {rules.sentence(problem)}"
        return replace(ended, problem=Problem(words=words, cause=problem, may_pass=False))
