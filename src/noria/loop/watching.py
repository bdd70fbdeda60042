"""Looks through a loop's monitors when data or labels have come, for what has moved enough to raise a signal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noria.core.errors import Invalid
from noria.evaluation import metrics
from noria.ledger.model import FactKind
from noria.loop import judging, rules, scoring
from noria.loop.triggers import Drift, MetricDrop
from noria.loop.turn import Turn
from noria.monitors import rules as monitor_rules
from noria.monitors.measures import MEASURES
from noria.monitors.model import Signal
from noria.registry.model import CHAMPION, ModelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The signals to raise now, and which signals stand from now on."""

    watch: Mapping[str, Any]
    signals: tuple[Signal, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Look:
    """One look: what stood before, and what is found."""

    turn: Turn
    champion: ModelVersion
    watch: dict[str, Any]
    signals: list[Signal] = field(default_factory=list[Signal])

    def measured(self, kind: str, *, value: float, threshold: float, words: str) -> None:
        raised, stands = monitor_rules.crosses(value=value, threshold=threshold, is_up=kind in self.watch["standing"])
        others = [other for other in self.watch["standing"] if other != kind]
        self.watch["standing"] = sorted([*others, kind]) if stands else others
        if raised:
            signal = Signal(subject=self.turn.loop.name, kind=kind, value=value, threshold=threshold, words=words)
            self.signals.append(signal)


def look(turn: Turn) -> Seen:
    """Measure drift when rows have come, and quality when labels have; nothing to see before the first champion.

    A new champion begins with no signal standing.
    """
    champion = judging.version_of(turn, CHAMPION)
    if champion is None or turn.fact.kind not in (FactKind.DATASET_COMMITTED, FactKind.FEEDBACK_LANDED):
        return Seen(watch=turn.row.watch)
    same = turn.row.watch.get("champion") == champion.number
    begun: dict[str, Any] = {"champion": champion.number, "standing": []}
    watched = _Look(turn=turn, champion=champion, watch=dict(turn.row.watch) if same else begun)
    for trigger in turn.loop.when.leaves():
        if isinstance(trigger, Drift) and turn.fact.kind is FactKind.DATASET_COMMITTED:
            _drift(watched, trigger)
        elif isinstance(trigger, MetricDrop) and turn.fact.kind is FactKind.FEEDBACK_LANDED:
            _metric(watched, trigger)
    return Seen(watch=watched.watch, signals=tuple(watched.signals))


def _drift(look: _Look, trigger: Drift) -> None:
    turn, now = look.turn, look.turn.at
    datasets, name = turn.rooms.datasets, turn.loop.dataset.name
    trained = rules.training_window(turn.loop, as_of=look.champion.trained_through, held_back=False)
    reference = datasets.rows(turn.context, name, as_of=trained.as_of, since=trained.since, until=trained.until)
    current = datasets.rows(turn.context, name, as_of=now, since=now - trigger.over, until=now)
    columns = trigger.columns or datasets.columns(turn.context, name)
    found = turn.rooms.monitors.drift(reference, current, columns=columns, measure=trigger.measure)
    if found is not None:
        moved = f"{found.column} drifted by {found.value:.3f} {MEASURES[found.measure].words}"
        words = f"{moved} over {found.rows:,} rows of the last {trigger.over.days} days"
        look.measured(f"drift:{found.measure}", value=found.value, threshold=trigger.by, words=words)


def _metric(look: _Look, trigger: MetricDrop) -> None:
    turn, now = look.turn, look.turn.at
    reference = _judged_value(turn, look.champion, trigger.metric)
    if reference is None or now - trigger.over < look.champion.trained_through:
        return
    scored = scoring.live_scores(
        turn.rooms,
        turn.context,
        turn.loop,
        since=now - trigger.over,
        until=now,
        as_of=now,
        set_back_at=turn.row.set_back_at,
    )
    metric = metrics.named(trigger.metric)
    try:
        live = metric.of(*scoring.labelled(turn.loop, scored))
    except Invalid:  # one class, or nothing: there is no such value yet
        return
    drop = -metric.gain(live, reference)
    words = f"{trigger.metric} {live:.4f} over the last {trigger.over.days} days, {reference:.4f} when it was judged"
    look.measured(f"metric:{trigger.metric}", value=drop, threshold=trigger.by, words=words)


def _judged_value(turn: Turn, champion: ModelVersion, metric: str) -> float | None:
    """Return the champion's value when the gate judged it; a refit is known by its parent's."""
    cycle = scoring.cycle_of(turn.rooms, turn.context, turn.loop.name, champion.number)
    if cycle is None:
        return None
    found = [one for one in cycle.evidence.get("comparisons", ()) if one["metric"] == metric]
    return float(found[0]["candidate"]) if found else None
