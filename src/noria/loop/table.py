"""The circle, on one page: which verb a fact starts.

A verb writes its state and the next fact in one transaction, and the next fact starts the next verb. Nothing else
ties the rooms together: read this table from top to bottom and you have gone round once.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from noria.ledger.model import Fact, FactKind
from noria.loop import guarding, noticing, reviewing, rolling, rules, training, turning
from noria.loop.spec import Loop
from noria.loop.turn import Turn

Verb = Callable[[Turn], None]


def answer_again(turn: Turn) -> None:
    """Answer a fact that was set aside because its verb had raised; a person has asked for it."""
    fact = turn.rooms.ledger.get(turn.context, str(turn.fact.payload["fact"]))
    STARTS[fact.kind](replace(turn, fact=fact))


STARTS: Mapping[FactKind, Verb] = {
    # The world reaches the loop: its triggers are asked, and a due loop opens a cycle.
    FactKind.DATASET_COMMITTED: noticing.take_note,
    FactKind.FEEDBACK_LANDED: noticing.take_note,
    FactKind.SIGNAL_RAISED: noticing.take_note,
    FactKind.SCHEDULE_DUE: noticing.take_note,
    FactKind.LOOP_RESTED: noticing.take_note,
    FactKind.CYCLE_REQUESTED: noticing.take_note,
    FactKind.MODEL_PROMOTED: noticing.take_note,
    FactKind.MODEL_ROLLED_BACK: noticing.take_note,
    FactKind.EVENT_RECEIVED: noticing.take_note,
    # One turn of the wheel.
    FactKind.CYCLE_OPENED: guarding.guard,
    FactKind.DATA_PASSED: turning.train,
    FactKind.DATA_STOPPED: turning.settle_quarantined,
    FactKind.RUN_SUCCEEDED: turning.evaluate,
    FactKind.RUN_FAILED: turning.settle_failed,
    FactKind.RUN_CANCELLED: turning.settle_failed,
    FactKind.MODEL_EVALUATED: turning.judge,
    FactKind.GATE_PASSED: reviewing.ask,
    FactKind.GATE_FAILED: turning.settle_rejected,
    FactKind.GATE_UNSURE: turning.wait,
    FactKind.GATE_REOPENED: turning.evaluate,
    FactKind.GATE_EXPIRED: turning.settle_rejected,
    FactKind.REVIEW_APPROVED: rolling.roll_out,
    FactKind.REVIEW_REFUSED: reviewing.settle_declined,
    FactKind.REVIEW_EXPIRED: reviewing.settle_declined,
    # Meanwhile time passes, and the worker looks at the rollout: rolling.look.
    FactKind.ROLLOUT_FINISHED: rolling.settle_promoted,
    FactKind.ROLLOUT_ABORTED: rolling.settle_rolled_back,
    # What came while the wheel turned is asked about now.
    FactKind.CYCLE_SETTLED: noticing.take_note,
    # What could not be answered when it came is tried once more.
    FactKind.FACT_RETRIED: answer_again,
}


def concerns(loop: Loop, fact: Fact) -> bool:  # noqa: PLR0911 - one answer a kind of fact
    """Say whether the loop has to answer the fact."""
    match fact.kind:
        case FactKind.DATASET_COMMITTED | FactKind.FEEDBACK_LANDED:
            return fact.subject == loop.dataset.name
        case FactKind.SIGNAL_RAISED | FactKind.SCHEDULE_DUE | FactKind.LOOP_RESTED | FactKind.CYCLE_REQUESTED:
            return fact.subject == loop.name
        case (
            FactKind.FACT_RETRIED
        ):  # what was not set aside is answered anyway, and for a cycle another one is asked for
            return fact.subject == loop.name and bool(fact.payload["again"])
        case FactKind.MODEL_PROMOTED | FactKind.MODEL_ROLLED_BACK:
            return fact.payload["model"] in rules.upstream_models(loop)
        case FactKind.EVENT_RECEIVED:
            return rules.waits_for(loop, fact)
        case FactKind.RUN_SUCCEEDED | FactKind.RUN_FAILED | FactKind.RUN_CANCELLED:
            return training.is_training_of(loop, fact)
        case _:
            return fact.kind in STARTS and fact.payload.get("loop") == loop.name


def moves_a_cycle(fact: Fact) -> bool:
    """Say whether a cycle waits for the answer to the fact; others only tell a loop of the world."""
    return STARTS[fact.kind] not in {noticing.take_note, answer_again}
