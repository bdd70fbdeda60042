"""Facts, and signed checkpoints of the ledger."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from noria.server.control.shapes.shape import Shape


class Fact(Shape):
    """One thing that happened, at its place in the ledger."""

    position: int
    id: str
    kind: str
    actor: str
    subject: str
    at: datetime
    payload: Mapping[str, Any]


class Facts(Shape):
    """Facts in their order; follow them by asking again with `after` set to `next`."""

    items: Sequence[Fact]
    next: int


class Checkpoint(Shape):
    """A signed statement of the ledger's size and root; keep the note where nobody who writes the database can reach."""

    size: int
    root: str
    at: datetime
    note: str
