"""A try of a step on its way to another machine: which step of which code, with which arguments; and how it comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from noria.adapters.executors.packing import Packed, Put, pack, unpack_problem
from noria.core.codecs import Codecs
from noria.core.errors import NoriaError
from noria.pipelines.bundles import bundle_of
from noria.pipelines.code import code_digest
from noria.pipelines.references import refuse_unless_found
from noria.pipelines.steps import Step
from noria.runs import rules
from noria.runs.executors import Call, Outcome, Problem
from noria.runs.recorder import Recorder
from noria.runs.values import Value

Said = tuple[Literal["begun", "words", "progress", "ended"], Any]
"""What is said of a try: that it has begun; the words of its step, and how far it is; how it ended, packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try of a step, as it is sent; `code` is the digest of the code that the other side must find."""

    step: str
    code: str
    arguments: dict[str, Packed]
    run: str | None = None
    """The run that it is part of, which runs that it starts itself are recorded as started in."""
    place: str = ""
    """What the step is called in that run, such as `fit[3]`."""
    bundle: str | None = None
    """The blob of the modules that it needs, unless they are sent beside it."""
    timeout_seconds: float | None = None
    memory_bytes: int | None = None
    check_types: bool = True


@dataclass(frozen=True, slots=True)
class Code:
    """The digest of a step's code, and the user's modules that it needs; None when they are all installed."""

    digest: str
    bundle: bytes | None


class Sender:
    """Makes tries out of calls; what a step's code is, it looks up once."""

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs
        self._codes: WeakKeyDictionary[Step[..., Any], Code] = WeakKeyDictionary()

    def code(self, step: Step[..., Any]) -> Code:
        """Return the code of a step. Raises `BadPipeline` when no other process can find the step."""
        refuse_unless_found(step.function, step.what)
        known = self._codes.get(step)
        if known is None:
            known = self._codes[step] = Code(code_digest(step.function), bundle_of([step.function]))
        return known

    def packed(self, call: Call, put: Put) -> Try:
        """Return the try, its arguments left where `put` leaves them.

        Raises:
            BadPipeline: no other process can find the step.
            Invalid: no codec carries an argument.

        """
        step = call.step
        arguments = call.arguments(lambda made: made)
        return Try(
            step=step.reference,
            code=self.code(step).digest,
            run=call.run or None,
            place=call.id,
            arguments={name: pack(value, self._codecs, put) for name, value in arguments.items()},
            timeout_seconds=step.needs.timeout_seconds,
            memory_bytes=step.needs.memory_bytes,
            check_types=call.check_types,
        )


def unsent(problem: Exception) -> Outcome:
    """Say how a try ended that could not be sent. What may pass is raised again."""
    if isinstance(problem, NoriaError) and problem.retriable:
        raise problem
    said = problem.sentence if isinstance(problem, NoriaError) else rules.sentence(problem)
    how = "sent to a process" if isinstance(problem, NoriaError) else "given its arguments"
    return Outcome(problem=Problem(words=f"cannot be {how}: {said}", cause=problem))


def tell(told: Recorder, said: Said) -> None:
    """Hand on what a step has said so far."""
    kind, value = said
    if kind == "words" and value:
        told.log.write(value)
    elif kind == "progress" and told.on_progress is not None:
        done, total, words = value
        told.on_progress((done, total, words))


def received(ended: Packed, told: Recorder, codecs: Codecs, *, get: Callable[[Packed], Value]) -> Outcome:
    """Return how a try ended, its result as a kept value; what it told goes to the recorder."""
    problem, (wall_seconds, cpu_seconds) = ended["problem"], ended["seconds"]
    told.metrics.update({(name, position): value for name, position, value in ended["metrics"]})
    told.params.update({name: get(packed).take() for name, packed in ended["params"].items()})
    return Outcome(
        returned=None if ended["returned"] is None else get(ended["returned"]),
        problem=None if problem is None else unpack_problem(problem, codecs),
        wall_seconds=wall_seconds,
        cpu_seconds=cpu_seconds,
        peak_bytes=ended["peak_bytes"],
    )
