"""`noria submit` and `noria work`: runs that wait for a worker, and the worker that executes them."""

import threading

import click

from noria.cli.output import home_option, json_option, opened, show_one
from noria.cli.queue_worker import QueueWorker
from noria.cli.runs import noted, param_option, params_of, pipeline_named, waits_of
from noria.cli.signals import on_signals
from noria.runs.holding import QUEUE
from noria.runs.rules import needed

_LOOK_EVERY_SECONDS = 1.0


@click.command()
@click.argument("target", metavar="FILE|MODULE[:PIPELINE]")
@param_option
@click.option("--key", help="Submitting again under the same key is the same run.")
@click.option("--priority", default=0, show_default=True, help="A higher one is executed first; then the oldest.")
@click.option("--tag", "tags", multiple=True, help="Only a worker with this among its worker_tags; may be repeated.")
@home_option
@json_option
def submit(
    target: str,
    params: tuple[str, ...],
    key: str | None,
    priority: int,
    tags: tuple[str, ...],
    home: str | None,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Let the pipeline of FILE or MODULE (or the one named) wait for a worker."""
    pipeline = pipeline_named(target)
    given = pipeline.read(params_of(params), note=noted)
    with opened(home) as platform:
        run = platform.runs.submit(platform.context, pipeline, params=given, key=key, priority=priority, tags=tags)
        waits = waits_of(platform, [run]).get(run.id)
    row = {"run": run.id, "state": run.state.value, "priority": run.priority, "bundle": run.bundle}
    show_one(row | {"needs": needed(run.needs) or None, "waits": waits}, as_json=as_json)


@click.command()
@click.option("--once", is_flag=True, help="End when no run waits that this worker can execute.")
@home_option
def work(once: bool, home: str | None) -> None:  # noqa: FBT001 - click's flags
    """Execute submitted runs until SIGTERM or Ctrl-C; any number of workers may share a home.

    Each run has a process of its own, with the code that it was submitted with. When the signal comes, the run under way is
    given back, and another worker goes on with it from its last finished step; a second signal ends all at once.
    """
    hurry = threading.Event()
    told = on_signals(hurry)
    with opened(home) as platform:
        worker = QueueWorker(platform, told=told, hurry=hurry)
        with worker.attending(), platform.database.listen(QUEUE) as ear:
            while not told.is_set():
                if worker.execute_all() == 0 and once:
                    return
                worker.attend()
                ear.wait(0 if once else _LOOK_EVERY_SECONDS)
