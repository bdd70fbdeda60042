"""`noria loop` and `noria cycles`: start loops, see how they stand and what each turn decided."""

from collections.abc import Mapping
from pathlib import Path

import click

from noria.boot import Platform
from noria.cli.loop_files import loops_of
from noria.cli.output import home_option, json_option, opened, show
from noria.cli.signals import on_signals
from noria.cli.working import tell
from noria.core.errors import Conflict
from noria.loop.model import Cycle, CyclesWanted, Outcome


@click.group()
def loop() -> None:
    """Start loops, and see how they stand."""


@loop.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Answer what there is to answer now, and end.")
@home_option
def start(file: Path, once: bool, home: str | None) -> None:  # noqa: FBT001 - click's flags
    """Declare the loops of FILE and turn them until Ctrl-C (or SIGTERM)."""
    loops = loops_of(file)
    with opened(home) as platform:
        for declared in loops:
            platform.start(declared)
            click.echo(f"loop {declared.name}: {declared.when.words()}")
        before = {declared.name: platform.loops.get(platform.context, declared.name).cycles for declared in loops}
        with platform.worker(*loops, on_turn=tell, endures=True, tries_again=not once) as worker:
            if once:
                worker.run_until_quiet()
            else:
                worker.run_until_told(on_signals())
                click.echo("the loops rest; what was begun goes on at the next start")
        _must_have_gone_well(platform, before)


def _must_have_gone_well(platform: Platform, before: Mapping[str, int]) -> None:
    """Raise `Conflict` if the last turn of a loop since then has failed, or it could not do something."""
    failed = [
        f"cycle {cycle.number} of loop {name} failed: {cycle.words}"
        for name, known in before.items()
        for cycle in platform.loops.page(platform.context, CyclesWanted(loop=name, limit=1))
        if cycle.outcome is Outcome.FAILED and cycle.number > known
    ]
    stumbled = [
        f"loop {found.loop} stumbled: {found.words()}"
        for name in before
        for found in platform.loops.stumbles(platform.context, name)
        if found.cycle is None
    ]
    if failed or stumbled:
        raise Conflict("; ".join([*failed, *stumbled]), hint="noria doctor --trace says more")


@loop.command()
@click.argument("name")
@home_option
def pause(name: str, home: str | None) -> None:
    """Let a loop answer nothing until it is resumed; a candidate on its way in is still looked at."""
    with opened(home) as platform:
        platform.loops.pause(platform.context, name)
    click.echo(f"loop {name} is paused; noria loop resume {name} lets it go on")


@loop.command()
@click.argument("name")
@home_option
def resume(name: str, home: str | None) -> None:
    """Let a paused loop answer again, beginning with what came meanwhile."""
    with opened(home) as platform:
        platform.loops.resume(platform.context, name)
    click.echo(f"loop {name} goes on at its worker's next look")


@loop.command()
@click.argument("name")
@click.option("--reason", default="asked by hand", help="Why; it stands in the record.")
@home_option
def retry(name: str, reason: str, home: str | None) -> None:
    """Have all that a loop has stumbled over tried again; noria doctor says what that is."""
    with opened(home) as platform:
        found = platform.loops.retry(platform.context, name, reason=reason)
    for each in found:
        click.echo(f"tried again: {each.words()}")


@loop.command()
@click.argument("name")
@click.option("--reason", default="asked by hand", help="Why; it stands in the record.")
@home_option
def trigger(name: str, reason: str, home: str | None) -> None:
    """Ask for a cycle by hand."""
    with opened(home) as platform:
        platform.loops.request(platform.context, name, reason=reason)
    click.echo(f"loop {name} will open a cycle at its worker's next look")


@loop.command()
@home_option
@json_option
def status(home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Show each loop: where in its turn it is, its champion, and what has come since the last cycle."""
    with opened(home) as platform:
        rows = [
            {
                "loop": row.name,
                "state": row.state.value,
                "trouble": None if streak is None else streak.words(),
                "stumbles": len(platform.loops.stumbles(platform.context, row.name)),
                "cycle": None if cycle is None else f"{cycle.number} {cycle.state.value}",
                "champion": platform.registry.alias(platform.context, row.spec["model"], "champion").version,
                "cycles": row.cycles,
                "rows_since": row.standing.rows,
                "labels_since": row.standing.labels,
                "turns_on": row.spec["when"]["words"],
            }
            for row in platform.loops.all(platform.context)
            for cycle in [platform.loops.open_cycle(platform.context, row.name)]
            for streak in [platform.loops.streak(platform.context, row.name)]
        ]
    show(rows, as_json=as_json, empty="no loops yet: noria init writes one, noria loop start FILE starts it")


@click.command()
@click.argument("name", required=False)
@home_option
@json_option
def cycles(name: str | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List the turns of the loops, with outcomes and reasons."""
    with opened(home) as platform:
        rows = [_row(cycle) for cycle in platform.loops.cycles(platform.context, name)]
    show(rows, as_json=as_json, empty="no cycles yet: noria loop start FILE turns a loop")


def _row(cycle: Cycle) -> dict[str, object]:
    return {
        "loop": cycle.loop,
        "cycle": cycle.number,
        "opened": cycle.opened_at,
        "state": cycle.state.value,
        "outcome": None if cycle.outcome is None else cycle.outcome.value,
        "candidate": cycle.candidate,
        "promoted": cycle.promoted,
        "why": "; ".join(reason.words for reason in cycle.reasons),
        "words": cycle.words,
    }
