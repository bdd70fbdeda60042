"""Models and their versions, why they exist, and the champion's place."""

from typing import Annotated

from fastapi import APIRouter, Path

from noria.boot import Platform
from noria.core.context import Context
from noria.registry.model import ANCHOR, CHAMPION
from noria.server.control import moving
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API, NameInPath, WithRetired
from noria.server.control.shapes import models as shapes
from noria.server.control.shapes.shape import Number

router = APIRouter(prefix=API, tags=["models"])


@router.get("/models", summary="All models")
def list_models(home: Home, context: Acting, *, with_retired: WithRetired = False) -> shapes.Models:
    """Return each model that is not retired, with its champion and its anchor."""
    found = home.registry.models(context, with_retired=with_retired)
    return shapes.Models(items=[_model(home, context, name) for name in found])


@router.get("/models/{name}", summary="One model")
def get_model(home: Home, context: Acting, name: NameInPath) -> shapes.Model:
    """Return a model."""
    return _model(home, context, name)


@router.get("/models/{name}/versions", summary="A model's versions")
def list_versions(home: Home, context: Acting, name: NameInPath) -> shapes.Versions:
    """Return a model's versions, oldest first, and the moves of its champion."""
    return shapes.Versions(
        items=[shapes.Version.model_validate(version) for version in home.registry.versions(context, name)],
        champion=home.registry.alias(context, name).version,
        moves=[shapes.Move.model_validate(move) for move in home.registry.moves(context, name)],
    )


@router.get("/models/{name}/versions/{number}/why", summary="Why a version exists")
def why(home: Home, context: Acting, name: NameInPath, number: Annotated[Number, Path()]) -> shapes.Why:
    """Tell what triggered a version, on which data it was trained, by which evidence it was judged, who decided."""
    story = home.loops.why(context, name, number)
    return shapes.Why(model=name, number=number, lines=[shapes.Line(step=step, words=words) for step, words in story])


@router.post("/models/{name}/promote", summary="Make a version the champion")
def promote(home: Home, context: Acting, name: NameInPath, asked: shapes.Promotion) -> shapes.Moved:
    """Make a version the champion, and let it answer."""
    return moving.promote(home, context, name, asked.version, reason=asked.reason)


@router.post("/models/{name}/rollback", summary="Give the place back to the champion before")
def rollback(home: Home, context: Acting, name: NameInPath, asked: shapes.Rollback) -> shapes.Moved:
    """Give the place back to the champion before, or to the version named."""
    return moving.rollback(home, context, name, to=asked.to, reason=asked.reason)


def _model(home: Platform, context: Context, name: str) -> shapes.Model:
    return shapes.Model(
        name=name,
        versions=len(home.registry.versions(context, name)),
        champion=home.registry.alias(context, name, CHAMPION).version,
        anchor=home.registry.alias(context, name, ANCHOR).version,
    )
