"""Datasets, their snapshots, what is in quarantine, and signals."""

from collections.abc import Sequence
from datetime import datetime

from noria.datasets.model import FragmentKind
from noria.guards.model import QuarantineState
from noria.guards.rules import Choice
from noria.server.control.shapes.shape import Asked, Name, Number, Shape, Text


class Snapshot(Shape):
    """An immutable, numbered version of a dataset."""

    id: str
    number: int
    digest: str
    rows: int
    labels: int
    source: str
    arrived_at: datetime
    committed_at: datetime
    committed_by: str


class Dataset(Shape):
    """A dataset: what names its rows, when they happened, what is predicted, and its newest snapshot."""

    name: str
    key: str
    time: str
    label: str | None
    latest: Snapshot | None


class Datasets(Shape):
    """All datasets, by name."""

    items: Sequence[Dataset]


class Snapshots(Shape):
    """A dataset's snapshots, oldest first."""

    items: Sequence[Snapshot]


class HeldGroup(Shape):
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


class HeldGroups(Shape):
    """What is or was in quarantine, by finding, oldest first."""

    items: Sequence[HeldGroup]


class Held(Shape):
    """One row or label in quarantine, or what became of it; of an erased one, `key` is a keyed commitment."""

    key: str
    time: datetime
    kind: FragmentKind
    state: QuarantineState
    source: str
    guard: str
    cycle: str
    reason: str
    by: str
    at: datetime


class HeldPage(Shape):
    """Rows and labels in the order in which they were held; `next` is the `after` of the page that follows."""

    items: Sequence[Held]
    next: str | None


class Chosen(Asked):
    """Which held rows and labels are meant (everything held, if nothing is named), and why."""

    source: Name | None = None
    guard: Name | None = None
    cycle: Name | None = None
    key: Text | None = None
    reason: Text

    def choice(self) -> Choice:
        """Return what is meant."""
        return Choice(source=self.source, guard=self.guard, cycle=self.cycle, key=self.key)


class Erasing(Chosen):
    """What is to be erased for good, and how many rows and labels that is: another number is a conflict."""

    count: Number


class Released(Shape):
    """How many rows and labels are read again."""

    dataset: str
    which: str
    released: int


class Erased(Shape):
    """What was removed from how many snapshots; `commitment` stands for the keys, which are kept nowhere."""

    dataset: str
    which: str
    rows: int
    labels: int
    snapshots: int
    commitment: str


class Signal(Shape):
    """Something that a monitor saw move over its threshold; `subject` is the loop that is watched."""

    id: str
    subject: str
    kind: str
    value: float
    threshold: float
    words: str
    raised_at: datetime


class Signals(Shape):
    """Signals, newest first; `next` is the `after` of the page that follows, null at the end."""

    items: Sequence[Signal]
    next: str | None
