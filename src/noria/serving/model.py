"""Nouns of serving: endpoints, the routes that share their traffic out, and what was answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A version that answers a share of an endpoint's keys."""

    version: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A name under which a model answers; the rows that it meets belong to `dataset`."""

    name: str
    model: str
    dataset: str
    secret: str = field(repr=False)
    """What prediction ids are stamped with, so that one that this endpoint never gave is known at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Who answers an endpoint's requests since when and why; `epoch` counts the changes, 0 is before the first.

    The weights of `variants` sum to 1, or there are none and nobody answers. The variant on trial stands first, so
    that a key which it was given once stays with it while its weight grows. `shadows` see every request and never
    answer.
    """

    endpoint: str
    model: str
    epoch: int
    variants: tuple[Variant, ...]
    shadows: tuple[int, ...]
    at: datetime
    by: str
    reason: str

    @property
    def versions(self) -> tuple[int, ...]:
        """Return every version that has to be loaded, those that answer first."""
        return (*(variant.version for variant in self.variants), *self.shadows)


class ServableKind(StrEnum):
    """How a version is run."""

    ONNX = "onnx"
    """Inside the gateway: no code of the user's is left in it."""
    NATIVE = "native"
    """As it was trained, in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servable:
    """What a version is served as, and why in words; `inputs` are the columns it reads with their kinds, in their order.

    `blob` names the converted model; a native one is the version's own artifact. `golden` names its golden rows, None
    where it has none. A record of an earlier Noria does not tell the order of the columns: `is_ordered` is false.
    """

    model: str
    version: int
    kind: ServableKind
    inputs: Mapping[str, str]
    words: str
    blob: str | None = None
    golden: str | None = None
    is_ordered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a version was loaded last to answer an endpoint's requests: as what, or why it could not be."""

    model: str
    version: int
    kind: ServableKind | None
    words: str
    at: datetime

    @property
    def failed(self) -> bool:
        """Say whether it could not be loaded."""
        return self.kind is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescoring:
    """How many live answers of an endpoint were scored again, and how many were not what the model says.

    `positions` is how far the log was read, by segment; `version` is the last one that differed, with the words.
    """

    endpoint: str
    positions: Mapping[str, int]
    checked: int = 0
    differing: int = 0
    version: int | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """How far an endpoint's log has landed in its dataset: segments by name, and where the next landing begins.

    `plan` is where the present landing ends, so that one that was cut short is done again exactly; `waiting` is
    feedback on rows that have not come yet.
    """

    endpoint: str
    number: int
    positions: Mapping[str, int]
    plan: Mapping[str, int] | None
    waiting: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What one landing put into a dataset.

    `waiting` is feedback whose rows have not come yet, `aside` what was put aside because it does not fit,
    `repeated` how many of the rows have a key that an earlier row had already.
    """

    rows: int = 0
    labels: int = 0
    waiting: int = 0
    aside: int = 0
    repeated: int = 0


class AsideKind(StrEnum):
    """What was put aside."""

    ROW = "row"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A record of the log that fits into the dataset in no way, and why; `record` is its line."""

    kind: AsideKind
    key: str | None
    prediction: str | None
    record: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller got for one row: the score, by which version, under which prediction id."""

    prediction: str
    version: int
    score: float | None
    epoch: int


NO_ROW = msgspec.Raw(b"null")


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one version's answer to one row; answers of a live version and its shadows share `request`.

    `key` is what the route went by, `row_key` names the row in its dataset, `time` is the row's event time where the
    row said it, `at` when it was asked. `missing` counts the inputs that were null or NaN. `row` is as it was sent;
    a shadow's record has none.
    """

    request: str
    prediction: str
    key: str
    row_key: str
    at: datetime
    version: int
    score: float | None
    latency_ms: float
    missing: int = 0
    is_shadow: bool = False
    time: datetime | None = None
    error: str | None = None
    row: msgspec.Raw = NO_ROW


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What turned out to be so about a prediction, or about the row of a key; `at` is when it was told.

    `shaped` says that the model's own decision had a hand in it, as when only granted loans can default.
    """

    label: bool | int | float | str
    at: datetime
    prediction: str | None = None
    key: str | None = None
    shaped: bool = False
