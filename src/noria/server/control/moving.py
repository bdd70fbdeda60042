"""Moves the champion on somebody's word: the one place where the control API changes what is live."""

from noria.boot import Platform
from noria.core.context import Context
from noria.server.control.shapes.models import Moved


def promote(platform: Platform, context: Context, model: str, version: int, *, reason: str) -> Moved:
    """Make a version the champion and let it answer; see `Rollouts.promote`."""
    before = platform.registry.alias(context, model)
    after = platform.rollouts.promote(context, model, version, reason=reason)
    return Moved(model=model, version=after.version, before=before.version, epoch=after.epoch)


def rollback(platform: Platform, context: Context, model: str, *, to: int | None, reason: str) -> Moved:
    """Give the place back to the champion before, or to the version named; see `Rollouts.rollback`."""
    before = platform.registry.alias(context, model)
    after = platform.rollouts.rollback(context, model, to=to, reason=reason)
    return Moved(model=model, version=after.version, before=before.version, epoch=after.epoch)
