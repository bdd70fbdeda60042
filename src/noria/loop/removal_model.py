"""What can be retired and removed, what goes with it, and what stands in the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from noria.store.retirements import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One of them, by its kind and name."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"

    @property
    def place(self) -> tuple[int, str]:
        """Return where it stands among others that go: what needs others goes before them."""
        return list(Kind).index(self.kind), self.name

    @property
    def subject(self) -> str:
        """Return what facts about its removal are filed under."""
        return f"{self.kind.value}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """A thing that lists hide and that does nothing, since when, by whom and why."""

    thing: Thing
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What a removal takes, or would take: the things, how many rows of which tables, and what stands in the way.

    `used_by` are the things that need it, and go with it where that is asked for; `busy` says what has to end first.
    """

    thing: Thing
    used_by: tuple[Thing, ...] = ()
    busy: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict[str, int])

    def words(self) -> str:
        """Return what goes as a person would say it."""
        counted = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in self.rows.items() if count)
        others = "".join(f", {thing}" for thing in self.used_by)
        return f"{self.thing}{others}: {counted or 'nothing is left of it'}"
