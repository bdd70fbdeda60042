"""`noria demo`: replay, compare, report."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from noria.boot import Platform, open_home
from noria.cli.demo import flights, page, policies, results, threads
from noria.cli.demo.replay import Plan, replay
from noria.cli.demo.scenes import playing
from noria.cli.demo.view import Screen
from noria.core.clock import MachineStopwatch, SimulatedClock
from noria.loop.model import Cycle
from noria.loop.spec import Loop

_REPORT, _PAGE = Path("demo-report.json"), Path("demo-report.html")


@click.command()
@click.option("--home", default=".noria/demo", show_default=True, help="Folder of the demonstration's own home.")
@click.option("--resume", is_flag=True, help="Go on with a replay that was stopped, instead of beginning anew.")
def demo(home: str, resume: bool) -> None:  # noqa: FBT001 - click's flags
    """Replay the flights of 2013 through five retraining policies, and compare them."""
    console = Console()
    watch = MachineStopwatch()
    began = watch.wall()
    if not resume:
        shutil.rmtree(home, ignore_errors=True)
    console.print(
        "[bold]noria demo[/]: 336,776 flights of 2013, day by day. Will a flight be late by more than 15 minutes?"
    )
    plan = Plan()
    loops = policies.all_policies()
    rows = flights.load(flights.folder())
    with threads.fastest(watch), open_home(home, clock=SimulatedClock(plan.begins)) as platform:
        names = [loop.name for loop in loops]
        with Screen(console, names, begins=plan.begins, ends=plan.ends) as screen:
            replay(platform, rows, loops, plan=plan, screen=screen)
        told = report(platform, loops, plan) | {"replay_seconds": round(watch.wall() - began, 1)}
    _show_policies(console, told)
    with threads.fastest(watch):
        scenes = playing.play_all(rows, Path(home) / "scenes", on_end=partial(_show_scene, console))
    told |= {"scenes": scenes, "seconds": round(watch.wall() - began, 1)}
    _REPORT.write_text(json.dumps(told, indent=1), encoding="utf-8")
    _PAGE.write_text(page.render(told), encoding="utf-8")
    _conclude(console, told, home)


def report(platform: Platform, loops: list[Loop], plan: Plan) -> dict[str, Any]:
    """Return every number of the replay, all of them from what the home has kept."""
    weeks = {
        loop.name: results.weekly(platform, loop, since=plan.scored_from, until=plan.ends, as_of=plan.ends)
        for loop in loops
    }
    told: dict[str, Any] = {}
    for loop in loops:
        cycles = platform.loops.cycles(platform.context, loop.name)
        told[loop.name] = results.summary(weeks[loop.name], cycles, since=plan.scored_from) | {
            "weeks": [
                {"begins": week.begins.isoformat(), "auc": week.auc, "log_loss": week.log_loss, "rows": week.rows}
                for week in weeks[loop.name]
            ],
            "cycles": [_cycle(cycle) for cycle in cycles],
        }
    differences = results.differences(weeks, ours="noria")
    return {
        "scored": [plan.scored_from.isoformat(), plan.ends.isoformat()],
        "policies": told,
        "differences": differences,
        "sentence": _sentence(told, differences),
    }


def _cycle(cycle: Cycle) -> dict[str, Any]:
    return {
        "number": cycle.number,
        "opened": cycle.opened_at.isoformat(),
        "settled": None if cycle.settled_at is None else cycle.settled_at.isoformat(),
        "state": cycle.state.value,
        "outcome": None if cycle.outcome is None else cycle.outcome.value,
        "why": "; ".join(reason.words for reason in cycle.reasons),
        "words": cycle.words,
        "candidate": cycle.candidate,
        "promoted": cycle.promoted,
        "verdict": dict(cycle.verdict),
    }


def _sentence(told: dict[str, Any], differences: dict[str, Any]) -> str:
    over_never, over_weekly = differences["noria - never"], differences["noria - weekly"]
    ours, weekly = told["noria"], told["weekly"]
    return (
        f"The loop won {over_never['auc']['difference']:+.3f} AUC and {-over_never['log_loss']['difference']:+.3f} less log loss "
        f"over a model that is never retrained, and stands {over_weekly['auc']['difference']:+.4f} AUC and "
        f"{over_weekly['log_loss']['difference']:+.4f} log loss from retraining every week, with {ours['promotions']} promotions "
        f"to its {weekly['promotions']}, each judged, and {ours['refusals']} candidates refused."
    )


def _show_policies(console: Console, told: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title=None)
    for column in ("policy", "AUC", "log loss", "trainings", "promoted", "refused", "training CPU s"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, row in told["policies"].items():
        counts = (str(row["trainings"]), str(row["promotions"]), str(row["refusals"]), f"{row['cpu_seconds']:.1f}")
        style = "bold green" if name == "noria" else ""
        table.add_row(name, f"{row['auc']:.4f}", f"{row['log_loss']:.4f}", *counts, style=style)
    console.print(f"\nMay to December 2013, weekly means on true labels; {told['replay_seconds']:.0f} s in all\n")
    console.print(table)
    console.print(f"\n{told['sentence']}\n")
    console.print("Now three scenes in which something goes wrong on purpose.\n")


def _show_scene(console: Console, name: str, told: playing.Told) -> None:
    console.print(f"[bold]{playing.TITLES[name]}.[/] {escape(playing.sentence(name, told))}\n")


def _conclude(console: Console, told: dict[str, Any], home: str) -> None:
    console.print(f"{told['seconds']:.0f} s in all.")
    console.print(
        f"Next: open {_PAGE}; read {_REPORT}; noria cycles noria --home {home}; noria why noria@3 --home {home};",
        soft_wrap=True,
    )
    console.print(f"noria audit verify --home {home}; docs/tutorial.md builds a loop of your own.", soft_wrap=True)
