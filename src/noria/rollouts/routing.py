"""Moves the routes of a model's endpoints, in the transaction of the decision that moves them."""

from collections.abc import Sequence

from noria.core.context import Context
from noria.rollouts.model import Rollout, Stage
from noria.serving.model import Variant
from noria.serving.service import Endpoints
from noria.store.database import Connection


def to_champion_in(
    endpoints: Endpoints, connection: Connection, context: Context, model: str, version: int, *, reason: str
) -> None:
    """Let one version answer everything, at every endpoint of the model; a route that says so already stays."""
    for endpoint in endpoints.of_model_in(connection, context, model):
        _set(endpoints, connection, context, endpoint.name, (Variant(version=version, weight=1.0),), reason=reason)


def to_stage_in(endpoints: Endpoints, connection: Connection, context: Context, rollout: Rollout, stage: Stage) -> None:
    """Give the candidate its share of the keys, or let it see every request without answering any."""
    reason = f"{rollout.model}@{rollout.candidate} on its way in: {stage}"
    if stage.is_shadow:
        only = (Variant(version=rollout.champion, weight=1.0),)
        _set(endpoints, connection, context, rollout.endpoint, only, shadows=(rollout.candidate,), reason=reason)
        return
    shares = (
        Variant(version=rollout.candidate, weight=stage.weight),
        Variant(version=rollout.champion, weight=1 - stage.weight),
    )
    _set(endpoints, connection, context, rollout.endpoint, shares, reason=reason)


def _set(
    endpoints: Endpoints,
    connection: Connection,
    context: Context,
    name: str,
    variants: Sequence[Variant],
    *,
    shadows: Sequence[int] = (),
    reason: str,
) -> None:
    before = endpoints.route_in(connection, context, name)
    if (before.variants, before.shadows) == (tuple(variants), tuple(shadows)):
        return
    endpoints.set_route_in(
        connection,
        context,
        name,
        expected_epoch=before.epoch,
        variants=variants,
        shadows=shadows,
        reason=reason,
    )
