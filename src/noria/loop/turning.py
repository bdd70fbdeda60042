"""One turn of the wheel: guard, train, evaluate, judge, roll out, settle; each verb answers one fact with the next."""

from datetime import datetime
from typing import Any

from noria.core.errors import Conflict, NoriaError, Stale
from noria.datasets.model import Rows
from noria.evaluation import gates
from noria.evaluation.model import Outcome as GateOutcome
from noria.ledger.model import Fact, FactKind
from noria.loop import judging, queries, rules
from noria.loop.model import Cycle, CycleState, Outcome
from noria.loop.spec import Loop
from noria.loop.turn import Turn
from noria.registry.model import CHAMPION, Trained
from noria.runs.model import Run, RunState
from noria.store.database import Connection

_TRAIN = "train"
_REFIT = "refit"


def is_training_of(loop: Loop, fact: Fact) -> bool:
    """Say whether a run's fact tells of a candidate's training in this loop."""
    key = str(fact.payload.get("key") or "")
    return key.startswith(f"{loop.name}/") and key.endswith(f"/{_TRAIN}")


def guard(turn: Turn) -> None:
    """Look whether the rows can be learned from at all; say so, or stop the cycle in words."""
    cycle = _entered(turn, CycleState.GUARDING)
    if cycle is None:
        return turn.skip()
    champion = judging.version_of(turn, CHAMPION)
    through = None if champion is None else champion.trained_through
    idle = rules.nothing_to_learn(turn.loop, champion_trained_through=through, as_of=cycle.opened_at)
    if idle is not None:
        return turn.decide(lambda connection: turn.settle(connection, cycle, Outcome.SKIPPED, words=idle))
    rows = _training_rows(turn, cycle, as_of=cycle.opened_at, held_back=True).load()
    problem = rules.shortage(turn.loop, rows)

    def work(connection: Connection) -> None:
        if problem is None:
            turn.tell(connection, cycle, FactKind.DATA_PASSED, rows=rows.height)
        else:
            turn.tell(connection, cycle, FactKind.DATA_STOPPED, rows=rows.height, words=problem)

    return turn.decide(work)


def train(turn: Turn) -> None:
    """Run the training pipeline on the rows before the held-back tail; its end is the next fact."""
    cycle = _entered(turn, CycleState.TRAINING)
    if cycle is None:
        return turn.skip()
    run = _run(turn, cycle, _TRAIN, as_of=cycle.opened_at, held_back=True)
    charged = cycle.charged_cpu_seconds + run.charged_cpu_seconds

    def work(connection: Connection) -> None:
        queries.move_cycle(connection, cycle, state=cycle.state, run=run.id, charged_cpu_seconds=charged)

    return turn.decide(work)


def evaluate(turn: Turn) -> None:
    """Register the candidate, and score it beside the champion on rows that neither was trained on."""
    cycle = _entered(turn, CycleState.EVALUATING)
    if cycle is None or cycle.run is None:
        return turn.skip()
    run = turn.rooms.runs.get(turn.context, cycle.run)
    try:
        as_of = turn.fact.at if cycle.looks else cycle.opened_at
        trained_through = rules.training_window(turn.loop, as_of=cycle.opened_at, held_back=True).until
        judged = judging.evidence(turn, cycle, run, as_of=as_of, trained_through=trained_through)
    except NoriaError as problem:
        words = f"the candidate could not be evaluated: {problem.sentence}"
        return turn.decide(lambda c: turn.settle(c, cycle, Outcome.FAILED, words=words))

    def work(connection: Connection) -> None:
        number = cycle.candidate or _register(connection, turn, cycle, run, trained_through=trained_through)
        champion = None if judged.champion is None else judged.champion.number
        plain = judged.evidence.to_plain()
        queries.move_cycle(connection, cycle, state=cycle.state, candidate=number, champion=champion, evidence=plain)
        turn.tell(connection, cycle, FactKind.MODEL_EVALUATED, model=turn.loop.model, version=number, evidence=plain)

    return turn.decide(work)


def judge(turn: Turn) -> None:
    """Hold the evidence against the gate; the verdict and its reasons are the next fact."""
    cycle = _entered(turn, CycleState.GATING)
    if cycle is None:
        return turn.skip()
    verdict = gates.judge_plain(cycle.evidence, turn.loop.gate)
    plain = verdict.to_plain()
    kind = {
        GateOutcome.PASSED: FactKind.GATE_PASSED,
        GateOutcome.FAILED: FactKind.GATE_FAILED,
        GateOutcome.UNSURE: FactKind.GATE_UNSURE,
    }[verdict.outcome]

    def work(connection: Connection) -> None:
        queries.move_cycle(connection, cycle, state=cycle.state, verdict=plain, looks=cycle.looks + 1)
        turn.tell(connection, cycle, kind, version=cycle.candidate, reasons=plain["reasons"])

    return turn.decide(work)


def wait(turn: Turn) -> None:
    """Let an unsure gate wait for the labels it names until its deadline; after a last look it waits no more."""
    cycle = turn.cycle()
    gate = turn.loop.gate
    if cycle is None or gate is None:
        return turn.skip()
    patience = gate.waits
    words = "; ".join(cycle.verdict["reasons"])
    if cycle.looks > 1 or not patience:
        return turn.decide(lambda c: turn.settle(c, cycle, Outcome.REJECTED, words=f"the gate stayed unsure: {words}"))
    deadline = turn.fact.at + patience

    def work(connection: Connection) -> None:
        queries.move_cycle(connection, cycle, state=cycle.state, deadline=deadline, words=f"unsure: {words}")

    return turn.decide(work)


def roll_out(turn: Turn) -> None:
    """Train the accepted recipe once more through now if asked to, and move the champion."""
    cycle = _entered(turn, CycleState.ROLLING_OUT)
    if cycle is None or cycle.candidate is None:
        return turn.skip()
    if not turn.loop.evaluate.refits:
        return _promote(turn, cycle, refit=None, as_of=turn.fact.at)
    run = _run(turn, cycle, _REFIT, as_of=turn.fact.at, held_back=False)
    if run.state is not RunState.SUCCEEDED:
        words = f"the accepted recipe failed when trained through now: {run.error}"
        return turn.decide(lambda c: turn.settle(c, cycle, Outcome.FAILED, words=words))
    return _promote(turn, cycle, refit=run, as_of=turn.fact.at)


def settle_promoted(turn: Turn) -> None:
    """End the cycle: the new champion is live."""
    _settle(turn, Outcome.PROMOTED, words=str(turn.fact.payload.get("words", "")))


def settle_rejected(turn: Turn) -> None:
    """End the cycle: the gate refused the candidate, or its deadline passed."""
    reasons = turn.fact.payload.get("reasons") or [turn.fact.payload.get("words", "")]
    _settle(turn, Outcome.REJECTED, words="; ".join(reasons))


def settle_failed(turn: Turn) -> None:
    """End the cycle: training failed."""
    _settle(turn, Outcome.FAILED, words=f"training failed: {turn.fact.payload.get('error', '')}")


def settle_quarantined(turn: Turn) -> None:
    """End the cycle: the data was stopped."""
    _settle(turn, Outcome.QUARANTINED, words=str(turn.fact.payload["words"]))


def _settle(turn: Turn, outcome: Outcome, *, words: str) -> None:
    cycle = turn.cycle()
    if cycle is None:
        return turn.skip()
    return turn.decide(lambda connection: turn.settle(connection, cycle, outcome, words=words))


def _entered(turn: Turn, state: CycleState) -> Cycle | None:
    cycle = turn.cycle()
    return None if cycle is None else turn.enter(cycle, state)


def _training_rows(turn: Turn, cycle: Cycle, *, as_of: datetime, held_back: bool) -> Rows:
    window = rules.training_window(turn.loop, as_of=as_of, held_back=held_back)
    return turn.rooms.datasets.rows(
        turn.context,
        turn.loop.dataset.name,
        snapshot=cycle.snapshot if held_back else None,
        as_of=window.as_of,
        since=window.since,
        until=window.until,
        labelled=True,
    )


def _run(turn: Turn, cycle: Cycle, purpose: str, *, as_of: datetime, held_back: bool) -> Run:
    rows = _training_rows(turn, cycle, as_of=as_of, held_back=held_back)
    first = turn.loop.train.parameters[0]
    params: dict[str, Any] = {first: rows, **turn.loop.params}
    key = f"{turn.loop.name}/{cycle.number}/{purpose}"
    return turn.rooms.runs.run(turn.context, turn.loop.train, params=params, key=key)


def _register(
    connection: Connection, turn: Turn, cycle: Cycle, run: Run, *, trained_through: datetime, parent: int | None = None
) -> int:
    if run.artifact is None:
        raise Conflict(f"run {run.id} has no result", hint=f"look at it: noria run, state {run.state.value}")
    trained = Trained(
        artifact=run.artifact,
        run=run.id,
        snapshot=cycle.snapshot,
        trained_through=trained_through,
        code=run.code,
        parent=parent,
        params=dict(turn.loop.params),
    )
    return turn.rooms.registry.register_in(connection, turn.context, turn.loop.model, trained).number


def _promote(turn: Turn, cycle: Cycle, *, refit: Run | None, as_of: datetime) -> None:
    reasons = "; ".join(cycle.verdict["reasons"])

    def work(connection: Connection) -> None:
        number, charged, said = cycle.candidate, cycle.charged_cpu_seconds, ""
        if refit is not None:
            number = _register(connection, turn, cycle, refit, trained_through=as_of, parent=cycle.candidate)
            charged += refit.charged_cpu_seconds
            said = f", trained once more through {as_of:%Y-%m-%d %H:%M}"
        assert number is not None
        turn.rooms.registry.promote_in(
            connection,
            turn.context,
            turn.loop.model,
            number,
            expected=cycle.champion,
            reason=reasons,
        )
        words = f"version {number}{said}: {reasons}"
        queries.move_cycle(connection, cycle, state=cycle.state, promoted=number, charged_cpu_seconds=charged)
        turn.tell(connection, cycle, FactKind.ROLLOUT_FINISHED, model=turn.loop.model, version=number, words=words)

    try:
        turn.decide(work)
    except Stale:
        now = turn.rooms.registry.alias(turn.context, turn.loop.model, CHAMPION).version
        if now == cycle.champion:
            raise
        words = f"the champion was moved from version {cycle.champion} to {now} while the candidate was judged"
        turn.decide(lambda connection: turn.settle(connection, cycle, Outcome.REJECTED, words=words))
