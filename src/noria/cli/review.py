"""`noria review`: candidates that wait for a person."""

import click

from noria.cli.output import home_option, json_option, opened, show
from noria.loop.model import Cycle


@click.group()
def review() -> None:
    """See which candidates wait for a person, and approve or refuse them."""


@review.command()
@home_option
@json_option
def ls(home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List the candidates that wait, the most urgent first."""
    with opened(home) as platform:
        rows = [
            {
                "loop": cycle.loop,
                "cycle": cycle.number,
                "candidate": cycle.candidate,
                "until": cycle.deadline,
                "why": "; ".join(reason.words for reason in cycle.reasons),
                "verdict": "; ".join(cycle.verdict["reasons"]),
            }
            for cycle in platform.loops.reviews(platform.context)
        ]
    show(rows, as_json=as_json, empty="nothing waits for a review")


@review.command()
@click.argument("loop")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@home_option
def approve(loop: str, reason: str, home: str | None) -> None:
    """Let the candidate of LOOP be rolled out."""
    with opened(home) as platform:
        cycle = platform.loops.approve(platform.context, loop, reason=reason)
    click.echo(f"{_named(cycle)} is approved; the loop's worker rolls it out")


@review.command()
@click.argument("loop")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@home_option
def refuse(loop: str, reason: str, home: str | None) -> None:
    """Decline the candidate of LOOP; the champion stays."""
    with opened(home) as platform:
        cycle = platform.loops.refuse(platform.context, loop, reason=reason)
    click.echo(f"{_named(cycle)} is refused; the champion stays")


def _named(cycle: Cycle) -> str:
    return f"candidate {cycle.candidate} of loop {cycle.loop} (cycle {cycle.number})"
