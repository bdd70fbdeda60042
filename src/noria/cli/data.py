"""`noria data`: push, list, show and compare datasets."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noria.boot import Platform
from noria.cli.output import home_option, json_option, opened, show, show_one
from noria.cli.reading import file_options, told_of
from noria.core.errors import Conflict, Invalid
from noria.datasets.model import Dataset, Snapshot

if TYPE_CHECKING:
    from noria.datasets.files import FileTable
    from noria.datasets.inference import Understood


@click.group()
def data() -> None:
    """Push, list, show and compare datasets."""


@data.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "key_column", help="Column that names a row; needed at the first push.")
@click.option("--time", "time_column", help="Column with the time of the event; needed at the first push.")
@click.option("--label", "label_column", help="Column with what is to be predicted.")
@click.option(
    "--labels", "only_labels", is_flag=True, help="The file holds labels of rows that are there: key, label, known_at."
)
@click.option("--label-delay", help="Labels without known_at were known so long after their events: 0d, 36h, 7d.")
@click.option("--source", help="Where the rows come from; the file's name if not given.")
@click.option("--once", help="A key: pushing the same rows again under it changes nothing.")
@click.option("--dry-run", is_flag=True, help="Say what the file is understood to hold, and commit nothing.")
@file_options
@home_option
@json_option
def push(
    name: str, file: Path, *, key_column: str | None, time_column: str | None, label_column: str | None,
    only_labels: bool, label_delay: str | None, source: str | None, once: str | None, dry_run: bool,
    home: str | None, as_json: bool, **spelled: Any,  # noqa: ANN401 - see file_options
) -> None:  # fmt: skip
    """Commit FILE (CSV, Parquet, Arrow or JSON) to the dataset NAME as a new snapshot.

    Before the first commit it shows what each column was taken for, and why; later files are read as the dataset has
    its columns. What is not sure, such as 03/04/2026, is asked about: the error names the option that says it.
    """
    with opened(home) as platform:
        datasets, context = platform.datasets, platform.context
        dataset = _declared(platform, name, key=key_column, time=time_column, label=label_column)
        table = datasets.understand(context, dataset, file, **told_of(spelled))
        columns = [_told(each) for each in table.understood]
        if not dry_run and datasets.latest(context, name) is not None:
            columns = []
        if columns and not as_json:
            show(columns, as_json=False, empty="")
        if dry_run:
            return _show_dry_run(columns, table, as_json=as_json)
        origin = source or file.name
        if only_labels:
            snapshot = datasets.land_labels(context, dataset, table, source=origin, key=once)
        else:
            snapshot = datasets.commit(context, dataset, table, source=origin, key=once, label_delay=label_delay)
    return _show_snapshot(snapshot, columns, as_json=as_json)


@data.command()
@home_option
@json_option
def ls(home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List datasets, with their newest snapshots; what is retired is left out."""
    with opened(home) as platform:
        rows = [
            {
                "dataset": dataset.name,
                "snapshots": 0 if newest is None else newest.number,
                "newest": None if newest is None else newest.committed_at,
                "source": None if newest is None else newest.source,
                "key": dataset.key,
                "time": dataset.time,
                "label": dataset.label,
            }
            for dataset in platform.datasets.datasets(platform.context)
            for newest in [platform.datasets.latest(platform.context, dataset.name)]
        ]
    show(rows, as_json=as_json, empty="no datasets yet: noria data push NAME FILE --key K --time T --label L")


@data.command("show")
@click.argument("name", metavar="NAME[@N]")
@home_option
@json_option
def show_snapshot(name: str, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Show the columns of a snapshot: counts, nulls, distinct values, quartiles, most frequent values."""
    with opened(home) as platform:
        snapshot = platform.datasets.snapshot(platform.context, name)
        profile = platform.datasets.profile(platform.context, snapshot.id)
        rows = [column.summary() for column in profile.columns]
    show(rows, as_json=as_json, empty=f"{name} has no rows")


@data.command()
@click.argument("before", metavar="NAME@N")
@click.argument("after", metavar="NAME@M")
@home_option
@json_option
def diff(before: str, after: str, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Compare two snapshots: rows and labels that came, went or changed, and columns whose distribution moved."""
    with opened(home) as platform:
        found = platform.datasets.diff(platform.context, before, after)
    show_one(found.to_plain(), as_json=as_json)


@data.command()
@click.argument("endpoint")
@home_option
@json_option
def aside(endpoint: str, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List what ENDPOINT was asked or told that fits into its dataset in no way, and why not."""
    with opened(home) as platform:
        found = platform.landings.asides(platform.context, platform.endpoints.get(platform.context, endpoint))
        rows = [{"kind": each.kind.value, "key": each.key, "reason": each.reason, "at": each.at} for each in found]
        rows = [row | {"record": each.record} for row, each in zip(rows, found, strict=True)] if as_json else rows
    show(rows, as_json=as_json, empty=f"nothing of {endpoint} was put aside")


def _told(column: "Understood") -> dict[str, Any]:
    return {
        "column": column.name, "type": column.kind, "missing": column.missing, "example": column.example,
        "why": column.why,
    }  # fmt: skip


def _show_snapshot(snapshot: Snapshot, columns: list[dict[str, Any]], *, as_json: bool) -> None:
    told: dict[str, Any] = {
        "dataset": snapshot.dataset,
        "snapshot": str(snapshot),
        "rows": snapshot.rows,
        "labels": snapshot.labels,
        "digest": snapshot.digest,
    }
    if as_json:
        told |= {"columns": columns, "notes": list(snapshot.notes)}
    show_one(told, as_json=as_json)
    _say(() if as_json else snapshot.notes)


def _show_dry_run(columns: list[dict[str, Any]], table: "FileTable", *, as_json: bool) -> None:
    if as_json:
        show_one({"rows": table.frame.height, "columns": columns, "notes": list(table.notes)}, as_json=True)
        return
    _say(table.notes)
    click.echo(f"{table.frame.height:,} rows; nothing was committed")


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}")


def _declared(platform: Platform, name: str, **columns: str | None) -> Dataset:
    """Return the dataset, or declare a new one; raises `Conflict` if a column is said to be another than it was."""
    known = {each.name: each for each in platform.datasets.datasets(platform.context, with_retired=True)}
    if name not in known:
        return _first(name, key=columns["key"], time=columns["time"], label=columns["label"])
    for role, column in columns.items():
        there = getattr(known[name], role)
        if column not in (None, there):
            raise Conflict(
                f"dataset {name!r} has {there!r} as its {role}, not {column!r}",
                hint=f"leave out --{role}, or push to another dataset",
            )
    return known[name]


def _first(name: str, *, key: str | None, time: str | None, label: str | None) -> Dataset:
    if key is None or time is None:
        raise Invalid(
            f"dataset {name!r} is new: which column names a row, and which has its time?",
            hint="add --key COLUMN --time COLUMN, and --label COLUMN if there is one",
        )
    return Dataset(name, key=key, time=time, label=label)
