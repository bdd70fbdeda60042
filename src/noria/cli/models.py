"""`noria models`, `promote`, `rollback` and `why`."""

import click

from noria.cli.output import home_option, json_option, opened, show
from noria.core.errors import Invalid


@click.command()
@click.argument("name", required=False)
@home_option
@json_option
def models(name: str | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List models, or the versions of one; what is retired is left out."""
    with opened(home) as platform:
        context, registry = platform.context, platform.registry
        if name is None:
            rows = [
                {
                    "model": model,
                    "versions": len(registry.versions(context, model)),
                    "champion": registry.alias(context, model, "champion").version,
                    "anchor": registry.alias(context, model, "anchor").version,
                }
                for model in registry.models(context)
            ]
        else:
            champion = registry.alias(context, name, "champion").version
            rows = [
                {
                    "version": version.number,
                    "champion": "yes" if version.number == champion else "",
                    "trained_through": version.trained_through,
                    "refit_of": version.parent,
                    "run": version.run,
                    "registered": version.created_at,
                }
                for version in registry.versions(context, name)
            ]
    show(rows, as_json=as_json, empty="no models yet: a loop registers them, or home.registry.register(...)")


@click.command()
@click.argument("version", metavar="MODEL@N")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@home_option
def promote(version: str, reason: str, home: str | None) -> None:
    """Make a version the champion at once, and let it answer everywhere."""
    model, number = _split(version)
    with opened(home) as platform:
        before = platform.registry.alias(platform.context, model, "champion")
        platform.rollouts.promote(platform.context, model, number, reason=reason)
    click.echo(
        f"{model}@{number} is the champion; before it was {_named(model, before.version)}. Undo: noria rollback {model}"
    )


@click.command()
@click.argument("model")
@click.option("--to", type=int, help="The version to go back to; the champion before, if not given.")
@click.option("--reason", default="asked by hand", help="Why; it stands in the record.")
@home_option
def rollback(model: str, to: int | None, reason: str, home: str | None) -> None:
    """Undo the last step: take back the candidate on its way in, else give the place to the champion before."""
    with opened(home) as platform:
        before = platform.registry.alias(platform.context, model, "champion").version
        after = platform.rollouts.rollback(platform.context, model, to=to, reason=reason)
    if after.version == before:
        click.echo(f"the candidate on its way in was taken back; {_named(model, before)} answers everything")
    else:
        click.echo(f"{_named(model, after.version)} is the champion again, in place of {_named(model, before)}")


@click.command()
@click.argument("version", metavar="MODEL@N")
@home_option
@json_option
def why(version: str, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Tell in words why a version exists: what triggered it, on which data, by which evidence, and who decided."""
    model, number = _split(version)
    with opened(home) as platform:
        story = platform.loops.why(platform.context, model, number)
    if as_json:
        show([{"step": step, "words": words} for step, words in story], as_json=True, empty="")
        return
    for step, words in story:
        click.echo(f"{step:<10} {words}")


def _split(spelled: str) -> tuple[str, int]:
    model, separator, number = spelled.rpartition("@")
    if not separator or not number.isdigit():
        raise Invalid(f"{spelled!r} names no version", hint="write it as MODEL@N, for example late-flights@3")
    return model, int(number)


def _named(model: str, number: int | None) -> str:
    return "none" if number is None else f"{model}@{number}"
