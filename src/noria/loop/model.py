"""A cycle is one turn of a loop: why it was opened, what was decided on the way, how it settled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class CycleState(StrEnum):
    """Where in its turn a cycle is."""

    OPENED = "opened"
    GUARDING = "guarding"
    TRAINING = "training"
    EVALUATING = "evaluating"
    GATING = "gating"
    REVIEWING = "reviewing"
    ROLLING_OUT = "rolling_out"
    SETTLED = "settled"


class Outcome(StrEnum):
    """How a cycle settled."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    DECLINED = "declined"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    SKIPPED = "skipped"


class LoopState(StrEnum):
    """Whether a loop answers facts."""

    RUNNING = "running"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a cycle was opened: the trigger, and its words with the numbers it saw."""

    trigger: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has come to a loop since its last cycle was opened; this is how triggers are coalesced, never lost."""

    rows: int = 0
    labels: int = 0
    commits: int = 0
    due: tuple[str, ...] = ()
    signals: tuple[Mapping[str, Any], ...] = ()
    requests: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened elsewhere, as CloudEvents 1.0 tells it; `source` and `id` together name it once.

    `data` is whatever plain value the sender gave. It is kept beside the ledger, which holds only its digest.
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclesWanted:
    """Which cycles to list, newest first: of one loop, in one state, of one outcome, or of all."""

    loop: str | None = None
    state: CycleState | None = None
    outcome: Outcome | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRow:
    """A loop as the database knows it; `cursor` is the position of the last fact it has answered.

    `counts_from` says of each schedule from when it counts. `set_back_at` is when the clock was last found set back.
    """

    name: str
    project: str
    state: LoopState
    dataset: str
    spec: Mapping[str, Any]
    digest: str
    started_at: datetime
    started_by: str
    cursor: int
    scheduled_through: datetime
    standing: Standing
    watch: Mapping[str, Any]
    cycles: int
    counts_from: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    set_back_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One turn of a loop."""

    id: str
    project: str
    loop: str
    number: int
    state: CycleState
    reasons: tuple[Reason, ...]
    opened_at: datetime
    snapshot: str
    outcome: Outcome | None = None
    settled_at: datetime | None = None
    words: str = ""
    run: str | None = None
    candidate: int | None = None
    champion: int | None = None
    promoted: int | None = None
    rollout: str | None = None
    deadline: datetime | None = None
    looks: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    verdict: Mapping[str, Any] = field(default_factory=dict[str, Any])
    guarded: Mapping[str, Any] | None = None
    """What the guards found, and the change to the quarantine after which the cycle learns; None until they judged."""
    charged_cpu_seconds: float = 0.0

    @property
    def is_open(self) -> bool:
        """Say whether the cycle still turns."""
        return self.state is not CycleState.SETTLED


class Duty(StrEnum):
    """What a worker does for a loop as time passes, beside answering facts."""

    LANDING = "landing"
    """What its endpoints have met goes into its dataset."""
    CLOCK = "clock"
    """Schedules, rests and deadlines are told when they are due."""
    LOOK = "look"
    """The rollout on its way is looked at."""
    RESCORING = "rescoring"
    """A sample of what was answered is scored again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stumble:
    """What a loop could not do because its code raised: a fact that it has to answer, or a duty.

    `over` is the fact's id or the duty, `what` the fact's kind or the duty. It is tried again at `retry_at`; None says
    that it was set aside, and `cycle` names the cycle that this has ended. `error` is the reason in words.
    """

    project: str
    loop: str
    over: str
    what: str
    tries: int
    error: str
    trace: str
    began_at: datetime
    at: datetime
    retry_at: datetime | None
    cycle: str | None = None

    @property
    def is_set_aside(self) -> bool:
        """Say whether it is tried no more until a person asks for it."""
        return self.retry_at is None

    def words(self) -> str:
        """Return what happened as a person would say it."""
        tries = "once" if self.tries == 1 else f"{self.tries} times"
        return f"{self.what} raised {tries}: {self.error}"
