"""One turn of the wheel from guarded data to the gate: train, evaluate, judge; each verb answers one fact with the next."""

from noria.core.errors import Conflict, Unavailable
from noria.core.raised import RAISED, in_words
from noria.evaluation import gates
from noria.evaluation.model import Outcome as GateOutcome
from noria.ledger.model import FactKind
from noria.loop import judging, preparing, queries, rules, training
from noria.loop.model import CycleState, Outcome
from noria.loop.turn import Turn
from noria.store.database import Connection


def train(turn: Turn) -> None:
    """Run the training pipeline on the rows before the held-back tail; its end is the next fact."""
    cycle = turn.entered(CycleState.TRAINING)
    if cycle is None:
        return turn.skip()
    try:
        run = training.run(turn, cycle, training.TRAIN, as_of=cycle.opened_at, held_back=True)
    except (Conflict, Unavailable):
        raise
    except RAISED as problem:
        words = f"training could not begin: {in_words(problem)}"
        return turn.decide(lambda c: turn.settle(c, cycle, Outcome.FAILED, words=words))
    charged = cycle.charged_cpu_seconds + run.charged_cpu_seconds

    def work(connection: Connection) -> None:
        queries.move_cycle(connection, cycle, state=cycle.state, run=run.id, charged_cpu_seconds=charged)

    return turn.decide(work)


def evaluate(turn: Turn) -> None:
    """Register the candidate, and score it beside the champion on rows that neither was trained on."""
    cycle = turn.entered(CycleState.EVALUATING)
    if cycle is None or cycle.run is None:
        return turn.skip()
    run = turn.rooms.runs.get(turn.context, cycle.run)
    try:
        as_of = turn.at if cycle.looks else cycle.opened_at
        trained_through = rules.training_window(turn.loop, as_of=cycle.opened_at, held_back=True).until
        judged = judging.evidence(turn, cycle, run, as_of=as_of, trained_through=trained_through)
        ready = preparing.prepare(turn, run, trained_through=trained_through, as_of=as_of)
    except Unavailable:
        raise
    except RAISED as problem:
        words = f"the candidate could not be evaluated: {in_words(problem)}"
        return turn.decide(lambda c: turn.settle(c, cycle, Outcome.FAILED, words=words))

    def work(connection: Connection) -> None:
        number = cycle.candidate or training.register(
            connection, turn, cycle, run, ready, trained_through=trained_through
        )
        champion = None if judged.champion is None else judged.champion.number
        plain = judged.evidence.to_plain()
        queries.move_cycle(connection, cycle, state=cycle.state, candidate=number, champion=champion, evidence=plain)
        turn.tell(connection, cycle, FactKind.MODEL_EVALUATED, model=turn.loop.model, version=number, evidence=plain)

    return turn.decide(work)


def judge(turn: Turn) -> None:
    """Hold the evidence against the gate; the verdict and its reasons are the next fact."""
    cycle = turn.entered(CycleState.GATING)
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
    deadline = turn.at + patience

    def work(connection: Connection) -> None:
        queries.move_cycle(connection, cycle, state=cycle.state, deadline=deadline, words=f"unsure: {words}")

    return turn.decide(work)


def settle_rejected(turn: Turn) -> None:
    """End the cycle: the gate refused the candidate, or its deadline passed."""
    reasons = turn.fact.payload.get("reasons") or [turn.fact.payload.get("words", "")]
    turn.end(Outcome.REJECTED, words="; ".join(reasons))


def settle_failed(turn: Turn) -> None:
    """End the cycle: training failed."""
    turn.end(Outcome.FAILED, words=f"training failed: {turn.fact.payload.get('error', '')}")


def settle_quarantined(turn: Turn) -> None:
    """End the cycle: the data was stopped."""
    turn.end(Outcome.QUARANTINED, words=str(turn.fact.payload["words"]))
