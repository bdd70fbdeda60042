"""Runs of pipelines: which there are, and what became of one."""

from fastapi import APIRouter

from noria.runs.model import RunState
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API, After, Limit, NameInPath, NameInQuery
from noria.server.control.shapes import runs as shapes

router = APIRouter(prefix=API, tags=["runs"])


@router.get("/runs", summary="The runs of pipelines")
def list_runs(
    home: Home,
    context: Acting,
    pipeline: NameInQuery = None,
    state: RunState | None = None,
    after: After = None,
    limit: Limit = 50,
) -> shapes.Runs:
    """Return runs, newest first, a page at a time."""
    found = home.runs.list(context, pipeline=pipeline, state=state, limit=limit, after=after)
    lines = [shapes.RunLine.model_validate(run) for run in found]
    return shapes.Runs(items=lines, next=lines[-1].id if len(lines) == limit else None)


@router.get("/runs/{run}", summary="One run, with its params, metrics and attempts")
def get_run(home: Home, context: Acting, run: NameInPath) -> shapes.Run:
    """Return a run."""
    runs, line = home.runs, shapes.RunLine.model_validate(home.runs.get(context, run))
    return shapes.Run(
        **dict(line),
        params=[shapes.Param.model_validate(each) for each in runs.params(context, run)],
        metrics=[shapes.Metric.model_validate(each) for each in runs.metrics(context, run)],
        attempts=[shapes.Attempt.model_validate(each) for each in runs.attempts(context, run)],
    )
