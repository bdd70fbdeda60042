"""A person's word between the gate and the rollout: asked for, waited for, and taken for a no when it does not come."""

from noria.ledger.model import FactKind
from noria.loop import queries, rolling
from noria.loop.model import CycleState, Outcome
from noria.loop.turn import Turn
from noria.store.database import Connection


def ask(turn: Turn) -> None:
    """Let the candidate that has passed wait for a review, or roll it out where none is asked for."""
    if not turn.loop.review.required:
        return rolling.roll_out(turn)
    cycle = turn.entered(CycleState.REVIEWING)
    if cycle is None:
        return turn.skip()
    deadline = turn.at + turn.loop.review.waits
    words = f"version {cycle.candidate} waits for a review until {deadline:%Y-%m-%d %H:%M}"

    def work(connection: Connection) -> None:
        queries.move_cycle(connection, cycle, state=cycle.state, deadline=deadline, words=words)
        told = {"version": cycle.candidate, "deadline": deadline.isoformat(), "words": words}
        turn.tell(connection, cycle, FactKind.REVIEW_REQUESTED, **told)

    return turn.decide(work)


def settle_declined(turn: Turn) -> None:
    """End the cycle: a person refused the candidate, or nobody looked at it in time."""
    turn.end(Outcome.DECLINED, words=str(turn.fact.payload["words"]))
