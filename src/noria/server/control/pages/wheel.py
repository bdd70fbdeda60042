"""Draws where a loop is in its circle: a wheel whose stations are the stages of a turn."""

import math
from dataclasses import dataclass

from noria.loop.model import Cycle, CycleState, Outcome

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
_ENDED_AT = {
    Outcome.PROMOTED: "live",
    Outcome.REJECTED: "gate",
    Outcome.QUARANTINED: "guard",
    Outcome.DECLINED: "review",
    Outcome.ROLLED_BACK: "roll out",
    Outcome.SKIPPED: "data",
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


def of_loop(cycle: Cycle | None, *, champion: int | None) -> tuple[Station, ...]:
    """Return the wheel of a loop; without an open cycle it rests where its champion is live, or waits for data."""
    if cycle is not None:
        return _drawn(_AT[cycle.state], look="here", has_passed=True)
    if champion is not None:
        return _drawn("live", look="here", has_passed=False)
    return _drawn("data", look="waiting", has_passed=False)


def of_cycle(cycle: Cycle) -> tuple[Station, ...]:
    """Return the wheel of one cycle: where it is, or how far it came."""
    if cycle.outcome is None:
        return of_loop(cycle, champion=None)
    look = "here" if cycle.outcome is Outcome.PROMOTED else "stopped"
    return _drawn(_ENDED_AT.get(cycle.outcome) or _failed_at(cycle), look=look, has_passed=True)


def _failed_at(cycle: Cycle) -> str:
    """Return how far a cycle came that has failed, by what it has left behind."""
    if cycle.guarded is None:
        return "guard"
    if cycle.candidate is None:
        return "train"
    return "roll out" if cycle.verdict else "gate"


def _drawn(at: str, *, look: str, has_passed: bool) -> tuple[Station, ...]:
    here = STATIONS.index(at)
    looks = ["passed" if has_passed else "ahead"] * here + [look] + ["ahead"] * (len(STATIONS) - here - 1)
    return tuple(_station(place, each) for place, each in enumerate(looks))


def _station(place: int, look: str) -> Station:
    angle = 2 * math.pi * place / len(STATIONS) - math.pi / 2
    across, down = math.cos(angle), math.sin(angle)
    return Station(
        name=STATIONS[place],
        x=round(_RADIUS * across, 2),
        y=round(_RADIUS * down, 2),
        words_x=round(_WORDS_AT * across, 2),
        words_y=round(_WORDS_AT * down + 4, 2),
        anchor="middle" if abs(across) < 0.1 else ("start" if across > 0 else "end"),  # noqa: PLR2004 - straight up or down
        look=look,
    )
