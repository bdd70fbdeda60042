"""Endpoints, who answers there, and candidates on their way in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from noria.rollouts.model import Next, RolloutState
from noria.server.control.shapes.shape import Shape


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


class Stage(Shape):
    """A share of the keys that the candidate answers; 0 is shadow. It lasts so many seconds at least."""

    name: str
    weight: float
    seconds: float


class Reading(Shape):
    """One metric at one look: both means, their difference between its bounds, or why it is unread. More is worse."""

    metric: str
    margin: float
    tolerance: float
    candidate: float | None
    champion: float | None
    difference: float | None
    low: float | None
    high: float | None
    keys: int
    unread: str


class Look(Shape):
    """What was decided at a look, and by which readings; `shown` are the losses that were within their margin by then."""

    next: Next
    reasons: Sequence[str]
    readings: Sequence[Reading]
    requests: int
    shown: Sequence[str]
    aborted_on: Sequence[str]


class Passed(Shape):
    """A stage that is behind the candidate, with the look that passed it."""

    stage: str
    since: datetime
    look: Look


class RolloutLine(Shape):
    """One candidate's way in, in short; `exposed` counts its live answers, `look_due` is the next look."""

    id: str
    endpoint: str
    model: str
    candidate: int
    champion: int
    state: RolloutState
    stage: str
    looks: int
    exposed: int
    began_at: datetime
    stage_at: datetime
    look_due: datetime | None
    ended_at: datetime | None
    words: str


class Rollout(RolloutLine):
    """One candidate's way in with its evidence: its stages, those it has passed, and the last look."""

    stages: Sequence[Stage]
    passed: Sequence[Passed]
    look: Look | None
    spec: Mapping[str, Any]


class Rollouts(Shape):
    """Rollouts, newest first; `next` is the `after` of the page that follows, null at the end."""

    items: Sequence[RolloutLine]
    next: str | None
