"""The port to what executes steps: this process, others beside it, or a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from noria.core.errors import Invalid, Unavailable
from noria.pipelines.model import Needs
from noria.pipelines.steps import Step
from noria.runs.recorder import Recorder
from noria.runs.stopping import Stop
from noria.runs.values import Taking, take


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a try failed, in words that follow the step's name."""

    words: str
    cause: Exception
    may_pass: bool = True
    """Whether another try could end otherwise."""
    kinds: tuple[str, ...] = ()
    """The types of the error where it was raised, its own and what that derives from, when it was in another process."""
    is_lost: bool = False
    """Whether what executed the try was lost: no fault of the step, which is tried again though it has no retries."""


class Arguments(Protocol):
    """The arguments of a try."""

    def __call__(self, take: Taking = take, /) -> Mapping[str, object]:
        """Fetch them, fresh ones each time; an executor may take something else in the place of a kept value."""
        ...


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a step; `told` takes what it tells of itself, `stop` says when it is to be cut short."""

    step: Step[..., Any]
    arguments: Arguments
    told: Recorder
    stop: Stop = msgspec.field(default_factory=Stop)
    run: str = ""
    id: str = ""
    """What the step is called in the run, such as `fit[3]`."""
    attempt: int = 1
    is_alone: bool = True
    """Whether no other step runs in this process meanwhile, so that the process's CPU time is this one's."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a try ended, and what it used; `peak_bytes` is the most memory its process has had so far."""

    returned: object = None
    problem: Problem | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What an executor can do; a step that needs more is refused."""

    ends_steps: bool = False
    limits_memory: bool = False
    cpus: float = float("inf")
    gpus: float = 0.0
    memory_bytes: float = float("inf")
    tags: frozenset[str] = field(default_factory=frozenset[str])
    more: str = "set worker_cpus, worker_gpus or worker_tags in noria.toml to what this machine has"
    """How people come by what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that executes submitted runs, with what its executor offers; it is taken to be there until it expires."""

    name: str
    executor: str
    offers: Offers
    expires_at: datetime


class Executor(Protocol):
    """Executes single tries of steps; safe to share between threads."""

    @property
    def name(self) -> str:
        """Return what people call it."""
        ...

    @property
    def offers(self) -> Offers:
        """Return what it can do."""
        ...

    def execute(self, call: Call) -> Outcome:
        """Execute a try to its end, and say how it ended; what the step's function raises is the outcome's problem.

        A try that needs more time or memory than it may use is ended, and that is its problem; nothing of it runs on.
        Who can end steps does so at once when the call's `stop` cuts.

        Raises:
            Stopped: the run is to end, and the try was cut short.
            Unavailable: the executor itself failed, and another try may find it well.

        """
        ...

    def close(self) -> None:
        """End whatever still runs and let go of processes; calling it twice is fine."""
        ...


def refusal(needs: Needs, executor: Executor) -> Problem | None:
    """Say in words why a step cannot be executed here: it needs what the executor cannot give; None if it can."""
    offers = executor.offers
    cannot, lacks = _cannot(needs, offers), lacking(needs, offers)
    if not lacks:
        return None
    hint = 'say executor = "processes" in noria.toml, or take the need away' if cannot else offers.more
    words = f"needs what the executor {executor.name!r} cannot give: {'; '.join(lacks)}"
    return Problem(words=words, cause=Invalid(words, hint=hint), may_pass=False)


def lacking(needs: Needs, offers: Offers) -> list[str]:
    """Say in words what is needed and not on offer."""
    lacks = _cannot(needs, offers)
    if (needs.memory_bytes or 0) > offers.memory_bytes:
        lacks.append(f"memory_bytes={needs.memory_bytes:,}: it has {offers.memory_bytes:,.0f}")
    if needs.cpus > offers.cpus:
        lacks.append(f"cpus={needs.cpus:g}: it has {offers.cpus:g}")
    if needs.gpus > offers.gpus:
        lacks.append(f"gpus={needs.gpus:g}: it has {offers.gpus:g}")
    return lacks + [f"tag {tag!r}: it has none such" for tag in needs.tags if tag not in offers.tags]


def _cannot(needs: Needs, offers: Offers) -> list[str]:
    """Say what this kind of executor cannot do, however much it has."""
    lacks: list[str] = []
    if needs.timeout_seconds is not None and not offers.ends_steps:
        lacks.append(f"timeout_seconds={needs.timeout_seconds:g}: it cannot end a step")
    if needs.memory_bytes is not None and not offers.limits_memory:
        lacks.append(f"memory_bytes={needs.memory_bytes:,}: it cannot limit memory")
    return lacks


def closed() -> Unavailable:
    """Return what an executor raises that was closed while somebody wanted a try of it."""
    return Unavailable("the executor is closed", hint="open the home again")
