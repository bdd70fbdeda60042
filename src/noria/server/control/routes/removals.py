"""Retiring, restoring and removing loops, datasets, models, endpoints and runs."""

from fastapi import APIRouter

from noria.loop.removal_model import Thing
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API
from noria.server.control.shapes import removals as shapes
from noria.server.control.shapes.shape import Accepted

router = APIRouter(prefix=API)


@router.get("/retired", tags=["removals"], summary="What is retired")
def list_retired(home: Home, context: Acting) -> shapes.Retirements:
    """Return what lists leave out, since when, by whom and why."""
    found = [shapes.Retirement.model_validate(each) for each in home.removals.retired(context)]
    return shapes.Retirements(items=found)


@router.post("/retire", tags=["removals"], summary="Retire a thing")
def retire(home: Home, context: Acting, asked: shapes.Named) -> Accepted:
    """Hide a thing from lists; a loop is paused, too."""
    thing = Thing(kind=asked.kind, name=asked.name)
    home.removals.retire(context, thing, reason=asked.reason)
    return Accepted(words=f"{thing} is retired")


@router.post("/restore", tags=["removals"], summary="Show a retired thing again")
def restore(home: Home, context: Acting, asked: shapes.Named) -> Accepted:
    """Show a retired thing again; a loop stays paused until it is resumed."""
    thing = Thing(kind=asked.kind, name=asked.name)
    home.removals.restore(context, thing, reason=asked.reason)
    return Accepted(words=f"{thing} is shown again")


@router.post("/remove", tags=["removals"], summary="Delete a thing for good, or say what would go")
def remove(home: Home, context: Acting, asked: shapes.Unwanted) -> shapes.Removal:
    """Delete a thing and all that is kept of it; a dry run unless told otherwise."""
    thing = Thing(kind=asked.kind, name=asked.name)
    found = home.removals.remove(
        context, thing, reason=asked.reason, with_users=asked.with_users, dry_run=asked.dry_run
    )
    told = {name: getattr(found, name) for name in ("thing", "used_by", "busy", "rows")}
    return shapes.Removal.model_validate(told | {"dry_run": asked.dry_run})
