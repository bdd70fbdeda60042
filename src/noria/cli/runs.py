"""`noria run`: run a pipeline of a Python file."""

import json
from typing import Any, cast

import click

from noria.cli import files
from noria.cli.output import home_option, json_option, opened, show_one
from noria.core.errors import Invalid
from noria.pipelines import Pipeline
from noria.runs.model import RunState


@click.command()
@click.argument("target", metavar="FILE[:PIPELINE]")
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter; the value is read as JSON if it is JSON.",
)
@click.option("--key", help="Running again under the same key returns the same run.")
@home_option
@json_option
def run(target: str, params: tuple[str, ...], key: str | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Run the pipeline of FILE (or the one named) and print how it went."""
    path, name = files.split(target)
    pipeline = cast("Pipeline[..., Any]", files.one_of(files.load(path), Pipeline, name, what="pipeline"))
    with opened(home) as platform:
        done = platform.run(pipeline, params=dict(_pair(text) for text in params), key=key)
        told = {
            "run": done.id,
            "pipeline": pipeline.name,
            "state": done.state.value,
            "cpu_seconds": done.cpu_seconds,
            "result": repr(done.result) if done.state is RunState.SUCCEEDED else None,
            "error": done.error,
        }
    show_one(told, as_json=as_json)
    if done.state is not RunState.SUCCEEDED:
        raise click.exceptions.Exit(1)


def _pair(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator:
        raise Invalid(f"{text!r} is no parameter", hint="write it as NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
