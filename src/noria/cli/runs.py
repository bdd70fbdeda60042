"""`noria run` and the commands about runs: look at them, run them again, stop them, let them go on."""

import math
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar, cast

import click

from noria.boot import Platform
from noria.cli import files
from noria.cli.output import home_option, json_option, opened, show, show_one, words_aside
from noria.cli.signals import BY_A_SIGNAL, leaving_on_signals
from noria.cli.watching import Watch
from noria.core.errors import Invalid, NoriaError
from noria.pipelines import Pipeline
from noria.runs import rules
from noria.runs.model import Attempt, AttemptState, Metric, Param, Run, RunState

Command = TypeVar("Command", bound=Callable[..., object])
Begun = Callable[[str], object]

_LONGEST_RESULT = 2000
_MOST_ROWS = 200


def param_option(command: Command) -> Command:
    """Let a command take parameters of a pipeline."""
    words = "A parameter; its annotation says how the value is read, without one JSON if it is JSON."
    return click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help=words)(command)


def watch_option(command: Command) -> Command:
    """Let a command show a run while it goes on."""
    return click.option("--watch", is_flag=True, help="Show steps, their words and progress as they come.")(command)


@click.command()
@click.argument("target", metavar="FILE|MODULE[:PIPELINE]")
@param_option
@click.option("--key", help="Running again under the same key returns the same run.")
@watch_option
@home_option
@json_option
def run(target: str, params: tuple[str, ...], key: str | None, watch: bool, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Run the pipeline of FILE or MODULE (or the one named) and print how it went.

    The target is a file, such as steps.py or shop/train.py:fit, or a module as import has it, such as shop.train:fit.
    """
    with words_aside(as_json):
        pipeline = pipeline_named(target)
    given = pipeline.read(params_of(params), note=noted)

    def work(platform: Platform, begun: Begun) -> Run:
        return platform.runs.run(platform.context, pipeline, params=given, key=key, on_begin=begun)

    _told(home, work, watch=watch, as_json=as_json)


@click.group(invoke_without_command=True)
@click.option("--pipeline", help="Only those of a pipeline.")
@click.option("--state", type=click.Choice([state.value for state in RunState]), help="Only those in a state.")
@click.option("--limit", default=50, show_default=True, help="At most so many, the newest first.")
@home_option
@json_option
@click.pass_context
def runs(
    click_context: click.Context,
    pipeline: str | None,
    state: str | None,
    limit: int,
    home: str | None,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """List runs, the newest first; `noria runs show RUN` shows one."""
    if click_context.invoked_subcommand is not None:
        return
    with opened(home) as platform:
        found = platform.runs.list(platform.context, pipeline=pipeline, state=state, limit=limit)
        waits = waits_of(platform, found)
    rows = [
        {
            "run": row.id,
            "pipeline": row.pipeline,
            "state": row.state.value,
            "created": row.created_at,
            "wall_seconds": row.wall_seconds,
            "cpu_seconds": row.cpu_seconds,
            "usd": row.usd,
            "priority": row.priority,
            "parent": row.parent,
            "started_in": row.started_in,
            "waits": waits.get(row.id),
            "error": row.error,
        }
        for row in found
    ]
    show(rows, as_json=as_json, empty="no such runs yet: noria run FILE makes one")


@runs.command(name="show")
@click.argument("run_id", metavar="RUN")
@home_option
@json_option
def show_run(run_id: str, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Show RUN: where it came from, its params and metrics, what each try of a step used and cost, which runs it started."""
    with opened(home) as platform:
        rooms, context = platform.runs, platform.context
        found = rooms.get(context, run_id)
        attempts = [_attempt_row(attempt) for attempt in rooms.attempts(context, run_id)]
        hits = [{"step": hit.step, "made_in": hit.source_run} for hit in rooms.hits(context, run_id)]
        waits = waits_of(platform, [found]).get(found.id)
        inside = [inner.id for inner in rooms.started_in(context, run_id)]
        params = [_param_row(param) for param in rooms.params(context, run_id)]
        metrics = [_metric_row(metric) for metric in rooms.metrics(context, run_id)]
    whole = {
        "run": found.id,
        "pipeline": found.pipeline,
        "state": found.state.value,
        "created": found.created_at,
        "created_by": found.created_by,
        "ended": found.ended_at,
        "rerun_of": found.parent,
        "started_in": found.started_in,
        "started": inside,
        "priority": found.priority,
        "bundle": found.bundle,
        "needs": rules.needed(found.needs) or None,
        "waits": waits,
        "wall_seconds": found.wall_seconds,
        "cpu_seconds": found.cpu_seconds,
        "charged_cpu_seconds": found.charged_cpu_seconds,
        "usd": found.usd,
        "error": found.error,
    }
    if as_json:
        show_one(whole | {"params": params, "attempts": attempts, "hits": hits, "metrics": metrics}, as_json=True)
        return
    show_one({name: value for name, value in whole.items() if value not in (None, [])}, as_json=False)
    for rows in (params, attempts, hits, metrics):
        _show_some(rows)


def _show_some(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows; of very many some, those that failed before others."""
    if rows:
        click.echo()
    if len(rows) > _MOST_ROWS:
        failed_first = sorted(rows, key=lambda row: row.get("state") != AttemptState.FAILED)
        show(failed_first[:_MOST_ROWS], as_json=False, empty="")
        click.echo(f"and {len(rows) - _MOST_ROWS:,} more: --json has them all")
    elif rows:
        show(rows, as_json=False, empty="")


def waits_of(platform: Platform, found: Iterable[Run]) -> dict[str, str]:
    """Say what those runs wait for that no worker which is there can execute."""
    waiting = [run for run in found if run.state is RunState.QUEUED]
    unmet = {each.needs: each.words() for each in platform.runs.queue.unmet(platform.context)} if waiting else {}
    return {run.id: unmet[run.needs] for run in waiting if run.needs in unmet}


def _param_row(param: Param) -> dict[str, object]:
    return {"param": param.name, "step": param.step or None, "value": param.words}


def _metric_row(metric: Metric) -> dict[str, object]:
    """Return a row of a metric; NaN and infinity are texts, for JSON has no numbers for them."""
    value = metric.value if math.isfinite(metric.value) else str(metric.value)
    whole: dict[str, object] = {"metric": metric.name, "step": metric.step, "position": metric.position}
    return whole | {"value": value, "at": metric.at}


def _attempt_row(attempt: Attempt) -> dict[str, object]:
    return {
        "step": attempt.step,
        "attempt": attempt.attempt,
        "state": attempt.state.value,
        "wall_seconds": attempt.wall_seconds,
        "cpu_seconds": attempt.cpu_seconds,
        "peak_mb": None if attempt.peak_bytes is None else attempt.peak_bytes / 2**20,
        "usd": attempt.usd,
        "error": None if attempt.error is None else attempt.error.strip().splitlines()[-1],
    }


@click.command()
@click.argument("run_id", metavar="RUN")
@param_option
@click.option("--from", "from_step", metavar="STEP", help="Execute this step anew, and what depends on its result.")
@watch_option
@home_option
@json_option
def rerun(
    run_id: str,
    params: tuple[str, ...],
    from_step: str | None,
    watch: bool,  # noqa: FBT001 - a flag
    home: str | None,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Run the pipeline of RUN again, as a new run; what is the same as before is not executed."""
    texts = params_of(params)
    files.find_here()

    def work(platform: Platform, begun: Begun) -> Run:
        given = platform.runs.pipeline_of(platform.context, run_id).read(texts, note=noted) if texts else {}
        return platform.runs.rerun(platform.context, run_id, params=given, from_step=from_step, on_begin=begun)

    _told(home, work, watch=watch, as_json=as_json)


@click.command()
@click.argument("run_id", metavar="RUN")
@watch_option
@home_option
@json_option
def resume(run_id: str, watch: bool, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Let a failed, cancelled, paused or interrupted RUN go on from what is finished.

    One that was submitted goes on with the code that it was submitted with; `noria rerun` takes the code of now.
    """

    def work(platform: Platform, begun: Begun) -> Run:
        begun(run_id)
        bundle = platform.runs.get(platform.context, run_id).bundle
        files.find_here(None if bundle is None else platform.bundles.unpacked(bundle))
        return platform.runs.resume(platform.context, run_id, allow_changed_code=bundle is not None)

    _told(home, work, watch=watch, as_json=as_json)


@click.command()
@click.argument("run_id", metavar="RUN")
@home_option
def cancel(run_id: str, home: str | None) -> None:
    """End RUN; what is finished stays, and a step under way is cut short where that can be done."""
    with opened(home) as platform:
        click.echo(_stopped(platform.runs.cancel(platform.context, run_id), _CANCELLED))


@click.command()
@click.argument("run_id", metavar="RUN")
@home_option
def pause(run_id: str, home: str | None) -> None:
    """Let RUN rest before its next step, until it is resumed."""
    with opened(home) as platform:
        click.echo(_stopped(platform.runs.pause(platform.context, run_id), "will rest before its next step"))


_CANCELLED = (
    "ends: a step under way is cut short within about a second by noria work, and by executors that can end steps; "
    "in any other process it ends when it next tells something (nr.progress, nr.log_metric), or by itself"
)


def _stopped(found: Run, how: str) -> str:
    if found.state is RunState.RUNNING:
        return f"run {found.id} {how}"
    return f"run {found.id} is {found.state.value}; noria resume {found.id} lets it go on"


def _told(home: str | None, work: Callable[[Platform, Begun], Run], *, watch: bool, as_json: bool) -> None:
    """Do the work, shown as it goes on if asked to, and print how the run went; a signal gives the run back."""
    with opened(home) as platform:
        shown = Watch(platform)
        showing = shown.showing() if watch else nullcontext()
        try:
            with leaving_on_signals(platform.runs.leave), words_aside(as_json), showing:
                done = work(platform, shown.begin)
        except KeyboardInterrupt:
            if shown.run is None:
                raise
            words = f"run {shown.run} is given back: what is finished stays, and noria resume {shown.run} goes on from there"
            click.echo(f"\n{words}", err=True)
            raise click.exceptions.Exit(BY_A_SIGNAL + signal.SIGINT) from None
        show_one(_row(done, as_json=as_json), as_json=as_json)
        if done.cause is not None and not isinstance(done.cause, NoriaError):
            click.echo(rules.traceback_of(done.cause), err=True)
        if done.state is not RunState.SUCCEEDED:
            raise click.exceptions.Exit(1)


def _row(done: Run, *, as_json: bool) -> Mapping[str, object]:
    result = done.result if done.state is RunState.SUCCEEDED else None
    return {
        "run": done.id,
        "pipeline": done.pipeline,
        "state": done.state.value,
        "cpu_seconds": done.cpu_seconds,
        "result": result if as_json or done.state is not RunState.SUCCEEDED else _shortened(result),
        "error": done.error,
        "hint": done.cause.hint if isinstance(done.cause, NoriaError) else None,
    }


def _shortened(result: object) -> str:
    text = repr(result)
    return text if len(text) <= _LONGEST_RESULT else f"{text[:_LONGEST_RESULT]}... ({len(text):,} characters)"


def pipeline_named(target: str) -> Pipeline[..., Any]:
    """Import the pipeline that a target names, or the only one of its file."""
    place, name = files.split(target)
    return cast("Pipeline[..., Any]", files.one_of(files.load(place), Pipeline, name, what="pipeline"))


def noted(words: str) -> None:
    """Say how a text was taken that could be meant otherwise, beside the answer."""
    click.echo(f"note: {words}", err=True)


def params_of(texts: tuple[str, ...]) -> dict[str, str]:
    """Split `-p NAME=VALUE`, each name once."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise Invalid(f"{text!r} is no parameter", hint="write it as NAME=VALUE")
        if name.strip() in found:
            raise Invalid(f"{name.strip()!r} is given twice", hint="leave one of them away")
        found[name.strip()] = value
    return found
