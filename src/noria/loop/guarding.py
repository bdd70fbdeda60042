"""The guards' place in the circle: what is new since the champion is judged before anything learns from it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from noria.core.errors import Invalid
from noria.datasets.holding import Held
from noria.guards import rules as guard_rules
from noria.guards import schemas
from noria.guards.model import Action, Judgement
from noria.guards.schemas import SchemaCheck
from noria.guards.spec import Batch, Floats, Predictor
from noria.ledger.model import FactKind
from noria.loop import judging, queries, rules, training
from noria.loop.model import Cycle, CycleState, Outcome
from noria.loop.turn import Turn
from noria.registry.model import CHAMPION, ModelVersion
from noria.runs.model import RunState
from noria.store.database import Connection

_LATE_LABELS = timedelta(days=30)
"""How old a row may be whose new label is judged; labels that come later still are trusted as they are."""
_TRUSTED = timedelta(days=56)
"""How far back the trusted past reaches that new rows are held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    """What the guards found in a batch, and what was held before they looked."""

    rows: pl.DataFrame
    judgement: Judgement
    before: Held
    digest: str


def guard(turn: Turn) -> None:
    """Judge what is new since the champion; put into quarantine, pass, or stop the cycle in words."""
    cycle = turn.entered(CycleState.GUARDING)
    if cycle is None:
        return turn.skip()
    champion = judging.version_of(turn, CHAMPION)
    idle = _not_worth_it(turn, cycle, champion)
    if idle is not None:
        return turn.decide(lambda connection: turn.settle(connection, cycle, Outcome.SKIPPED, words=idle))
    guarded = _judged(turn, cycle, champion)
    without = guarded.before | guarded.judgement.held
    rows = training.rows(turn, cycle, as_of=cycle.opened_at, held_back=True, without=without).load()
    problem = _stopped(guarded.judgement) or _shortage(turn, cycle, rows, without)

    def work(connection: Connection) -> None:
        plain = _kept(connection, turn, cycle, guarded)
        told = {"rows": rows.height, "held": plain["held"], "action": plain["action"]}
        told["reasons"] = [finding["words"] for finding in plain["findings"]]
        if problem is None:
            turn.tell(connection, cycle, FactKind.DATA_PASSED, **told)
        else:
            turn.tell(connection, cycle, FactKind.DATA_STOPPED, **told, words=problem)

    return turn.decide(work)


def _not_worth_it(turn: Turn, cycle: Cycle, champion: ModelVersion | None) -> str | None:
    """Say why the cycle is skipped: there is nothing new to learn, or no money to learn it with."""
    through = None if champion is None else champion.trained_through
    month = rules.month_of(cycle.opened_at)
    spent, last = turn.rooms.database.read(lambda c: queries.charged(c, cycle.project, cycle.loop, since=month))
    idle = rules.nothing_to_learn(turn.loop, champion_trained_through=through, as_of=cycle.opened_at)
    return idle or rules.over_budget(turn.loop.budget, spent=spent, expected=last)


def _judged(turn: Turn, cycle: Cycle, champion: ModelVersion | None) -> _Guarded:
    guards, name = turn.rooms.guards, turn.loop.dataset.name
    held = guards.held(turn.context, name)
    if not turn.loop.guards:
        return _Guarded(rows=pl.DataFrame(), judgement=Judgement(), before=held, digest="")
    rows, digest = _new_rows(turn, cycle, champion, held)
    rows = guard_rules.unpardoned(rows, key=turn.loop.dataset.key, pardoned=guards.pardoned(turn.context, name))
    scores, unread = _scores(turn, champion, rows)
    batch = Batch(
        dataset=turn.loop.dataset,
        rows=rows,
        until=cycle.opened_at,
        through=turn.rooms.datasets.snapshot(turn.context, cycle.snapshot).number,
        number=cycle.number,
        trusted=None if champion is None else _trusted(turn, cycle, champion.trained_through, held),
        scores=scores,
        unread=unread,
        retrain=_retrainer(turn, cycle, held),
        tail_from=None if turn.loop.evaluate.tail is None else cycle.opened_at - turn.loop.evaluate.tail,
    )
    judgement = guards.judge(turn.context, batch, turn.loop.guards)
    return _Guarded(rows=rows, judgement=judgement, before=held, digest=digest)


def _kept(connection: Connection, turn: Turn, cycle: Cycle, guarded: _Guarded) -> dict[str, Any]:
    """Put into quarantine what was found, propose a first schema, and keep the evidence on the cycle."""
    name, judgement = turn.loop.dataset.name, guarded.judgement
    spelled = f"{cycle.loop}/{cycle.number}"
    change = turn.rooms.guards.quarantine_in(connection, turn.context, name, judgement, cycle=spelled)
    wants_schema = any(isinstance(guard, SchemaCheck) for guard in turn.loop.guards)
    if wants_schema and guarded.rows.height and not turn.rooms.guards.has_schema(connection, turn.context, name):
        columns = schemas.infer(turn.loop.dataset, guarded.rows)
        turn.rooms.guards.propose_in(connection, turn.context, name, columns)
    plain: dict[str, Any] = {
        "action": judgement.action.value,
        "findings": [finding.to_plain() for finding in judgement.findings],
        "rows": guarded.rows.height,
        "held": len(judgement.held.holds),
        "change": change,
        "digest": guarded.digest,
    }
    queries.move_cycle(connection, cycle, state=cycle.state, guarded=plain)
    return plain


def _stopped(judgement: Judgement) -> str | None:
    """Say why the guards stop the cycle, or None if they let it go on."""
    return "; ".join(judgement.words(Action.STOP)) or None


def _shortage(turn: Turn, cycle: Cycle, rows: pl.DataFrame, without: Held) -> str | None:
    """Say why there is too little to learn from, and which labels of the window came too late for it."""
    words = rules.shortage(turn.loop, rows)
    if words is None or rows.height >= turn.loop.min_rows:
        return words
    window = rules.training_window(turn.loop, as_of=cycle.opened_at, held_back=True)
    whole = turn.rooms.datasets.read(
        turn.context, turn.loop.dataset.name, snapshot=cycle.snapshot, as_of=cycle.opened_at, since=window.since,
        until=window.until, without=without,
    )  # fmt: skip
    label = turn.loop.dataset.label
    labelled = 0 if label is None else whole.height - whole[label].null_count()
    if whole.height and whole.height == rows.height:
        return words  # every row has its label: there are too few rows
    return f"{words}; {rules.why_few(whole.height, labelled=labelled, in_time=rows.height, until=window.until)}"


def _new_rows(turn: Turn, cycle: Cycle, champion: ModelVersion | None, held: Held) -> tuple[pl.DataFrame, str]:
    """Return the rows that the champion has not learned from, and those whose labels have changed since; their digest."""
    as_of, time = cycle.opened_at, turn.loop.dataset.time
    since = None if turn.loop.reach is None else as_of - turn.loop.reach
    if champion is not None:
        since = champion.trained_through - _LATE_LABELS
    found = turn.rooms.datasets.rows(
        turn.context, turn.loop.dataset.name, snapshot=cycle.snapshot, as_of=as_of, since=since, until=as_of,
        without=held, with_sources=True,
    )  # fmt: skip
    rows = found.load()
    if champion is None:
        return rows, found.digest
    is_new = pl.col(time) >= champion.trained_through
    if turn.loop.dataset.label is not None:
        is_new = is_new | (pl.col("known_at") > champion.trained_through).fill_null(value=False)
    return rows.filter(is_new), found.digest


def _trusted(turn: Turn, cycle: Cycle, through: datetime, held: Held) -> pl.DataFrame | None:
    """Return the last weeks of what the champion has learned from."""
    rows = turn.rooms.datasets.read(
        turn.context, turn.loop.dataset.name, snapshot=cycle.snapshot, as_of=through, since=through - _TRUSTED,
        until=through, without=held,
    )  # fmt: skip
    return rows if rows.height else None


def _scores(turn: Turn, champion: ModelVersion | None, rows: pl.DataFrame) -> tuple[Floats | None, str]:
    """Return the champion's scores of the rows, or why it could not give them."""
    if champion is None or not any(guard.needs_scores for guard in turn.loop.guards):
        return None, ""
    try:
        said = np.asarray(turn.rooms.loader.load(champion.artifact).predict(rows), dtype=np.float64)
    except Exception as problem:  # noqa: BLE001 - whatever a user's preprocess raises is told in words
        return None, f"{type(problem).__name__}: {problem}"
    if said.shape != (rows.height,):
        return None, f"it gave scores of shape {said.shape} for {rows.height:,} rows"
    return said, ""


def _retrainer(turn: Turn, cycle: Cycle, held: Held) -> Callable[[str, Held], Predictor]:
    """Return a way to train the loop's recipe without what is held besides, as a run of its own, under a key."""

    def retrain(source: str, besides: Held) -> Predictor:
        rows = training.rows(turn, cycle, as_of=cycle.opened_at, held_back=True, without=held | besides)
        params: dict[str, Any] = {turn.loop.train.parameters[0]: rows, **turn.loop.params}
        key = f"{turn.loop.name}/{cycle.number}/{rows.digest[:12]}/influence"
        run = turn.rooms.runs.run(turn.context, turn.loop.train, params=params, key=key)
        if run.state is RunState.FAILED or run.artifact is None:
            raise Invalid(f"the recipe cannot be trained without source {source!r}: {run.error}")
        return turn.rooms.loader.load(run.artifact).predict

    return retrain
