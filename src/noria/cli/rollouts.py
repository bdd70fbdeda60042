"""`noria rollouts` and `noria rollout abort`: candidates on their way in, and how to take one back."""

from typing import Any

import click

from noria.cli.output import home_option, json_option, opened, show
from noria.rollouts.model import Rollout
from noria.rollouts.spec import Canary


@click.command()
@click.argument("model", required=False)
@home_option
@json_option
def rollouts(model: str | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List candidates' ways in, with stage, looks, exposure and reasons."""
    with opened(home) as platform:
        found = platform.rollouts.all(platform.context, model)
    rows = [_row(one) | ({"look": dict(one.look), "passed": list(one.passed)} if as_json else {}) for one in found]
    show(
        rows, as_json=as_json, empty="no rollouts yet: a loop with rollout=nr.Canary() begins one when its gate passes"
    )


@click.group()
def rollout() -> None:
    """Take a candidate back."""


@rollout.command()
@click.argument("name", metavar="ENDPOINT")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@home_option
def abort(name: str, reason: str, home: str | None) -> None:
    """Take back the candidate on its way in at ENDPOINT; the champion answers everything again."""
    with opened(home) as platform:
        ended = platform.rollouts.abort(platform.context, name, reason=reason)
    click.echo(f"{ended.model}@{ended.candidate} was taken back; {ended.model}@{ended.champion} answers everything")


def _row(found: Rollout) -> dict[str, Any]:
    canary = Canary.from_plain(found.spec)
    return {
        "endpoint": found.endpoint,
        "candidate": f"{found.model}@{found.candidate}",
        "champion": f"{found.model}@{found.champion}",
        "state": found.state.value,
        "stage": str(canary.plan()[found.stage]),
        "began": found.began_at,
        "looks": found.looks,
        "live_answers": found.exposed,
        "next_look": found.look_due,
        "words": found.words if not found.is_open else "; ".join(found.look.get("reasons", [])) or found.words,
    }
