"""The port to what executes steps: this process, others beside it, or a cluster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from noria.core.errors import Invalid
from noria.pipelines.model import Needs
from noria.pipelines.steps import Step
from noria.runs.recorder import Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a try failed, in words that follow the step's name."""

    words: str
    cause: Exception
    may_pass: bool = True
    """Whether another try could end otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One try of a step. `arguments` fetches their values, fresh ones each time; `told` takes what it tells of itself."""

    step: Step[..., Any]
    arguments: Callable[[], Mapping[str, object]]
    told: Recorder
    is_alone: bool = True
    """Whether no other step runs in this process meanwhile, so that the process's CPU time is this one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
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
    tags: frozenset[str] = field(default_factory=frozenset[str])


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

        Raises:
            Unavailable: the executor itself failed, and another try may find it well.

        """
        ...

    def close(self) -> None:
        """End whatever still runs and let go of processes; calling it twice is fine."""
        ...


def refusal(needs: Needs, executor: Executor) -> Problem | None:
    """Say in words why a step cannot be executed here: it needs what the executor cannot give; None if it can."""
    offers = executor.offers
    lacks: list[str] = []
    if needs.timeout_seconds is not None and not offers.ends_steps:
        lacks.append(f"timeout_seconds={needs.timeout_seconds:g}: it cannot end a step")
    if needs.memory_bytes is not None and not offers.limits_memory:
        lacks.append(f"memory_bytes={needs.memory_bytes:,}: it cannot limit memory")
    if needs.cpus > offers.cpus:
        lacks.append(f"cpus={needs.cpus:g}: it has {offers.cpus:g}")
    if needs.gpus > offers.gpus:
        lacks.append(f"gpus={needs.gpus:g}: it has {offers.gpus:g}")
    lacks += [f"tag {tag!r}: it has none such" for tag in needs.tags if tag not in offers.tags]
    if not lacks:
        return None
    words = f"needs what the executor {executor.name!r} cannot give: {'; '.join(lacks)}"
    cause = Invalid(words, hint='say executor = "processes" in noria.toml, or take the need away')
    return Problem(words=words, cause=cause, may_pass=False)
