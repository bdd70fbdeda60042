"""Loops and their cycles, reviews, and what loops stumble over."""

from fastapi import APIRouter

from noria.boot import Platform
from noria.core.context import Context
from noria.loop.model import Cycle, CycleState, CyclesWanted, LoopRow, Outcome
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API, After, Limit, NameInPath, NameInQuery, WithRetired
from noria.server.control.shapes import loops as shapes
from noria.server.control.shapes.shape import Accepted, Reasoned

router = APIRouter(prefix=API)


@router.get("/loops", tags=["loops"], summary="All loops")
def list_loops(home: Home, context: Acting, *, with_retired: WithRetired = False) -> shapes.Loops:
    """Return each loop that is not retired: where in its circle it is, and its champion."""
    found = home.loops.all(context, with_retired=with_retired)
    return shapes.Loops(items=[_loop(home, context, row) for row in found])


@router.get("/loops/{name}", tags=["loops"], summary="One loop")
def get_loop(home: Home, context: Acting, name: NameInPath) -> shapes.Loop:
    """Return a loop."""
    return _loop(home, context, home.loops.get(context, name))


@router.post("/loops/{name}/pause", tags=["loops"], summary="Let a loop answer nothing")
def pause_loop(home: Home, context: Acting, name: NameInPath) -> shapes.Loop:
    """Let a loop answer nothing until it is resumed; what comes meanwhile is answered then."""
    return _loop(home, context, home.loops.pause(context, name))


@router.post("/loops/{name}/resume", tags=["loops"], summary="Let a paused loop answer again")
def resume_loop(home: Home, context: Acting, name: NameInPath) -> shapes.Loop:
    """Let a paused loop answer again, beginning with what came meanwhile."""
    return _loop(home, context, home.loops.resume(context, name))


@router.post("/loops/{name}/cycles", tags=["loops"], status_code=202, summary="Ask for a cycle")
def request_cycle(home: Home, context: Acting, name: NameInPath, asked: Reasoned) -> Accepted:
    """Ask for a cycle by hand; a worker opens it when the open one has settled."""
    home.loops.request(context, name, reason=asked.reason)
    return Accepted(words=f"loop {name} will open a cycle at its worker's next look")


@router.get("/stumbles", tags=["loops"], summary="What loops could not do because their code raised")
def list_stumbles(home: Home, context: Acting, loop: NameInQuery = None) -> shapes.Stumbles:
    """Return what loops have stumbled over and not got over, with reasons and tracebacks."""
    found = home.loops.stumbles(context, loop)
    return shapes.Stumbles(items=[shapes.Stumble.model_validate(each) for each in found])


@router.post("/loops/{name}/retry", tags=["loops"], status_code=202, summary="Try again what a loop stumbled over")
def retry_loop(home: Home, context: Acting, name: NameInPath, asked: Reasoned) -> Accepted:
    """Have everything that the loop has stumbled over tried again by its worker."""
    found = home.loops.retry(context, name, reason=asked.reason)
    return Accepted(words=f"tried again: {'; '.join(each.words() for each in found)}")


@router.get("/cycles", tags=["cycles"], summary="The turns of the loops")
def list_cycles(
    home: Home,
    context: Acting,
    loop: NameInQuery = None,
    state: CycleState | None = None,
    outcome: Outcome | None = None,
    after: After = None,
    limit: Limit = 50,
) -> shapes.Cycles:
    """Return cycles, newest first, a page at a time."""
    wanted = CyclesWanted(loop=loop, state=state, outcome=outcome, limit=limit)
    found = home.loops.page(context, wanted, after=after)
    lines = [shapes.CycleLine.model_validate(cycle) for cycle in found]
    return shapes.Cycles(items=lines, next=lines[-1].id if len(lines) == limit else None)


@router.get("/cycles/{cycle}", tags=["cycles"], summary="One turn of a loop, with its evidence")
def get_cycle(home: Home, context: Acting, cycle: NameInPath) -> shapes.Cycle:
    """Return a cycle with its evidence and verdict."""
    return shapes.Cycle.model_validate(home.loops.cycle(context, cycle))


@router.get("/reviews", tags=["reviews"], summary="The candidates that wait for a person")
def list_reviews(home: Home, context: Acting) -> shapes.Reviews:
    """Return the candidates that wait, the most urgent first."""
    return shapes.Reviews(items=[_review(cycle) for cycle in home.loops.reviews(context)])


@router.post("/reviews/{loop}/approve", tags=["reviews"], summary="Let a loop's candidate be rolled out")
def approve(home: Home, context: Acting, loop: NameInPath, asked: Reasoned) -> shapes.CycleLine:
    """Approve the candidate that waits; the loop's worker rolls it out."""
    return shapes.CycleLine.model_validate(home.loops.approve(context, loop, reason=asked.reason))


@router.post("/reviews/{loop}/refuse", tags=["reviews"], summary="Decline a loop's candidate")
def refuse(home: Home, context: Acting, loop: NameInPath, asked: Reasoned) -> shapes.CycleLine:
    """Refuse the candidate that waits; the champion stays."""
    return shapes.CycleLine.model_validate(home.loops.refuse(context, loop, reason=asked.reason))


def _loop(home: Platform, context: Context, row: LoopRow) -> shapes.Loop:
    cycle = home.loops.open_cycle(context, row.name)
    model = str(row.spec["model"])
    streak = home.loops.streak(context, row.name)
    return shapes.Loop(
        name=row.name,
        state=row.state,
        dataset=row.dataset,
        model=model,
        turns_on=str(row.spec["when"]["words"]),
        champion=home.registry.alias(context, model).version,
        cycles=row.cycles,
        rows_since=row.standing.rows,
        labels_since=row.standing.labels,
        started_at=row.started_at,
        started_by=row.started_by,
        open_cycle=None if cycle is None else shapes.CycleLine.model_validate(cycle),
        trouble=None if streak is None else streak.words(),
        spec=row.spec,
    )


def _review(cycle: Cycle) -> shapes.Review:
    assert cycle.candidate is not None
    assert cycle.deadline is not None
    return shapes.Review(
        loop=cycle.loop,
        cycle=cycle.id,
        number=cycle.number,
        candidate=cycle.candidate,
        champion=cycle.champion,
        until=cycle.deadline,
        because=[reason.words for reason in cycle.reasons],
        verdict=[str(reason) for reason in cycle.verdict["reasons"]],
    )
