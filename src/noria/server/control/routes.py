"""The routes of the control API: each asks one verb of one room, and shapes its answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from noria.access.model import Permission
from noria.boot import Platform
from noria.core.context import Context
from noria.core.errors import NotFound
from noria.loop.model import CycleState, CyclesWanted, LoopRow, Outcome
from noria.registry.model import ANCHOR, CHAMPION
from noria.server.control import moving, shapes
from noria.server.control.acting import Acting, Home
from noria.version import __version__

_MOST_POSITION = 2**53
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": shapes.Problem, "description": words, "content": {"application/problem+json": {}}}
    for status, words in {
        400: "the body is no JSON",
        403: "the actor lacks a permission",
        404: "nothing has that name",
        409: "the world moved, or says otherwise",
        413: "the body is too large",
        422: "what was given cannot be used as it is",
        503: "busy or not reachable: try again",
    }.items()
}

health = APIRouter(tags=["health"])
api = APIRouter(prefix="/api/v1")

NameInPath = Annotated[str, Path(min_length=1, max_length=255)]
Limit = Annotated[int, Query(ge=1, le=500, description="how many at most")]


@health.get("/healthz", summary="Whether this process and its database answer", responses={503: ERRORS[503]})
def healthz(home: Home) -> shapes.Health:
    """Answer if the database does."""
    home.database.read(home.database.lease_time)
    return shapes.Health(status="ok", version=__version__)


@api.get("/loops", tags=["loops"], summary="All loops")
def list_loops(home: Home, context: Acting) -> shapes.Loops:
    """Return each loop: where in its circle it is, and its champion."""
    return shapes.Loops(items=[_loop(home, context, row) for row in home.loops.all(context)])


@api.get("/loops/{name}", tags=["loops"], summary="One loop")
def get_loop(home: Home, context: Acting, name: NameInPath) -> shapes.Loop:
    """Return a loop."""
    return _loop(home, context, home.loops.get(context, name))


@api.post("/loops/{name}/pause", tags=["loops"], summary="Let a loop answer nothing")
def pause_loop(home: Home, context: Acting, name: NameInPath) -> shapes.Loop:
    """Let a loop answer nothing until it is resumed; what comes meanwhile is answered then."""
    return _loop(home, context, home.loops.pause(context, name))


@api.post("/loops/{name}/resume", tags=["loops"], summary="Let a paused loop answer again")
def resume_loop(home: Home, context: Acting, name: NameInPath) -> shapes.Loop:
    """Let a paused loop answer again, beginning with what came meanwhile."""
    return _loop(home, context, home.loops.resume(context, name))


@api.post("/loops/{name}/cycles", tags=["loops"], status_code=202, summary="Ask for a cycle")
def request_cycle(home: Home, context: Acting, name: NameInPath, asked: shapes.CycleAsked) -> shapes.Accepted:
    """Ask for a cycle by hand; a worker opens it when the open one has settled."""
    home.loops.request(context, name, reason=asked.reason)
    return shapes.Accepted(words=f"loop {name} will open a cycle at its worker's next look")


@api.get("/cycles", tags=["cycles"], summary="The turns of the loops")
def list_cycles(
    home: Home,
    context: Acting,
    loop: Annotated[shapes.Name | None, Query()] = None,
    state: CycleState | None = None,
    outcome: Outcome | None = None,
    after: Annotated[shapes.Name | None, Query(description="the id that the page before ended with")] = None,
    limit: Limit = 50,
) -> shapes.Cycles:
    """Return cycles, newest first, a page at a time."""
    wanted = CyclesWanted(loop=loop, state=state, outcome=outcome, limit=limit)
    found = home.loops.page(context, wanted, after=after)
    lines = [shapes.CycleLine.model_validate(cycle) for cycle in found]
    return shapes.Cycles(items=lines, next=lines[-1].id if len(lines) == limit else None)


@api.get("/cycles/{cycle}", tags=["cycles"], summary="One turn of a loop, with its evidence")
def get_cycle(home: Home, context: Acting, cycle: NameInPath) -> shapes.Cycle:
    """Return a cycle with its evidence and verdict."""
    return shapes.Cycle.model_validate(home.loops.cycle(context, cycle))


@api.get("/models", tags=["models"], summary="All models")
def list_models(home: Home, context: Acting) -> shapes.Models:
    """Return each model with its champion and its anchor."""
    return shapes.Models(items=[_model(home, context, name) for name in home.registry.models(context)])


@api.get("/models/{name}", tags=["models"], summary="One model")
def get_model(home: Home, context: Acting, name: NameInPath) -> shapes.Model:
    """Return a model."""
    return _model(home, context, name)


@api.get("/models/{name}/versions", tags=["models"], summary="A model's versions")
def list_versions(home: Home, context: Acting, name: NameInPath) -> shapes.Versions:
    """Return a model's versions, oldest first, and the moves of its champion."""
    return shapes.Versions(
        items=[shapes.Version.model_validate(version) for version in home.registry.versions(context, name)],
        champion=home.registry.alias(context, name).version,
        moves=[shapes.Move.model_validate(move) for move in home.registry.moves(context, name)],
    )


@api.get("/models/{name}/versions/{number}/why", tags=["models"], summary="Why a version exists")
def why(home: Home, context: Acting, name: NameInPath, number: Annotated[shapes.Number, Path()]) -> shapes.Why:
    """Tell what triggered a version, on which data it was trained, by which evidence it was judged, who decided."""
    story = home.loops.why(context, name, number)
    return shapes.Why(model=name, number=number, lines=[shapes.Line(step=step, words=words) for step, words in story])


@api.post("/models/{name}/promote", tags=["models"], summary="Make a version the champion")
def promote(home: Home, context: Acting, name: NameInPath, asked: shapes.Promotion) -> shapes.Moved:
    """Make a version the champion, and let it answer."""
    return moving.promote(home, context, name, asked.version, reason=asked.reason)


@api.post("/models/{name}/rollback", tags=["models"], summary="Give the place back to the champion before")
def rollback(home: Home, context: Acting, name: NameInPath, asked: shapes.Rollback) -> shapes.Moved:
    """Give the place back to the champion before, or to the version named."""
    return moving.rollback(home, context, name, to=asked.to, reason=asked.reason)


@api.get("/endpoints", tags=["endpoints"], summary="All endpoints, with who answers")
def list_endpoints(home: Home, context: Acting) -> shapes.Endpoints:
    """Return each endpoint's route as it is now."""
    routes = [home.endpoints.route(context, endpoint.name) for endpoint in home.endpoints.all(context)]
    return shapes.Endpoints(items=[shapes.Endpoint.model_validate(route) for route in routes])


@api.get("/datasets", tags=["datasets"], summary="All datasets")
def list_datasets(home: Home, context: Acting) -> shapes.Datasets:
    """Return each dataset with its newest snapshot."""
    return shapes.Datasets(items=[_dataset(home, context, known.name) for known in home.datasets.datasets(context)])


@api.get("/datasets/{name}", tags=["datasets"], summary="One dataset")
def get_dataset(home: Home, context: Acting, name: NameInPath) -> shapes.Dataset:
    """Return a dataset."""
    return _dataset(home, context, name)


@api.get("/datasets/{name}/snapshots", tags=["datasets"], summary="A dataset's snapshots")
def list_snapshots(home: Home, context: Acting, name: NameInPath) -> shapes.Snapshots:
    """Return a dataset's snapshots, oldest first."""
    found = home.datasets.snapshots(context, name)
    return shapes.Snapshots(items=[shapes.Snapshot.model_validate(snapshot) for snapshot in found])


@api.get("/facts", tags=["ledger"], summary="What happened, in order")
def list_facts(
    home: Home,
    context: Acting,
    after: Annotated[int, Query(ge=-1, le=_MOST_POSITION, description="the position to go on from")] = -1,
    limit: Limit = 100,
) -> shapes.Facts:
    """Return the facts that come after a position; ask again with `next` to follow the ledger."""
    home.access.require(context, Permission.LEDGER_READ)
    home.ledger.seal()
    found = [
        shapes.Fact.model_validate(fact) for fact in home.ledger.after(after, project=context.project, limit=limit)
    ]
    return shapes.Facts(items=found, next=found[-1].position if found else after)


@api.get("/audit/checkpoint", tags=["ledger"], summary="A signed checkpoint of the ledger")
def checkpoint(home: Home, context: Acting) -> shapes.Checkpoint:
    """Sign the ledger as it stands; a note that is kept elsewhere shows, later, whether the tail was cut."""
    home.access.require(context, Permission.LEDGER_READ)
    signed = home.ledger.checkpoint()
    if signed is None:
        raise NotFound("fact", "any", hint="nothing has happened in this home yet")
    return shapes.Checkpoint.model_validate(signed)


def _loop(home: Platform, context: Context, row: LoopRow) -> shapes.Loop:
    cycle = home.loops.open_cycle(context, row.name)
    model = str(row.spec["model"])
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
        spec=row.spec,
    )


def _model(home: Platform, context: Context, name: str) -> shapes.Model:
    return shapes.Model(
        name=name,
        versions=len(home.registry.versions(context, name)),
        champion=home.registry.alias(context, name, CHAMPION).version,
        anchor=home.registry.alias(context, name, ANCHOR).version,
    )


def _dataset(home: Platform, context: Context, name: str) -> shapes.Dataset:
    declared, latest = home.datasets.dataset(context, name), home.datasets.latest(context, name)
    return shapes.Dataset(
        name=declared.name,
        key=declared.key,
        time=declared.time,
        label=declared.label,
        latest=None if latest is None else shapes.Snapshot.model_validate(latest),
    )
