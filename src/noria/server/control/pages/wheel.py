"""Draws where a loop is in its circle: a wheel whose stations are the stages of a turn."""

import math
from dataclasses import dataclass

from noria.loop.model import Cycle, CycleState

STATIONS = ("data", "guard", "train", "evaluate", "gate", "review", "roll out", "live")
_AT = {
    CycleState.OPENED: "data",
    CycleState.GUARDING: "guard",
    CycleState.TRAINING: "train",
    CycleState.EVALUATING: "evaluate",
    CycleState.GATING: "gate",
    CycleState.REVIEWING: "review",
    CycleState.ROLLING_OUT: "roll out",
}
_RADIUS, _WORDS_AT = 62.0, 84.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One stage on the wheel: where its dot and its word stand, and whether the loop is there or has passed it."""

    name: str
    x: float
    y: float
    words_x: float
    words_y: float
    anchor: str
    look: str


def stations(cycle: Cycle | None, *, champion: int | None) -> tuple[Station, ...]:
    """Return the wheel's stations; without an open cycle the loop rests where its champion is live, or waits for data."""
    resting = "data" if champion is None else "live"
    here = STATIONS.index(resting if cycle is None else _AT[cycle.state])
    return tuple(_station(place, here=here, turns=cycle is not None) for place in range(len(STATIONS)))


def _station(place: int, *, here: int, turns: bool) -> Station:
    angle = 2 * math.pi * place / len(STATIONS) - math.pi / 2
    across, down = math.cos(angle), math.sin(angle)
    look = "ahead"
    if place == here:
        look = "here" if turns or place else "waiting"
    elif turns and place < here:
        look = "passed"
    return Station(
        name=STATIONS[place],
        x=round(_RADIUS * across, 2),
        y=round(_RADIUS * down, 2),
        words_x=round(_WORDS_AT * across, 2),
        words_y=round(_WORDS_AT * down + 4, 2),
        anchor="middle" if abs(across) < 0.1 else ("start" if across > 0 else "end"),  # noqa: PLR2004 - straight up or down
        look=look,
    )
