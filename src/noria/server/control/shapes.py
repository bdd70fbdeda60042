"""What the control API says and hears: frozen shapes at the HTTP border, read from the rooms' nouns."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from noria.loop.model import CycleState, LoopState, Outcome

_MOST_LETTERS = 2_000
_MOST_NUMBER = 2**31 - 1


def _sayable(text: str) -> str:
    """Refuse half of a surrogate pair, which is no text."""
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        raise ValueError("half of a surrogate pair is no text") from problem
    return text


Text = Annotated[str, Field(min_length=1, max_length=_MOST_LETTERS, pattern="^[^\u0000]+$"), AfterValidator(_sayable)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern="^[^\u0000]+$"), AfterValidator(_sayable)]
Number = Annotated[int, Field(ge=1, le=_MOST_NUMBER)]


class Shape(BaseModel):
    """A frozen thing that is read from a noun's attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Asked(Shape):
    """A body that a caller sends; a field that is not known is an error, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Shape):
    """What went wrong (RFC 9457); `code` is stable, `hint` names the way out."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class Health(Shape):
    """The process answers, and so does its database."""

    status: str
    version: str


class Reason(Shape):
    """Why a cycle was opened."""

    trigger: str
    words: str


class CycleLine(Shape):
    """One turn of a loop, in short."""

    id: str
    loop: str
    number: int
    state: CycleState
    outcome: Outcome | None
    reasons: Sequence[Reason]
    opened_at: datetime
    settled_at: datetime | None
    words: str
    candidate: int | None
    champion: int | None
    promoted: int | None


class Cycle(CycleLine):
    """One turn of a loop with its evidence: the numbers, and the gate's verdict with reasons in words."""

    snapshot: str
    run: str | None
    deadline: datetime | None
    looks: int
    evidence: Mapping[str, Any]
    verdict: Mapping[str, Any]
    charged_cpu_seconds: float


class Cycles(Shape):
    """Cycles, newest first; `next` is the `after` of the page that follows, null at the end."""

    items: Sequence[CycleLine]
    next: str | None


class Loop(Shape):
    """A loop: what was declared, where in its circle it is, what has come since its last cycle."""

    name: str
    state: LoopState
    dataset: str
    model: str
    turns_on: str
    champion: int | None
    cycles: int
    rows_since: int
    labels_since: int
    started_at: datetime
    started_by: str
    open_cycle: CycleLine | None
    spec: Mapping[str, Any]


class Loops(Shape):
    """All loops, by name."""

    items: Sequence[Loop]


class CycleAsked(Asked):
    """A cycle that somebody asks for, and why."""

    reason: Text


class Accepted(Shape):
    """It is told, and will be answered by a worker."""

    words: str


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


class Variant(Shape):
    """A version with its share of the keys."""

    version: int
    weight: float


class Endpoint(Shape):
    """Who answers an endpoint's requests since when and why."""

    endpoint: str
    model: str
    epoch: int
    variants: Sequence[Variant]
    shadows: Sequence[int]
    at: datetime
    by: str
    reason: str


class Endpoints(Shape):
    """All endpoints, by name, with their routes."""

    items: Sequence[Endpoint]


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


class Heard(Shape):
    """An event was taken note of; `is_new` is false for one that was heard before."""

    id: str
    source: str
    is_new: bool
