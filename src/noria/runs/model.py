"""What the engine keeps: runs, attempts, artifacts, params and metrics."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from noria.core.errors import Conflict, Invalid, NoriaError, StepFailed
from noria.pipelines.model import Needs


class RunState(StrEnum):
    """Where a run is; a run whose process died stays `running` until somebody goes on with it."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Say whether such a run has not ended and does not rest."""
        return self in {RunState.QUEUED, RunState.RUNNING}

    @property
    def reopens(self) -> bool:
        """Say whether `resume` lets such a run go on."""
        return self in {RunState.PAUSED, RunState.FAILED, RunState.CANCELLED}


class Asked(StrEnum):
    """What somebody asks the holder of a run to do."""

    CANCEL = "cancel"
    PAUSE = "pause"
    LEAVE = "leave"
    """Give the run back as it is, for another to go on with: the process is to end."""

    @property
    def cuts(self) -> bool:
        """Say whether a step under way is cut short, rather than waited for."""
        return self is not Asked.PAUSE

    @property
    def ends_as(self) -> RunState:
        """Return the state in which the run is left."""
        return RunState.CANCELLED if self is Asked.CANCEL else RunState.PAUSED


class AttemptState(StrEnum):
    """How a try of a step ended; one that was cut short leaves nothing."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ERASED = "erased"
    """It succeeded, and its result was dropped because it held what was erased."""


class Artifact(Struct, frozen=True, kw_only=True):
    """A stored value: the codec that reads it, the digest of what it means, and where its bytes are.

    `blob` is the digest of the bytes; empty for a small plain value, which stands in `inline`.
    """

    codec: str
    digest: str
    blob: str = ""
    inline: str | None = None


def _no_result() -> object:
    raise Invalid(
        "this run has no result to read: it was made without a reader, or what it held was erased",
        hint="read it again: runs.get(context, id); what was erased is made again by a rerun",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a pipeline.

    `cpu_seconds` were used by its own attempts, failed ones included; `charged_cpu_seconds` count, besides, what the
    results it took from the cache had cost where they were made. `error` is one sentence, None unless the run failed.
    `parent` is the run that this one is a rerun of, whose finished steps it reuses, up to the step `rerun_from`;
    `started_in` the run whose step started this one. `priority` orders the runs that were submitted, None for one that
    was not. `usd` is what its own attempts have cost, None where nobody has said a price. `bundle` is the blob of the
    user's modules as they were when it was submitted, None when all its code is installed; `needs` is what it needs of
    a worker, None when any will do.
    """

    id: str
    project: str
    pipeline: str
    reference: str
    key: str | None
    arguments: str
    code: str
    state: RunState
    created_at: datetime
    created_by: str
    ended_at: datetime | None = None
    artifact: Artifact | None = None
    error: str | None = None
    failed_step: str | None = None
    cpu_seconds: float = 0.0
    charged_cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    parent: str | None = None
    rerun_from: str | None = None
    started_in: str | None = None
    priority: int | None = None
    usd: float | None = None
    bundle: str | None = None
    needs: Needs | None = None
    read: Callable[[], object] = field(default=_no_result, repr=False, compare=False)
    cause: Exception | None = field(default=None, repr=False, compare=False)

    @property
    def result(self) -> object:
        """Return what the pipeline returned, read from storage: each time a fresh one, whatever was done to the last.

        Raises:
            StepFailed: the run failed; in the process where it did, the step's own error is the cause.
            Conflict: the run is still running.

        """
        if self.state is RunState.FAILED:
            mend = self.cause.hint if isinstance(self.cause, NoriaError) else None
            way_out = f"{mend or 'mend it'}; then resume: runs.resume(context, {self.id!r})"
            raise StepFailed(f"run {self.id} failed: {self.error}", hint=way_out) from self.cause
        if self.state is RunState.CANCELLED or self.state is RunState.PAUSED:
            raise Conflict(f"run {self.id} was {self.state.value}", hint=f"let it go on: noria resume {self.id}")
        if self.state.is_open:
            raise Conflict(f"run {self.id} is still {self.state.value}", hint="look again later: runs.get(context, id)")
        return self.read()


class Attempt(Struct, frozen=True, kw_only=True):
    """One try of one step of a run, as it ended; `attempt` counts the tries of that step, from 1."""

    run: str
    number: int
    step: str
    attempt: int
    state: AttemptState
    inputs: str
    code: str
    started_at: datetime
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None = None
    usd: float | None = None
    artifact: Artifact | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What an hour of a CPU's work and an hour with a GPU cost; nothing is priced where both are 0."""

    usd_per_cpu_hour: float = 0.0
    usd_per_gpu_hour: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """A piece of what an attempt wrote to standard output, to standard error and by `logging`."""

    run: str
    step: str
    attempt: int
    part: int
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step says that it is."""

    run: str
    step: str
    done: float
    total: float | None
    words: str
    at: datetime


class Hit(Struct, frozen=True, kw_only=True):
    """A step whose result came from the cache: which attempt made it, and what that had cost."""

    run: str
    step: str
    inputs: str
    code: str
    source_run: str
    source_number: int
    cpu_seconds: float
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A value that a run was given, or that a step logged as one; `words` is a short spelling of it."""

    run: str
    step: str
    name: str
    words: str
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number that a step recorded; `position` tells the points of a series apart."""

    run: str
    attempt: int
    step: str
    name: str
    position: int
    value: float
    at: datetime
