"""What the pages show, gathered from the rooms and put into words; the templates only lay it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noria.boot import Platform
from noria.core.context import Context
from noria.evaluation.model import Comparison, Evidence
from noria.loop.model import Cycle, CycleState, CyclesWanted, LoopRow, LoopState
from noria.server.control.pages import wheel
from noria.server.control.pages.spelling import Link, cycle_link, moment, version_link

_DECISIONS = 12
_WAITS = {
    CycleState.OPENED: "a cycle was opened",
    CycleState.GUARDING: "the data is being looked at",
    CycleState.TRAINING: "a candidate is being trained",
    CycleState.EVALUATING: "the candidate is being judged beside the champion",
    CycleState.GATING: "the gate is deciding",
    CycleState.REVIEWING: "a person is asked to decide",
    CycleState.ROLLING_OUT: "the candidate is being rolled out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSeen:
    """A loop on the first page."""

    name: str
    tone: str
    state: str
    words: str
    stations: Sequence[wheel.Station]
    champion: Link | None
    since: str
    dataset: str
    turns_on: str
    come: str
    cycle: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A cycle in a line: when, which, how it settled, why."""

    cycle: Link
    loop: str
    at: str
    outcome: str
    words: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One comparison as a row, with its interval drawn on a common scale of 0 to 100."""

    name: str
    candidate: str
    other: str
    gain: str
    interval: str
    bar: Mapping[str, float]
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSeen:
    """A cycle on its own page."""

    loop: str
    number: int
    outcome: str
    words: str
    stations: Sequence[wheel.Station]
    facts: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, Link]]
    because: Sequence[str]
    verdict: str
    reasons: Sequence[str]
    rival: str
    judged_on: str
    measured: Sequence[Measured]
    slices: Sequence[Measured]
    unread: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSeen:
    """A version on its own page."""

    model: str
    number: int
    is_champion: bool
    lines: Sequence[tuple[str, str]]


def loops(home: Platform, context: Context) -> list[LoopSeen]:
    """Return every loop of the project that is not retired as the first page shows it."""
    return [_loop(home, context, row) for row in home.loops.all(context)]


def decisions(home: Platform, context: Context) -> list[Decision]:
    """Return the newest cycles, each with its outcome and reason in words."""
    return [
        Decision(
            cycle=_cycle_link(cycle),
            loop=cycle.loop,
            at=moment(cycle.settled_at or cycle.opened_at),
            outcome=_outcome(cycle),
            words=cycle.words or _WAITS.get(cycle.state, ""),
            because="; ".join(reason.words for reason in cycle.reasons),
        )
        for cycle in home.loops.page(context, CyclesWanted(limit=_DECISIONS))
    ]


def cycle(home: Platform, context: Context, cycle_id: str) -> CycleSeen:
    """Return one cycle with its evidence; raises `NotFound`."""
    found = home.loops.cycle(context, cycle_id)
    model = str(home.loops.get(context, found.loop).spec["model"])
    evidence = Evidence.from_plain(found.evidence) if found.evidence else None
    numbers = (("candidate", found.candidate), ("champion then", found.champion), ("promoted", found.promoted))
    return CycleSeen(
        loop=found.loop,
        number=found.number,
        outcome=_outcome(found),
        words=found.words or _WAITS.get(found.state, ""),
        stations=wheel.of_cycle(found),
        facts=_facts(home, context, found),
        versions=[(what, version_link(model, number)) for what, number in numbers if number is not None],
        because=[reason.words for reason in found.reasons],
        verdict=str(found.verdict.get("outcome", "")),
        reasons=[str(reason) for reason in found.verdict.get("reasons", ())],
        rival="rival" if evidence is None else evidence.rival.value,
        judged_on="" if evidence is None else _judged_on(evidence),
        measured=[] if evidence is None else _scaled([(each.metric, each) for each in _comparisons(evidence)]),
        slices=[] if evidence is None else _scaled(_slices(evidence)),
        unread=() if evidence is None else evidence.unread,
    )


def version(home: Platform, context: Context, model: str, number: int) -> VersionSeen:
    """Return why a version exists; raises `NotFound`."""
    story = home.loops.why(context, model, number)
    champion = home.registry.alias(context, model).version
    return VersionSeen(model=model, number=number, is_champion=champion == number, lines=story)


def _loop(home: Platform, context: Context, row: LoopRow) -> LoopSeen:
    model = str(row.spec["model"])
    champion = home.registry.alias(context, model).version
    moves = home.registry.moves(context, model)
    turning = home.loops.open_cycle(context, row.name)
    paused = row.state is LoopState.PAUSED
    resting = (
        "no champion yet; waits for a reason to turn"
        if champion is None
        else "the champion is live; nothing that has come asks for another turn"
    )
    streak = home.loops.streak(context, row.name)
    resting = resting if streak is None else f"needs a look: {streak.words()}"
    words = resting if turning is None else turning.words or _WAITS[turning.state]
    return LoopSeen(
        name=row.name,
        tone="paused" if paused else ("turning" if turning is not None else "resting"),
        state="paused"
        if paused
        else ("turning" if turning is not None else "at rest" if streak is None else "in vain"),
        words="paused: what comes is answered when it is resumed; a candidate on its way in is still looked at"
        if paused
        else words,
        stations=wheel.of_loop(turning, champion=champion),
        champion=None if champion is None else version_link(model, champion),
        since="" if not moves else f"since {moment(moves[-1].at)}",
        dataset=row.dataset,
        turns_on=str(row.spec["when"]["words"]),
        come=f"{row.standing.rows:,} rows and {row.standing.labels:,} labels since the last cycle",
        cycle=None if turning is None else _cycle_link(turning),
    )


def _facts(home: Platform, context: Context, found: Cycle) -> list[tuple[str, str]]:
    told = [
        ("opened", moment(found.opened_at)),
        ("settled", "" if found.settled_at is None else moment(found.settled_at)),
        ("data", str(home.datasets.snapshot(context, found.snapshot))),
        ("run", found.run or ""),
        ("looks", str(found.looks) if found.looks > 1 else ""),
        ("waits until", "" if found.deadline is None else moment(found.deadline)),
        ("training charged", f"{found.charged_cpu_seconds:.1f} s of CPU" if found.charged_cpu_seconds else ""),
    ]
    return [(name, words) for name, words in told if words]


def _outcome(found: Cycle) -> str:
    return found.state.value.replace("_", " ") if found.outcome is None else found.outcome.value.replace("_", " ")


def _cycle_link(found: Cycle) -> Link:
    return cycle_link(found.id, words=f"cycle {found.number}")


def _judged_on(evidence: Evidence) -> str:
    return f"{evidence.rows:,} rows from {moment(evidence.since)} to {moment(evidence.until)}"


def _comparisons(evidence: Evidence) -> list[Comparison]:
    return [*evidence.comparisons, *([] if evidence.anchor is None else [evidence.anchor])]


def _slices(evidence: Evidence) -> list[tuple[str, Comparison]]:
    read = [(part, part.comparison) for part in evidence.slices if part.comparison is not None]
    return [(f"{part.column} = {part.value}", found) for part, found in read]


def _scaled(found: Sequence[tuple[str, Comparison]]) -> list[Measured]:
    """Draw all intervals on one scale, zero in the middle."""
    reach = max((abs(bound) for _, each in found for bound in (each.low, each.high, each.gain)), default=0.0) or 1.0

    def place(value: float) -> float:
        return round(50 + 48 * value / reach, 2)

    return [
        Measured(
            name=name,
            candidate=f"{each.candidate:.4f}",
            other=f"{each.other:.4f}",
            gain=f"{each.gain:+.4f}",
            interval=f"{each.low:+.4f} to {each.high:+.4f}",
            bar={"low": place(each.low), "high": place(each.high), "gain": place(each.gain)},
            tone="better" if each.low > 0 else ("worse" if each.high < 0 else "level"),
        )
        for name, each in found
    ]
