"""Facts: what was decided, by whom, when; each starts the verb that `loop/table.py` names for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class FactKind(StrEnum):
    """Every kind of fact there is; `docs/facts.md` says of each who writes it and what it starts."""

    DATASET_CREATED = "dataset.created"
    DATASET_COMMITTED = "dataset.committed"
    FEEDBACK_LANDED = "feedback.landed"
    RECORDS_PUT_ASIDE = "records.put_aside"
    SCHEMA_PROPOSED = "schema.proposed"
    SCHEMA_APPROVED = "schema.approved"
    ROWS_QUARANTINED = "rows.quarantined"
    ROWS_RELEASED = "rows.released"
    ROWS_ERASED = "rows.erased"
    SIGNAL_RAISED = "signal.raised"
    SCHEDULE_DUE = "schedule.due"
    CLOCK_SET_BACK = "clock.set_back"
    LOOP_STARTED = "loop.started"
    LOOP_PAUSED = "loop.paused"
    LOOP_RESTED = "loop.rested"
    FACT_SET_ASIDE = "fact.set_aside"
    FACT_RETRIED = "fact.retried"
    CYCLE_REQUESTED = "cycle.requested"
    EVENT_RECEIVED = "event.received"
    CYCLE_OPENED = "cycle.opened"
    CYCLE_SETTLED = "cycle.settled"
    DATA_PASSED = "data.passed"
    DATA_STOPPED = "data.stopped"
    RUN_SUCCEEDED = "run.succeeded"
    RUN_FAILED = "run.failed"
    RUN_RESUMED = "run.resumed"
    RUN_CANCELLED = "run.cancelled"
    RUN_PAUSED = "run.paused"
    MODEL_REGISTERED = "model.registered"
    MODEL_EVALUATED = "model.evaluated"
    MODEL_PROMOTED = "model.promoted"
    MODEL_ROLLED_BACK = "model.rolled_back"
    GATE_PASSED = "gate.passed"
    GATE_FAILED = "gate.failed"
    GATE_UNSURE = "gate.unsure"
    GATE_REOPENED = "gate.reopened"
    GATE_EXPIRED = "gate.expired"
    REVIEW_REQUESTED = "review.requested"
    REVIEW_APPROVED = "review.approved"
    REVIEW_REFUSED = "review.refused"
    REVIEW_EXPIRED = "review.expired"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_ADVANCED = "rollout.advanced"
    ROLLOUT_FINISHED = "rollout.finished"
    ROLLOUT_ABORTED = "rollout.aborted"
    ENDPOINT_CREATED = "endpoint.created"
    ROUTE_CHANGED = "route.changed"
    OBJECT_RETIRED = "object.retired"
    OBJECT_RESTORED = "object.restored"
    OBJECT_REMOVED = "object.removed"
    ACCESS_GRANTED = "access.granted"
    ACCESS_REVOKED = "access.revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that happened; `position` is its place in the ledger, None until the sequencer has sealed it."""

    id: str
    position: int | None
    kind: FactKind
    project: str
    actor: str
    subject: str
    at: datetime
    payload: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """Return what the leaf of the tree is made of: all that a reader is told."""
        return {
            "id": self.id,
            "position": self.position,
            "kind": self.kind.value,
            "project": self.project,
            "actor": self.actor,
            "subject": self.subject,
            "at": self.at.isoformat(),
            "payload": dict(self.payload),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement: the ledger had this many facts, and this was the root of its tree."""

    size: int
    root: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a check of the whole ledger found; no problems means that every proof holds."""

    facts: int
    unsealed: int
    root: str
    checkpoints: int
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Say whether nothing was found wrong."""
        return not self.problems
