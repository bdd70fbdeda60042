"""Models, their versions, and the moves of their champions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from noria.server.control.shapes.shape import Asked, Number, Shape, Text


class Version(Shape):
    """A registered result of training."""

    model: str
    number: int
    run: str
    snapshot: str
    trained_through: datetime
    code: str
    environment: str
    parent: int | None
    params: Mapping[str, Any]
    created_at: datetime
    created_by: str


class Move(Shape):
    """One move of the champion: from where to where, when, by whom and why."""

    epoch: int
    before: int | None
    to: int | None
    at: datetime
    actor: str
    reason: str
    is_rollback: bool


class Model(Shape):
    """A model: its champion, its anchor, how many versions it has."""

    name: str
    champion: int | None
    anchor: int | None
    versions: int


class Models(Shape):
    """All models, by name."""

    items: Sequence[Model]


class Versions(Shape):
    """A model's versions, oldest first, and the moves of its champion."""

    items: Sequence[Version]
    champion: int | None
    moves: Sequence[Move]


class Line(Shape):
    """A headed line of a story."""

    step: str
    words: str


class Why(Shape):
    """Why a version exists and who decided what about it."""

    model: str
    number: int
    lines: Sequence[Line]


class Promotion(Asked):
    """Which version is to be the champion, and why."""

    version: Number
    reason: Text


class Rollback(Asked):
    """Which version to go back to (the champion before, if none is named), and why."""

    to: Number | None = None
    reason: Text = "asked by hand"


class Moved(Shape):
    """Where the champion is now, and where it was."""

    model: str
    version: int | None
    before: int | None
    epoch: int
