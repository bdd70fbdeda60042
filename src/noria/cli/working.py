"""`noria worker`: turns the loops of some files, for a home that other processes serve."""

from pathlib import Path

import click

from noria.boot import Platform
from noria.cli.loop_files import loops_of, must_be_named_apart
from noria.cli.output import home_option, opened
from noria.cli.signals import on_signals
from noria.core.errors import Invalid, NoriaError
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
    loops = _loadable(file)
    with opened(home) as platform:
        ours = [loop for loop in loops if _is_declared(platform, loop)]
        with platform.worker(*ours, on_turn=tell, endures=True) as turning:
            turning.run_until_told(told)
    click.echo("the loops rest; what was begun goes on at the next start")


def _loadable(files_given: tuple[Path, ...]) -> list[Loop]:
    """Return the loops of all files that can be loaded, and say what is wrong with the others.

    One bad file does not stop the loops of the others; the only one ends the worker at once, where its author sees it.
    """
    loops: list[Loop] = []
    for each in files_given:
        try:
            found = loops_of(each)
            must_be_named_apart([*loops, *found], where=" and ".join(map(str, files_given)))
        except NoriaError as problem:
            if len(files_given) == 1:
                raise
            click.echo(f"{each} cannot be loaded, and its loops are not turned: {problem}", err=True)
        else:
            loops += found
    if not loops:
        raise Invalid(f"{', '.join(map(str, files_given))} declare no loop", hint="noria init writes one to begin with")
    return loops


def _is_declared(platform: Platform, loop: Loop) -> bool:
    """Declare a loop; one that cannot be is said, and does not stop the others."""
    try:
        row = platform.loops.declare(platform.context, loop)
    except NoriaError as problem:
        click.echo(f"loop {loop.name} cannot be declared, and is not turned: {problem}", err=True)
        return False
    click.echo(f"loop {loop.name} is {row.state.value}, turns on {loop.when.words()}")
    return True


def tell(turn: Turn) -> None:
    """Print what a loop has just answered."""
    told = turn.fact.payload
    words = told.get("words") or "; ".join(str(reason) for reason in told.get("reasons", ()))
    click.echo(f"{turn.fact.at:%Y-%m-%d %H:%M:%S}  {turn.loop.name}  {turn.fact.kind.value}  {words}".rstrip())
