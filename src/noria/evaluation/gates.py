"""Holds evidence against a gate; what cannot be read is never a pass."""

from collections.abc import Mapping
from typing import Any

from noria.core.errors import Invalid
from noria.evaluation.model import Comparison, Evidence, Outcome, Rival, Verdict
from noria.evaluation.spec import Gate
from noria.stats import power as powers

_Found = tuple[Outcome, str]


def judge_plain(evidence: Mapping[str, Any], gate: Gate | None) -> Verdict:
    """Judge evidence as it was recorded; without a gate everything passes, and the verdict says so."""
    if gate is None:
        return Verdict(outcome=Outcome.PASSED, reasons=("no gate was asked for",))
    return judge(Evidence.from_plain(evidence), gate)


def judge(evidence: Evidence, gate: Gate) -> Verdict:
    """Return passed if every bar is cleared, failed if any is missed, else unsure; with reasons in words.

    A first candidate has no champion to beat: it must be better than the base rate.
    """
    main = evidence.of(gate.metric)
    if evidence.unread or main is None:
        return Verdict(outcome=Outcome.UNSURE, reasons=evidence.unread or (f"{gate.metric} was not compared",))
    if evidence.rival is Rival.BASE_RATE:
        found = [_held(main, bar=0.0)]
    else:
        bar = 0.0 if gate.test == "superiority" else -gate.margin
        found = [
            _held(main, bar=bar),
            *_worth(main, gate),
            *_guards(evidence, gate),
            *_slices(evidence, gate),
            *_anchor(evidence, gate),
        ]
    outcomes = [outcome for outcome, _ in found]
    if Outcome.FAILED in outcomes:
        return Verdict(outcome=Outcome.FAILED, reasons=_words(found, Outcome.FAILED), power=_power(main, gate))
    if Outcome.UNSURE in outcomes:
        reasons = _words(found, Outcome.UNSURE)
        more = _more_labels(evidence, main, gate)
        return Verdict(outcome=Outcome.UNSURE, reasons=reasons, power=_power(main, gate), more_labels=more)
    return Verdict(outcome=Outcome.PASSED, reasons=_words(found, Outcome.PASSED), power=_power(main, gate))


def _held(found: Comparison, *, bar: float) -> _Found:
    """Hold one comparison against a bar on its gain."""
    said = f"{found.words()}, the bar is {bar:+g}"
    if found.low > bar or (found.standard_error == 0 and found.gain > bar):
        return Outcome.PASSED, said
    if found.high < bar or found.gain <= bar:
        return Outcome.FAILED, said
    return Outcome.UNSURE, f"{said}: the interval reaches across it"


def _worth(main: Comparison, gate: Gate) -> list[_Found]:
    if gate.min_gain is None or main.gain >= gate.min_gain:
        return []
    return [(Outcome.FAILED, f"{main.words()}: not worth a promotion, which asks for a gain of {gate.min_gain:+g}")]


def _guards(evidence: Evidence, gate: Gate) -> list[_Found]:
    held: list[_Found] = []
    for name, margin in gate.guards:
        found = evidence.of(name)
        held.append((Outcome.UNSURE, f"{name} was not compared") if found is None else _held(found, bar=-margin))
    return held


def _slices(evidence: Evidence, gate: Gate) -> list[_Found]:
    """Fail on a slice that is worse by more than the floor, and surely worse; a slice too small blocks nothing."""
    if gate.max_slice_drop is None:
        return []
    found = [(part, part.comparison) for part in evidence.slices if part.comparison is not None]
    return [
        (
            Outcome.FAILED,
            f"{part.column} = {part.value} ({part.rows:,} rows): {comparison.words()}, the floor is {-gate.max_slice_drop:+g}",
        )
        for part, comparison in found
        if comparison.gain < -gate.max_slice_drop and comparison.high < 0
    ]


def _anchor(evidence: Evidence, gate: Gate) -> list[_Found]:
    """Fail a candidate that is surely worse than the anchor by more than its margin: no slow slide downhill."""
    found = evidence.anchor
    if gate.anchor_margin is None or found is None or found.high >= -gate.anchor_margin:
        return []
    return [(Outcome.FAILED, f"{found.words()}, the margin is {-gate.anchor_margin:+g}")]


def _words(found: list[_Found], outcome: Outcome) -> tuple[str, ...]:
    return tuple(words for one, words in found if one is outcome)


def _margin(evidence_rival: Rival, gate: Gate) -> float:
    return 0.0 if gate.test == "superiority" or evidence_rival is Rival.BASE_RATE else gate.margin


def _power(main: Comparison, gate: Gate) -> float | None:
    """Return the chance that this gate, on such rows, passes a candidate that is as good as its rival."""
    if main.standard_error <= 0:
        return None
    margin = _margin(main.rival, gate)
    return powers.power(standard_error=main.standard_error, margin=margin, alpha=gate.alpha_per_look)


def _more_labels(evidence: Evidence, main: Comparison, gate: Gate) -> int | None:
    """Return how many more labels would let the estimate that was seen pass four times in five."""
    try:
        units = powers.units_needed(
            standard_error=main.standard_error,
            units=main.units,
            margin=_margin(main.rival, gate),
            difference=main.gain,
            alpha=gate.alpha_per_look,
        )
    except Invalid:
        return None
    return None if units is None else max(0, round(evidence.rows * (units / main.units - 1)))
