"""Endpoints with who answers, and candidates on their way in."""

from typing import Any

from fastapi import APIRouter

from noria.rollouts.model import Rollout, RolloutState, RolloutsWanted
from noria.rollouts.spec import Canary
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API, After, Limit, NameInPath, NameInQuery, WithRetired
from noria.server.control.shapes import rollouts as shapes
from noria.server.control.shapes.shape import Reasoned

router = APIRouter(prefix=API)


@router.get("/endpoints", tags=["endpoints"], summary="All endpoints, with who answers")
def list_endpoints(home: Home, context: Acting, *, with_retired: WithRetired = False) -> shapes.Endpoints:
    """Return the route, as it is now, of each endpoint that is not retired."""
    found = home.endpoints.all(context, with_retired=with_retired)
    routes = [home.endpoints.route(context, endpoint.name) for endpoint in found]
    return shapes.Endpoints(items=[shapes.Endpoint.model_validate(route) for route in routes])


@router.get("/rollouts", tags=["rollouts"], summary="Candidates on their way in, and how the others ended")
def list_rollouts(
    home: Home,
    context: Acting,
    model: NameInQuery = None,
    state: RolloutState | None = None,
    after: After = None,
    limit: Limit = 50,
) -> shapes.Rollouts:
    """Return rollouts, newest first, a page at a time."""
    found = home.rollouts.page(context, RolloutsWanted(model=model, state=state, limit=limit), after=after)
    lines = [shapes.RolloutLine.model_validate(_line(rollout)) for rollout in found]
    return shapes.Rollouts(items=lines, next=lines[-1].id if len(lines) == limit else None)


@router.get("/rollouts/{rollout}", tags=["rollouts"], summary="One candidate's way in, with its evidence")
def get_rollout(home: Home, context: Acting, rollout: NameInPath) -> shapes.Rollout:
    """Return a rollout: its stages, the looks that passed them, and every reading of the last look."""
    return _whole(home.rollouts.get(context, rollout))


@router.post("/rollouts/{rollout}/abort", tags=["rollouts"], summary="Take a candidate back")
def abort_rollout(home: Home, context: Acting, rollout: NameInPath, asked: Reasoned) -> shapes.Rollout:
    """Take a candidate back that is on its way in; the champion answers everything again."""
    return _whole(home.rollouts.take_back(context, rollout, reason=asked.reason))


def _line(rollout: Rollout) -> dict[str, Any]:
    line = {name: getattr(rollout, name) for name in shapes.RolloutLine.model_fields}
    return line | {"stage": str(Canary.from_plain(rollout.spec).plan()[rollout.stage])}


def _whole(rollout: Rollout) -> shapes.Rollout:
    stages = [
        {"name": str(stage), "weight": stage.weight, "seconds": stage.lasts.total_seconds()}
        for stage in Canary.from_plain(rollout.spec).plan()
    ]
    more = {"stages": stages, "passed": rollout.passed, "look": rollout.look or None, "spec": rollout.spec}
    return shapes.Rollout.model_validate(_line(rollout) | more)
