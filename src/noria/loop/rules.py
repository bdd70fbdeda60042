"""Pure decisions of the loop: how facts add up, whether a cycle is due, which rows it learns from and is judged on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from noria.core.errors import Invalid
from noria.ledger.model import Fact, FactKind
from noria.loop.model import Cycle, CycleState, Event, LoopRow, Reason, Standing
from noria.loop.spec import Budget, Loop
from noria.loop.triggers import EventTrigger, Schedule, Upstream

_WAITS = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""How long to wait before each new try of what has raised."""
MOST_TRIES = len(_WAITS) + 1
LONGEST_WAIT = _WAITS[-1]
_KEPT_SIGNALS = 20
_KEPT_EVENTS = 20
_MOST_LETTERS = 255

_BEFORE = {
    CycleState.GUARDING: (CycleState.OPENED,),
    CycleState.TRAINING: (CycleState.GUARDING,),
    CycleState.EVALUATING: (CycleState.TRAINING, CycleState.GATING),
    CycleState.GATING: (CycleState.EVALUATING,),
    CycleState.REVIEWING: (CycleState.GATING,),
    CycleState.ROLLING_OUT: (CycleState.GATING, CycleState.REVIEWING),
    CycleState.SETTLED: tuple(CycleState),
}


def may_enter(now_in: CycleState, wanted: CycleState) -> bool:
    """Say whether a cycle may go into that state, or is in it already because a crash made the verb start again."""
    return now_in is wanted or now_in in _BEFORE.get(wanted, ())


def add(standing: Standing, fact: Fact) -> Standing:  # noqa: PLR0911 - one answer a kind of fact
    """Return what has come to the loop, this fact included."""
    told = fact.payload
    match fact.kind:
        case FactKind.DATASET_COMMITTED:
            rows = standing.rows + int(told["rows"])
            return replace(standing, rows=rows, commits=standing.commits + 1)
        case FactKind.FEEDBACK_LANDED:
            return replace(standing, labels=standing.labels + int(told["labels"]))
        case FactKind.SIGNAL_RAISED:
            heard = {"kind": told["kind"], "value": told["value"], "words": told["words"]}
            return replace(standing, signals=(*standing.signals, heard)[-_KEPT_SIGNALS:])
        case FactKind.SCHEDULE_DUE:
            return replace(standing, due=tuple(sorted({*standing.due, *told["schedules"]})))
        case FactKind.EVENT_RECEIVED:
            came = {"type": told["type"], "source": told["source"], "subject": told["subject"]}
            return replace(standing, events=(*standing.events, came)[-_KEPT_EVENTS:])
        case FactKind.CYCLE_REQUESTED:
            return replace(standing, requests=(*standing.requests, f"{fact.actor} asked: {told['reason']}"))
        case FactKind.MODEL_PROMOTED | FactKind.MODEL_ROLLED_BACK:
            return replace(
                standing, upstream=(*standing.upstream, f"{told['model']}@{told['version']}")[-_KEPT_SIGNALS:]
            )
        case _:
            return standing


def on_this_clock(moment: datetime, row: LoopRow, *, now: datetime) -> datetime:
    """Return a time that was stored; when the clock was set back, if it was stored while the clock was ahead."""
    return moment if row.set_back_at is None or moment <= now else min(moment, row.set_back_at)


def upstream_models(loop: Loop) -> set[str]:
    """Return the models whose promotions this loop waits for."""
    return {leaf.model for leaf in loop.when.leaves() if isinstance(leaf, Upstream)}


def waits_for(loop: Loop, event: Fact) -> bool:
    """Say whether one of the loop's triggers waits for events like this one."""
    told = event.payload
    leaves = [leaf for leaf in loop.when.leaves() if isinstance(leaf, EventTrigger)]
    return any(leaf.hears(type=told["type"], source=told["source"]) for leaf in leaves)


def due(loop: Loop, standing: Standing) -> tuple[Reason, ...]:
    """Return why a cycle is due, or nothing; a request by hand is always a reason."""
    asked = tuple(Reason(trigger="manual", words=words) for words in standing.requests)
    return asked + loop.when.reasons(standing)


def may_open(loop: Loop, row: LoopRow, *, now: datetime, last_opened: datetime | None) -> bool:
    """Say whether the cooldown has passed and the loop runs; a request by hand does not wait."""
    return last_opened is None or now - last_opened >= loop.pause or bool(row.standing.requests)


def schedules(loop: Loop) -> tuple[Schedule, ...]:
    """Return the schedules among the loop's triggers."""
    return tuple(leaf for leaf in loop.when.leaves() if isinstance(leaf, Schedule))


def counts_from(loop: Loop, known: LoopRow | None, *, now: datetime) -> dict[str, datetime]:
    """Return from when each schedule counts, once the loop is declared: one that is new, or was edited, from now.

    So a schedule is never due for a time before it was asked for. One that is declared as it was goes on.
    """
    before = {} if known is None else dict(known.counts_from)
    if known is not None and not before:  # an older Noria has stored it
        before = {each.words(): known.started_at for each in schedules(loop) if each.words() in _when(known)}
    return {each.words(): before.get(each.words(), now) for each in schedules(loop)}


def _when(row: LoopRow) -> str:
    return str(row.spec["when"]["words"])


def schedules_due(loop: Loop, row: LoopRow, *, now: datetime) -> tuple[str, ...]:
    """Return the schedules with a time that has come and was not told; many missed times of one schedule are one."""
    return tuple(each.words() for each in schedules(loop) if each.next_after(_told_through(each, row)) <= now)


def next_due(loop: Loop, row: LoopRow) -> datetime | None:
    """Return when the loop's schedules are due next."""
    return min((each.next_after(_told_through(each, row)) for each in schedules(loop)), default=None)


def _told_through(schedule: Schedule, row: LoopRow) -> datetime:
    return max(row.scheduled_through, row.counts_from.get(schedule.words(), row.scheduled_through))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rows with event times in [since, until), labels as known at `as_of`."""

    since: datetime | None
    until: datetime
    as_of: datetime


def training_window(loop: Loop, *, as_of: datetime, held_back: bool) -> Window:
    """Return which rows a candidate learns from: those before the held-back tail, as far back as the loop reaches.

    Labels count as they were known at the end of the rows, as if the candidate had been trained then: so two loops
    that train through the same moment train the same model, and the cache serves both.
    """
    holdout = loop.evaluate.tail if held_back else None
    until = as_of if holdout is None else as_of - holdout
    return Window(since=None if loop.reach is None else until - loop.reach, until=until, as_of=until)


def judging_window(*trained_through: datetime, as_of: datetime) -> Window:
    """Return which rows may judge: those after everything that any of the rivals was trained on."""
    return Window(since=max(trained_through), until=as_of, as_of=as_of)


def nothing_to_learn(loop: Loop, *, champion_trained_through: datetime | None, as_of: datetime) -> str | None:
    """Say that the champion has learned from all that a candidate would, or None when there is something new."""
    until = training_window(loop, as_of=as_of, held_back=True).until
    if champion_trained_through is None or champion_trained_through < until:
        return None
    return (
        f"the champion has learned from rows through {champion_trained_through:%Y-%m-%d %H:%M}, "
        f"and a candidate would learn from rows through {until:%Y-%m-%d %H:%M}: nothing new"
    )


def month_of(moment: datetime) -> datetime:
    """Return when the moment's calendar month began, in UTC."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def over_budget(budget: Budget | None, *, spent: float, expected: float) -> str | None:
    """Say that a training which costs `expected` CPU seconds would go over this month's budget, or None if it fits.

    >>> over_budget(Budget(cpu_seconds_per_month=60), spent=55.0, expected=10.0)
    'training has cost 55.0 CPU seconds ($0.00) this month and the next one about 10.0 ($0.00): over the budget of 60 CPU seconds'
    """
    if budget is None:
        return None
    whole = spent + expected
    over = [
        limit
        for limit, is_over in (
            (f"{budget.cpu_seconds_per_month or 0:g} CPU seconds", _exceeds(whole, budget.cpu_seconds_per_month)),
            (f"${budget.usd_per_month or 0:g}", _exceeds(budget.usd(whole), budget.usd_per_month)),
        )
        if is_over
    ]
    if not over:
        return None
    return (
        f"training has cost {spent:.1f} CPU seconds (${budget.usd(spent):.2f}) this month "
        f"and the next one about {expected:.1f} (${budget.usd(expected):.2f}): over the budget of {' and '.join(over)}"
    )


def _exceeds(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def to_plain(standing: Standing) -> dict[str, Any]:
    """Return a standing as plain values."""
    return {
        "rows": standing.rows,
        "labels": standing.labels,
        "commits": standing.commits,
        "due": list(standing.due),
        "signals": [dict(signal) for signal in standing.signals],
        "requests": list(standing.requests),
        "upstream": list(standing.upstream),
        "events": [dict(event) for event in standing.events],
    }


def from_plain(plain: Mapping[str, Any]) -> Standing:
    """Read a standing back; one that an older Noria stored has no events."""
    return Standing(
        rows=plain["rows"],
        labels=plain["labels"],
        commits=plain["commits"],
        due=tuple(plain["due"]),
        signals=tuple(plain["signals"]),
        requests=tuple(plain["requests"]),
        upstream=tuple(plain.get("upstream", ())),
        events=tuple(plain.get("events", ())),
    )


def shortage(loop: Loop, rows: pl.DataFrame) -> str | None:
    """Say why these labelled rows cannot be learned from, or None when they can."""
    label = loop.dataset.label
    if rows.height < loop.min_rows:
        return f"{rows.height:,} labelled rows in the training window, {loop.min_rows:,} wanted"
    if label is not None and rows[label].n_unique() < 2:  # noqa: PLR2004 - two classes, or a target that varies
        return f"all {rows.height:,} labels in the training window are {rows[label][0]}"
    return None


def why_few(rows: int, *, labelled: int, in_time: int, until: datetime) -> str:
    """Say why few of a window's rows can be learned from: how many it has, and whose labels became known too late."""
    if not rows:
        return f"there are no rows from before {until:%Y-%m-%d %H:%M}"
    if labelled > in_time:
        return (
            f"{labelled - in_time:,} more rows have labels that count as known only after the window's end, "
            f"{until:%Y-%m-%d %H:%M}: labels that come without known_at are known when they arrive, unless they come "
            "with a dataset's first push, or with label_delay (noria data push --label-delay)"
        )
    return f"of its {rows:,} rows {labelled:,} have a label"


def must_fit(event: Event) -> None:
    """Raise `Invalid` unless the event has an id, a source and a type, none of them too long to keep."""
    for name, value in (("id", event.id), ("source", event.source), ("type", event.type)):
        if not 0 < len(value) <= _MOST_LETTERS:
            raise Invalid(
                f"the {name} of an event has {len(value)} letters", hint=f"give it 1 to {_MOST_LETTERS} letters"
            )


def labels_suffice(cycle: Cycle, *, landed: int) -> bool:
    """Say whether the labels that an unsure gate asked for have landed by now."""
    wanted = cycle.verdict.get("more_labels")
    return wanted is not None and int(cycle.verdict.get("labels_landed", 0)) + landed >= int(wanted)


def wait_after(tries: int, *, is_bounded: bool) -> timedelta | None:
    """Return how long to wait after so many tries that raised; None when that was the last one.

    >>> [str(wait_after(tries, is_bounded=True)) for tries in (1, 2, 3, 4, 5)]
    ['0:00:05', '0:00:30', '0:02:00', '0:10:00', 'None']
    >>> str(wait_after(50, is_bounded=False))
    '0:10:00'
    """
    if is_bounded and tries >= MOST_TRIES:
        return None
    return _WAITS[min(tries, len(_WAITS)) - 1]
