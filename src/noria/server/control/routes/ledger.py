"""The ledger's facts, signed checkpoints, and whether this process answers."""

from typing import Annotated

from fastapi import APIRouter, Query

from noria.access.model import Permission
from noria.core.errors import NotFound
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API, ERRORS, Limit
from noria.server.control.shapes import ledger as shapes
from noria.server.control.shapes.shape import Health
from noria.version import __version__

_MOST_POSITION = 2**53

health = APIRouter(tags=["health"])
router = APIRouter(prefix=API, tags=["ledger"])


@health.get("/healthz", summary="Whether this process and its database answer", responses={503: ERRORS[503]})
def healthz(home: Home) -> Health:
    """Answer if the database does."""
    home.database.read(home.database.lease_time)
    return Health(status="ok", version=__version__)


@router.get("/facts", summary="What happened, in order")
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


@router.get("/audit/checkpoint", summary="A signed checkpoint of the ledger")
def checkpoint(home: Home, context: Acting) -> shapes.Checkpoint:
    """Sign the ledger as it stands; a note that is kept elsewhere shows, later, whether the tail was cut."""
    home.access.require(context, Permission.LEDGER_READ)
    signed = home.ledger.checkpoint()
    if signed is None:
        raise NotFound("fact", "any", hint="nothing has happened in this home yet")
    return shapes.Checkpoint.model_validate(signed)
