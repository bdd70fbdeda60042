"""Nouns of guards: what a check found, what follows from it, schemas, and what is in quarantine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from noria.core.errors import NotFound
from noria.datasets.holding import Held
from noria.datasets.model import FragmentKind, Hold


class Action(StrEnum):
    """What follows from a finding; of several, the gravest counts."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    WARN = "warn"
    QUARANTINE = "quarantine"
    STOP = "stop"

    @property
    def gravity(self) -> int:
        """Return how grave it is, from 0 for a pass."""
        return list(Action).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check found: what follows, why in words, by which numbers, and which rows or labels it is about.

    `source` and `column` say what it is about, where it is about one.
    """

    guard: str
    action: Action
    words: str
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    source: str | None = None
    column: str | None = None
    holds: tuple[Hold, ...] = field(default=(), repr=False)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values: of the rows it holds only how many."""
        return {
            "guard": self.guard,
            "action": self.action.value,
            "words": self.words,
            "numbers": {name: round(float(value), 6) for name, value in self.numbers.items()},
            "source": self.source,
            "column": self.column,
            "held": len(self.holds),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What all guards of a loop found in a batch."""

    findings: tuple[Finding, ...] = ()

    @property
    def action(self) -> Action:
        """Return the gravest of what follows; a pass if nothing was found."""
        return max((finding.action for finding in self.findings), key=lambda each: each.gravity, default=Action.PASS)

    @property
    def held(self) -> Held:
        """Return what goes into quarantine."""
        return Held(hold for finding in self.findings for hold in finding.holds)

    def words(self, action: Action) -> tuple[str, ...]:
        """Return the reasons for one action."""
        return tuple(finding.words for finding in self.findings if finding.action is action)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule:
    """What one column may hold; None where nothing is asked."""

    name: str
    kind: str
    nullable: bool = True
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None


class SchemaState(StrEnum):
    """Whether somebody has reviewed a schema: a proposed one only warns, an approved one is enforced."""

    PROPOSED = "proposed"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A numbered version of what a dataset's rows may be."""

    dataset: str
    version: int
    state: SchemaState
    columns: tuple[ColumnRule, ...]
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.dataset}@{self.version}"

    def column(self, name: str) -> ColumnRule:
        """Return one column's rule; raises `NotFound`."""
        for rule in self.columns:
            if rule.name == name:
                return rule
        raise NotFound("column", name, known=[rule.name for rule in self.columns])


class QuarantineState(StrEnum):
    """What became of a row or a label that was put into quarantine."""

    HELD = "held"
    RELEASED = "released"
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One row or label in quarantine, or what became of it; of an erased one, `key` is a keyed commitment.

    `through` is the snapshot whose labels, and those before, are held. `held_in` and `ended_in` are numbers of
    changes to the dataset's quarantine, so that what was held at any change can be read again.
    """

    dataset: str
    kind: FragmentKind
    key: str
    time: datetime
    through: int
    source: str
    guard: str
    reason: str
    cycle: str
    state: QuarantineState
    held_in: int
    ended_in: int | None
    by: str
    at: datetime
    place: int = 0
    """Where it stands among what the same change has held."""

    def hold(self) -> Hold:
        """Return what a read has to leave out."""
        return Hold(kind=self.kind, key=self.key, time=self.time, through=self.through)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineGroup:
    """The rows or labels that one finding put into quarantine, and how they stand."""

    dataset: str
    source: str
    guard: str
    cycle: str
    kind: FragmentKind
    state: QuarantineState
    count: int
    reason: str
    by: str
    at: datetime
