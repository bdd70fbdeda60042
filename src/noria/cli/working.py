"""`noria worker`: turns the loops of some files, for a home that other processes serve."""

from pathlib import Path

import click

from noria.cli import files
from noria.cli.output import home_option, opened
from noria.cli.signals import on_signals
from noria.core.errors import Invalid
from noria.loop.spec import Loop
from noria.loop.turn import Turn


@click.command()
@click.argument("file", type=click.Path(path_type=Path), nargs=-1, required=True)
@home_option
def worker(file: tuple[Path, ...], home: str | None) -> None:
    """Declare the loops of each FILE and turn them until SIGTERM; several workers may share a home.

    A loop that was paused stays so. What is being done when the signal comes is finished; what was begun goes on at
    the next start.
    """
    told = on_signals()
    loops = [loop for each in file for loop in files.all_of(files.load(each), Loop).values()]
    if not loops:
        raise Invalid(f"{', '.join(map(str, file))} declare no loop", hint="noria init writes one to begin with")
    with opened(home) as platform:
        for loop in loops:
            row = platform.loops.declare(platform.context, loop)
            click.echo(f"loop {loop.name} is {row.state.value}, turns on {loop.when.words()}")
        with platform.worker(*loops, on_turn=tell) as turning:
            turning.run_until_told(told)
    click.echo("the loops rest; what was begun goes on at the next start")


def tell(turn: Turn) -> None:
    """Print what a loop has just answered."""
    told = turn.fact.payload
    words = told.get("words") or "; ".join(str(reason) for reason in told.get("reasons", ()))
    click.echo(f"{turn.fact.at:%Y-%m-%d %H:%M:%S}  {turn.loop.name}  {turn.fact.kind.value}  {words}".rstrip())
