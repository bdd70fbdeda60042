"""Moves the champion on somebody's word: the one place where the control API changes what is live."""

from noria.boot import Platform
from noria.core.context import Context
from noria.server.control.shapes import Moved


def promote(platform: Platform, context: Context, model: str, version: int, *, reason: str) -> Moved:
    """Make a version the champion; see `Registry.promote`."""
    before = platform.registry.alias(context, model)
    after = platform.registry.promote(context, model, version, expected=before.version, reason=reason)
    return Moved(model=model, version=after.version, before=before.version, epoch=after.epoch)


def rollback(platform: Platform, context: Context, model: str, *, to: int | None, reason: str) -> Moved:
    """Give the place back to the champion before, or to the version named; see `Registry.rollback`."""
    before = platform.registry.alias(context, model)
    after = platform.registry.rollback(context, model, to=to, reason=reason)
    return Moved(model=model, version=after.version, before=before.version, epoch=after.epoch)
