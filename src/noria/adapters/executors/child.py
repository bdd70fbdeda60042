"""The other side: a process that has been sent a try of a step, executes it, and tells how it goes and how it ended.

The step runs in a thread of its own. Beside it this module hands on what the step tells, and watches its time and its
memory. Whoever hears that a step has taken too much (`is_over`) must end the process, for the thread still runs.
"""

from collections.abc import Callable, Generator, Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, cast

from noria.adapters.executors import modules
from noria.adapters.executors.importing import importing
from noria.adapters.executors.packing import Get, Packed, Put, pack_problem, unpack
from noria.adapters.executors.sending import Said, Try
from noria.core.clock import MachineStopwatch, Stopwatch
from noria.core.codecs import Codecs
from noria.core.errors import BadPipeline, CodeChanged, NoriaError
from noria.pipelines.code import code_digest
from noria.pipelines.references import find
from noria.pipelines.steps import Step
from noria.runs import rules
from noria.runs.executors import Arguments, Call, Outcome, Problem
from noria.runs.inprocess import InProcess, own_bytes, peak_bytes
from noria.runs.logs import Log
from noria.runs.recorder import Recorder
from noria.runs.streams import kept
from noria.runs.values import Taking

_LOOKS_A_SECOND = 20


class Child:
    """What executes tries in a process of their own. Values come and go by `get` and `put`."""

    def __init__(self, codecs: Codecs, *, get: Get, put: Put, watch: Stopwatch | None = None) -> None:
        self._codecs = codecs
        self._get = get
        self._put = put
        self._watch = watch or MachineStopwatch()

    def perform(self, asked: Try, fetch: Callable[[], bytes | None]) -> Generator[Said]:
        """Execute a try to its end and yield what there is to say of it; `fetch` gets its bundle."""
        said: SimpleQueue[Said] = SimpleQueue()
        log = Log(lambda text: said.put(("words", text)), self._watch.wall)
        told = Recorder(run=asked.run, step=asked.place, log=log, on_progress=lambda far: said.put(("progress", far)))
        try:
            step = _step(asked, fetch())
        except Exception as problem:  # noqa: BLE001 - whatever importing a user's module raises
            words = f"cannot be found by its process: {_said(problem)}"
            yield "ended", self._packed(Outcome(problem=Problem(words=words, cause=problem, may_pass=False)), told)
            return
        yield "begun", None
        begun = self._watch.wall()
        Thread(target=self._work, args=(step, asked, told, said), name="noria-step", daemon=True).start()
        while (over := self._over(asked, begun)) is None:
            try:
                kind, value = said.get(timeout=1 / _LOOKS_A_SECOND)
            except Empty:
                continue
            yield kind, value
            if kind == "ended":
                return
        yield "words", log.take()
        yield "ended", self._packed(over, told) | {"is_over": True}

    def _work(self, step: Step[..., Any], asked: Try, told: Recorder, said: "SimpleQueue[Said]") -> None:
        """Execute a try in this thread; nobody would hear what it raises."""

        def arguments(*_: Taking) -> Mapping[str, object]:
            return {name: unpack(packed, self._get) for name, packed in asked.arguments.items()}

        try:
            with kept():
                outcome = InProcess(self._watch).execute(_call(step, arguments, told, asked))
            ended = self._packed(outcome, told)
        except BaseException as problem:  # noqa: BLE001 - a step that exits, or a value that breaks its codec
            cause = RuntimeError(f"it ended its process: {rules.sentence(problem)}")
            ended = self._packed(Outcome(problem=Problem(words=f"was lost: {cause}", cause=cause)), Recorder())
        if words := told.log.take():
            said.put(("words", words))
        said.put(("ended", ended))

    def _packed(self, outcome: Outcome, told: Recorder) -> Packed:
        """Pack how a try ended and what it told; what no codec carries is the try's problem."""
        returned, params, problem = None, dict[str, Packed](), outcome.problem
        what = "logged a param that"
        try:
            params = {name: self._put(self._codecs.encode(value)) for name, value in told.params.items()}
            what = "returned what"
            returned = None if problem else self._put(self._codecs.encode(outcome.returned))
        except NoriaError as refused:
            problem = Problem(words=f"{what} cannot be kept: {rules.sentence(refused)}", cause=refused, may_pass=False)
        return {
            "returned": returned,
            "problem": None if problem is None else pack_problem(problem, self._codecs),
            "seconds": [outcome.wall_seconds, outcome.cpu_seconds],
            "peak_bytes": outcome.peak_bytes,
            "metrics": [[name, position, value] for (name, position), value in told.metrics.items()],
            "params": params,
        }

    def _over(self, asked: Try, begun: float) -> Outcome | None:
        """Say that a step has taken more time or memory than it may; None while it has not."""
        seconds, cause = self._watch.wall() - begun, None
        if asked.timeout_seconds is not None and seconds >= asked.timeout_seconds:
            cause = TimeoutError(f"it took longer than {asked.timeout_seconds:g} s and was ended")
        elif asked.memory_bytes is not None and _used_bytes() > asked.memory_bytes:
            cause = MemoryError(f"it took more than {asked.memory_bytes:,} bytes and was ended")
        if cause is None:
            return None
        problem = Problem(words=f"raised {rules.sentence(cause)}", cause=cause)
        return Outcome(problem=problem, wall_seconds=seconds, peak_bytes=peak_bytes())


def _call(step: Step[..., Any], arguments: Arguments, told: Recorder, asked: Try) -> Call:
    return Call(step=step, arguments=arguments, told=told, check_types=asked.check_types)


def _step(asked: Try, bundle: bytes | None) -> Step[..., Any]:
    with importing():
        modules.enter(bundle)
        found: object = find(asked.step)
    if not isinstance(found, Step):
        raise BadPipeline(f"{asked.step} is no step there", hint="define it at the top of a module")
    step = cast("Step[..., Any]", found)
    if code_digest(step.function) != asked.code:
        raise CodeChanged(
            f"the code of {asked.step}, or a package that it uses, is not there what it is where the run is",
            hint="restart the worker after its files were changed, and give every machine the same packages",
        )
    return step


def _said(problem: Exception) -> str:
    hint = problem.hint if isinstance(problem, NoriaError) else ""
    return f"{rules.sentence(problem)}; {hint}" if hint else rules.sentence(problem)


def _used_bytes() -> int:
    try:
        return own_bytes("self")
    except OSError:  # no such thing on this system
        return 0
