"""What is retired, and what a removal takes."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from noria.loop.removal_model import Kind
from noria.server.control.shapes.shape import Asked, Name, Shape, Text


class Named(Asked):
    """A thing, and why somebody asks for it to be retired or restored."""

    kind: Kind
    name: Name
    reason: Text


class Unwanted(Named):
    """A thing to be removed; `with_users` takes along what needs it, `dry_run` changes nothing."""

    with_users: bool = False
    dry_run: bool = True


class Thing(Shape):
    """A thing by its kind and name."""

    kind: Kind
    name: str


class Retirement(Shape):
    """A thing that lists leave out."""

    thing: Thing
    at: datetime
    by: str
    reason: str


class Retirements(Shape):
    """What is retired, by kind and name."""

    items: Sequence[Retirement]


class Removal(Shape):
    """What a removal took, or would take: rows by table, the things that need it, what has to end first."""

    thing: Thing
    used_by: Sequence[Thing]
    busy: Sequence[str]
    rows: Mapping[str, int]
    dry_run: bool
