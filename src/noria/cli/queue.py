"""`noria submit` and `noria work`: runs that wait for a worker, and the worker that executes them."""

import threading
from pathlib import Path
from typing import Any, cast

import click

from noria.boot import Platform
from noria.cli import files
from noria.cli.output import home_option, json_option, opened, show_one
from noria.cli.runs import find_here, param_option, params_of
from noria.cli.signals import on_signals
from noria.core.errors import LeaseLost, Unavailable
from noria.pipelines import Pipeline
from noria.runs.claiming import QUEUE

_LOOK_EVERY_SECONDS = 1.0


@click.command()
@click.argument("target", metavar="FILE[:PIPELINE]")
@param_option
@click.option("--key", help="Submitting again under the same key is the same run.")
@click.option("--priority", default=0, show_default=True, help="A higher one is executed first; then the oldest.")
@home_option
@json_option
def submit(
    target: str,
    params: tuple[str, ...],
    key: str | None,
    priority: int,
    home: str | None,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Let the pipeline of FILE (or the one named) wait for a worker."""
    path, name = files.split(target)
    pipeline = cast("Pipeline[..., Any]", files.one_of(files.load(path), Pipeline, name, what="pipeline"))
    given = params_of(params)
    with opened(home) as platform:
        run = platform.runs.submit(platform.context, pipeline, params=given, key=key, priority=priority)
    show_one({"run": run.id, "state": run.state.value, "priority": run.priority}, as_json=as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), nargs=-1)
@click.option("--once", is_flag=True, help="End when no run waits.")
@home_option
def work(file: tuple[Path, ...], once: bool, home: str | None) -> None:  # noqa: FBT001 - click's flags
    """Execute submitted runs until SIGTERM; any number of workers may share a home.

    Pipelines are found as Python finds modules, in this folder too; each FILE is loaded first. What is being executed
    when the signal comes is finished.
    """
    told = on_signals()
    find_here()
    for each in file:
        files.load(each)
    with opened(home) as platform, platform.database.listen(QUEUE) as ear:
        while not told.is_set():
            if _execute_all(platform, told) == 0 and once:
                return
            ear.wait(0 if once else _LOOK_EVERY_SECONDS)


def _execute_all(platform: Platform, told: threading.Event) -> int:
    """Execute what waits, and return how many runs that were; what cannot be gone on with now is looked at again."""
    count = 0
    while not told.is_set():
        try:
            run = platform.runs.run_next(platform.context)
        except (LeaseLost, Unavailable) as problem:
            click.echo(problem.sentence, err=True)
            return count
        if run is None:
            return count
        count += 1
        click.echo(f"run {run.id} of {run.pipeline} {run.state.value}{f': {run.error}' if run.error else ''}")
    return count
