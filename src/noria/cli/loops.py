"""`noria loop` and `noria cycles`: start loops, see how they stand and what each turn decided."""

import signal
import threading
from pathlib import Path

import click

from noria.cli import files
from noria.cli.output import home_option, json_option, opened, show
from noria.core.errors import Invalid
from noria.loop.model import Cycle
from noria.loop.spec import Loop
from noria.loop.turn import Turn
from noria.loop.worker import Worker

_MOST_SECONDS_ASLEEP = 1.0


@click.group()
def loop() -> None:
    """Start loops, and see how they stand."""


@loop.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Answer what there is to answer now, and end.")
@home_option
def start(file: Path, once: bool, home: str | None) -> None:  # noqa: FBT001 - click's flags
    """Declare the loops of FILE and turn them until Ctrl-C (or SIGTERM)."""
    loops = list(files.all_of(files.load(file), Loop).values())
    if not loops:
        raise Invalid(f"{file} declares no loop", hint="noria init writes one to begin with")
    with opened(home) as platform:
        for declared in loops:
            platform.start(declared)
            click.echo(f"loop {declared.name}: {declared.when.words()}")
        with platform.worker(*loops, on_turn=_tell) as worker:
            if once:
                worker.run_until_quiet()
            else:
                _turn_until_told(worker)


@loop.command()
@click.argument("name")
@home_option
def pause(name: str, home: str | None) -> None:
    """Let a loop answer nothing until it is started again."""
    with opened(home) as platform:
        platform.loops.pause(platform.context, name)
    click.echo(f"loop {name} is paused; noria loop start FILE lets it go on")


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
                "cycle": None if cycle is None else f"{cycle.number} {cycle.state.value}",
                "champion": platform.registry.alias(platform.context, row.spec["model"], "champion").version,
                "cycles": row.cycles,
                "rows_since": row.standing.rows,
                "labels_since": row.standing.labels,
                "turns_on": row.spec["when"]["words"],
            }
            for row in platform.loops.all(platform.context)
            for cycle in [platform.loops.open_cycle(platform.context, row.name)]
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


def _tell(turn: Turn) -> None:
    told = turn.fact.payload
    words = told.get("words") or "; ".join(str(reason) for reason in told.get("reasons", ()))
    click.echo(f"{turn.fact.at:%Y-%m-%d %H:%M:%S}  {turn.loop.name}  {turn.fact.kind.value}  {words}".rstrip())


def _turn_until_told(worker: Worker) -> None:
    ended = threading.Event()
    with worker.listen() as ear:

        def end(_number: int, _frame: object) -> None:
            ended.set()
            ear.hear()

        for told in (signal.SIGTERM, signal.SIGINT):
            signal.signal(told, end)
        while not ended.is_set():
            worker.run_until_quiet()
            ear.wait(_MOST_SECONDS_ASLEEP)
    click.echo("the loops rest; what was begun goes on at the next start")
