"""`noria quarantine`: look at what guards hold back, release it, or erase it for good."""

from collections.abc import Callable
from typing import TypeVar

import click

from noria.boot import Platform
from noria.cli.output import home_option, json_option, opened, show, show_one
from noria.core.errors import NotFound
from noria.guards.model import Quarantined, QuarantineState
from noria.guards.rules import Choice

Command = TypeVar("Command", bound=Callable[..., object])
_EMPTY = "nothing is or was in quarantine"


def _chosen_options(command: Command) -> Command:
    """Let a command say which held rows it means."""
    for name, words in (
        ("--key", "Only the row of this key."),
        ("--cycle", "Only what this cycle held, as LOOP/NUMBER."),
        ("--guard", "Only what this guard held."),
        ("--source", "Only rows or labels of this source."),
    ):
        command = click.option(name, default=None, help=words)(command)
    return command


@click.group()
def quarantine() -> None:
    """Look at what guards hold back, release it, or erase it for good."""


@quarantine.command()
@click.argument("dataset", required=False)
@home_option
@json_option
def ls(dataset: str | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List what is or was in quarantine: a line for each source and reason."""
    with opened(home) as platform:
        rows = [
            {
                "dataset": group.dataset,
                "source": group.source or None,
                "kind": group.kind.value,
                "count": group.count,
                "state": group.state.value,
                "guard": group.guard,
                "cycle": group.cycle,
                "reason": group.reason,
                "by": group.by,
                "at": group.at,
            }
            for group in platform.guards.groups(platform.context, dataset)
        ]
    show(rows, as_json=as_json, empty=_EMPTY)


@quarantine.command("show")
@click.argument("dataset")
@_chosen_options
@click.option("--limit", default=20, show_default=True, help="How many rows are shown.")
@home_option
@json_option
def show_rows(
    dataset: str, *, source: str | None, guard: str | None, cycle: str | None, key: str | None, limit: int,
    home: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show single held rows and labels of DATASET."""
    choice = Choice(source=source, guard=guard, cycle=cycle, key=key, limit=limit)
    with opened(home) as platform:
        platform.datasets.dataset(platform.context, dataset)
        rows = [_row(entry) for entry in platform.guards.entries(platform.context, dataset, choice)]
    show(rows, as_json=as_json, empty=f"nothing of {dataset} is held: noria quarantine ls shows what was")


@quarantine.command()
@click.argument("dataset")
@_chosen_options
@click.option("--reason", default="released by hand", help="Why; it stands in the record.")
@click.option("--dry-run", is_flag=True, help="Say what would be released, and change nothing.")
@home_option
@json_option
def release(
    dataset: str, *, source: str | None, guard: str | None, cycle: str | None, key: str | None, reason: str,
    dry_run: bool, home: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Let held rows of DATASET be learned from again; guards do not judge them once more."""
    choice = Choice(source=source, guard=guard, cycle=cycle, key=key)
    with opened(home) as platform:
        count = _meant(platform, dataset, choice)
        if not dry_run:
            count = platform.guards.release(platform.context, dataset, choice, reason=reason)
    told = {"dataset": dataset, "which": choice.words(), "released": count, "dry_run": dry_run}
    show_one(told, as_json=as_json)


@quarantine.command()
@click.argument("dataset")
@_chosen_options
@click.option("--reason", default="erased by hand", help="Why; it stands in the record.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@json_option
def erase(
    dataset: str, *, source: str | None, guard: str | None, cycle: str | None, key: str | None, reason: str,
    dry_run: bool, yes: bool, home: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Remove held rows of DATASET, or their labels, from every snapshot; it cannot be undone."""
    choice = Choice(source=source, guard=guard, cycle=cycle, key=key)
    with opened(home) as platform:
        count = _meant(platform, dataset, choice)
        if dry_run:
            return show_one(
                {"dataset": dataset, "which": choice.words(), "meant": count, "dry_run": True}, as_json=as_json
            )
        if not yes:
            click.confirm(f"erase {count:,} rows or labels of {dataset} ({choice.words()}) for good?", abort=True)
        erased = platform.guards.erase(platform.context, dataset, choice, reason=reason)
    return show_one(
        {
            "dataset": dataset,
            "which": choice.words(),
            "rows": erased.rows,
            "labels": erased.labels,
            "snapshots": erased.snapshots,
            "commitment": erased.commitment,
        },
        as_json=as_json,
    )


def _meant(platform: Platform, dataset: str, choice: Choice) -> int:
    """Return how many held rows and labels are meant; raises `NotFound` for none."""
    platform.datasets.dataset(platform.context, dataset)
    count = len(platform.guards.entries(platform.context, dataset, choice))
    if not count:
        raise NotFound("held rows of", f"{dataset}: {choice.words()}", hint="noria quarantine ls shows them")
    return count


def _row(entry: Quarantined) -> dict[str, object]:
    return {
        "key": entry.key if entry.state is not QuarantineState.ERASED else None,
        "time": entry.time,
        "kind": entry.kind.value,
        "source": entry.source or None,
        "guard": entry.guard,
        "cycle": entry.cycle,
        "reason": entry.reason,
        "at": entry.at,
    }
