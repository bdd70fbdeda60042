"""From the gate to the champion's place: let in step by step beside the champion, or promoted at once."""

from datetime import datetime

from noria.core.context import Context
from noria.core.errors import Conflict, LeaseLost, Stale, Unavailable
from noria.core.raised import RAISED, in_words
from noria.ledger.model import FactKind
from noria.loop import preparing, queries, training
from noria.loop.model import Cycle, CycleState, Outcome, Stumble
from noria.loop.turn import Rooms, Turn
from noria.registry.model import CHAMPION
from noria.rollouts.spec import Canary, Candidate
from noria.runs.model import Run, RunState
from noria.serving.preparing import Prepared
from noria.store import leases
from noria.store.database import Connection
from noria.store.leases import Lease

_BLIND_LOOKS = 3
"""A candidate that could not be looked at so often is taken back."""


def roll_out(turn: Turn) -> None:
    """Train the accepted recipe once more through now if asked to, and let in what came of it."""
    cycle = turn.entered(CycleState.ROLLING_OUT)
    if cycle is None or cycle.candidate is None:
        return turn.skip()
    if not turn.loop.evaluate.refits:
        return _let_in(turn, cycle, refit=None, as_of=turn.at)
    through = cycle.opened_at if turn.loop.guards else turn.at  # nothing is learned that was not guarded
    run = training.run(turn, cycle, training.REFIT, as_of=through, held_back=False)
    if run.state is RunState.FAILED:
        words = f"the accepted recipe failed when trained through now: {run.error}"
        return turn.decide(lambda c: turn.settle(c, cycle, Outcome.FAILED, words=words))
    return _let_in(turn, cycle, refit=run, as_of=through)


def look(rooms: Rooms, context: Context, loop: str, lease: Lease, *, stumble: Stumble | None = None) -> bool:
    """Look at the loop's rollout if it is time to, and do what the look decides; say whether there was a look.

    A loop that is paused is looked after all the same: its candidate answers live requests. One that could not be
    looked at several times (`stumble`) is taken back, for nobody sees what it does. Only the holder of the loop's
    lease may. What is decided is a fact, which the loop answers.
    """
    cycle = rooms.database.read(lambda connection: queries.open_cycle(connection, context.project, loop))
    due = None if cycle is None else look_due(rooms, context, cycle)
    if cycle is None or cycle.rollout is None or due is None or due > rooms.clock.now():
        return False
    rollout = rooms.rollouts.get(context, cycle.rollout)
    blind = stumble is not None and stumble.tries >= _BLIND_LOOKS
    found = None if blind else rooms.rollouts.observe(context, rollout)

    def work(connection: Connection) -> None:
        leases.check(connection, lease, rooms.database.lease_time(connection))
        if found is None:
            words = "it could not be looked at" if stumble is None else f"it could not be looked at: {stumble.words()}"
            rooms.rollouts.take_back_in(connection, context, rollout, words=words)
        else:
            rooms.rollouts.act_in(connection, context, rollout, found)

    try:
        rooms.database.write(work)
    except Stale:  # somebody has ended it by hand meanwhile: that is a fact, to be answered like any other
        return rooms.rollouts.get(context, rollout.id).looks != rollout.looks
    return True


def look_due(rooms: Rooms, context: Context, cycle: Cycle) -> datetime | None:
    """Return when the cycle's rollout is to be looked at next; None when it has none, or it has ended."""
    if cycle.state is not CycleState.ROLLING_OUT or cycle.rollout is None:
        return None
    return rooms.rollouts.get(context, cycle.rollout).look_due


def settle_promoted(turn: Turn) -> None:
    """End the cycle: the new champion is live."""
    told = turn.fact.payload
    turn.end(Outcome.PROMOTED, words=str(told["words"]), promoted=int(told["version"]))


def settle_rolled_back(turn: Turn) -> None:
    """End the cycle: the candidate was taken back, and the champion answers alone."""
    turn.end(Outcome.ROLLED_BACK, words=str(turn.fact.payload["words"]))


def _let_in(turn: Turn, cycle: Cycle, *, refit: Run | None, as_of: datetime) -> None:
    """Begin the rollout, or promote at once where there is none or no champion to go beside."""
    reasons = "; ".join(cycle.verdict["reasons"])
    charged = cycle.charged_cpu_seconds + (0.0 if refit is None else refit.charged_cpu_seconds)
    said = "" if refit is None else f", trained once more through {as_of:%Y-%m-%d %H:%M}"
    try:
        ready = _ready(turn, cycle, refit, as_of=as_of)
    except Unavailable:
        raise
    except RAISED as problem:
        unfit = f"the accepted candidate cannot answer: {in_words(problem)}"
        return turn.decide(lambda connection: turn.settle(connection, cycle, Outcome.FAILED, words=unfit))
    canary = _fixed(turn, cycle)

    def work(connection: Connection) -> None:
        number = cycle.candidate
        if refit is not None and ready is not None:
            number = training.register(connection, turn, cycle, refit, ready, trained_through=as_of, parent=number)
        assert number is not None
        words = f"version {number}{said}: {reasons}"
        rollout = _release(connection, turn, cycle, number, canary=canary, words=words, reasons=reasons)
        queries.move_cycle(connection, cycle, state=cycle.state, charged_cpu_seconds=charged, rollout=rollout)

    try:
        turn.decide(work)
    except LeaseLost:
        raise
    except Conflict as problem:
        words = _overtaken(turn, cycle, problem)
        turn.decide(lambda connection: turn.settle(connection, cycle, Outcome.REJECTED, words=words))


def _ready(turn: Turn, cycle: Cycle, refit: Run | None, *, as_of: datetime) -> Prepared | None:
    """Prepare what was trained once more; verify a candidate that was registered before, as its bytes may be gone since."""
    if refit is not None:
        return preparing.prepare(turn, refit, trained_through=as_of, as_of=as_of)
    if cycle.candidate is not None:
        turn.rooms.registry.verified(turn.context, turn.loop.model, cycle.candidate)
    return None


def _fixed(turn: Turn, cycle: Cycle) -> Canary | None:
    """Return the loop's canary with nothing left open; None where there is none, or no champion to go beside."""
    if turn.loop.rollout is None or cycle.champion is None:
        return None
    rollouts = turn.rooms.rollouts
    return rollouts.fixed(turn.context, turn.loop.name, turn.loop.rollout, champion=cycle.champion)


def _release(
    connection: Connection, turn: Turn, cycle: Cycle, number: int, *, canary: Canary | None, words: str, reasons: str
) -> str | None:
    """Begin the rollout and return its id; promote at once without one."""
    if canary is None or cycle.champion is None:
        turn.rooms.rollouts.promote_in(
            connection, turn.context, turn.loop.model, number, expected=cycle.champion, reason=reasons
        )
        turn.tell(connection, cycle, FactKind.ROLLOUT_FINISHED, model=turn.loop.model, version=number, words=words)
        return None
    candidate = Candidate(
        endpoint=turn.loop.name,
        model=turn.loop.model,
        version=number,
        champion=cycle.champion,
        canary=canary,
        reason=reasons,
        told={"loop": cycle.loop, "cycle": cycle.id, "number": cycle.number},
    )
    return turn.rooms.rollouts.begin_in(connection, turn.context, candidate).id


def _overtaken(turn: Turn, cycle: Cycle, problem: Conflict) -> str:
    """Say what came before the candidate; raises the problem again if nothing did."""
    now = turn.rooms.registry.alias(turn.context, turn.loop.model, CHAMPION).version
    if now != cycle.champion:
        return f"the champion was moved from version {cycle.champion} to {now} while the candidate was judged"
    other = turn.rooms.rollouts.open_of(turn.context, turn.loop.model)
    if other is None:
        raise problem
    return f"{problem.sentence}: one candidate at a time"
