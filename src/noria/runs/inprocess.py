"""The default executor: it calls the step's function in the run's own process and thread."""

import os
import signal
import sys
import traceback
from pathlib import Path

from noria.core.clock import Stopwatch
from noria.core.errors import Invalid, NoriaError
from noria.pipelines.model import UNCHECKED
from noria.runs import output, rules
from noria.runs.executors import Call, Offers, Outcome, Problem
from noria.runs.logs import log
from noria.runs.recorder import end, recorder
from noria.runs.slots import Slots
from noria.runs.stopping import Stopped

if sys.platform != "win32":
    import resource

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


class InProcess:
    """Calls functions where the run is; it costs nothing, and can neither end a step nor limit its memory.

    Unless it is told how many cores there are, it does not count them: a map then has all its items at a time that it
    asks for, which wait for a network more often than for a core.
    """

    name = "in-process"

    def __init__(
        self, stopwatch: Stopwatch, *, cpus: float | None = None, gpus: float = 0.0, tags: frozenset[str] = frozenset()
    ) -> None:
        self._watch = stopwatch
        self.offers = Offers(cpus=cpus or float("inf"), gpus=gpus, tags=tags)
        self._slots = Slots(self.offers) if cpus or gpus else None

    def execute(self, call: Call) -> Outcome:
        """Call the function in this thread, as soon as there is room."""
        if self._slots is None:
            return self._execute(call)
        with self._slots.taken(call.step.needs):
            return self._execute(call)

    def close(self) -> None:
        """Let nobody wait for room any more."""
        if self._slots is not None:
            self._slots.close()

    def _execute(self, call: Call) -> Outcome:
        watch = self._watch
        used = watch.cpu if call.is_alone else watch.thread_cpu
        tokens = recorder.set(call.told), log.set(call.told.log)
        output.begin(call.told)
        wall, cpu = watch.wall(), used()
        try:
            returned, problem = _call(call)
        finally:
            wall, cpu = watch.wall() - wall, used() - cpu
            output.end(call.told)
            end(call.told)
            recorder.reset(tokens[0])
            log.reset(tokens[1])
        return Outcome(returned=returned, problem=problem, wall_seconds=wall, cpu_seconds=cpu, peak_bytes=peak_bytes())


def peak_bytes() -> int | None:
    """Return the most memory this process has had so far; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT


def own_bytes(process: str) -> int:
    """Return how much memory a process has of its own; files that it maps can be taken from it, and do not count."""
    _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def is_for_the_process(problem: BaseException) -> bool:
    """Say whether what was raised in a step is to end this process: Ctrl-C, or a signal whose handler exits."""
    if not isinstance(problem, SystemExit):
        return isinstance(problem, KeyboardInterrupt)
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(problem.__traceback__))


def _call(call: Call) -> tuple[object, Problem | None]:
    """Call the step's function; what it raises, and what fetching its arguments raises, is its problem."""
    try:
        arguments = call.arguments()
    except Exception as problem:
        if isinstance(problem, NoriaError) and problem.retriable:
            raise
        return None, Problem(words=f"cannot be given its arguments: {rules.sentence(problem)}", cause=problem)
    misfit = call.step.parameters.misfit(arguments) if call.check_types and call.step.check_types else None
    if misfit is not None:
        cause = Invalid(f"{call.step.what}: {misfit}", hint=UNCHECKED.format(kind="step"))
        return None, Problem(words=f"was not called: {misfit}", cause=cause, may_pass=False)
    try:
        return call.step.parameters.call(call.step.function, arguments), None
    except Stopped:  # which ends the run, and not this step alone
        raise
    except BaseException as problem:
        if is_for_the_process(problem):
            raise
        return None, Problem(words=f"raised {rules.sentence(problem)}", cause=rules.as_exception(problem))
