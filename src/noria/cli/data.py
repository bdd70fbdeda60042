"""`noria data`: push, list, show and compare datasets."""

from pathlib import Path

import click

from noria.cli.output import home_option, json_option, opened, show, show_one
from noria.core.errors import Invalid
from noria.datasets.model import Dataset
from noria.loop.removal_model import Kind


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
@click.option("--source", help="Where the rows come from; the file's name if not given.")
@click.option("--once", help="A key: pushing the same rows again under it changes nothing.")
@home_option
@json_option
def push(
    name: str, file: Path, *, key_column: str | None, time_column: str | None, label_column: str | None,
    only_labels: bool, source: str | None, once: str | None, home: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Commit FILE (Parquet, CSV or Arrow) to the dataset NAME as a new snapshot."""
    with opened(home) as platform:
        known = {dataset.name: dataset for dataset in platform.datasets.datasets(platform.context)}
        dataset = known.get(name) or _first(name, key=key_column, time=time_column, label=label_column)
        commit = platform.datasets.land_labels if only_labels else platform.datasets.commit
        snapshot = commit(platform.context, dataset, file, source=source or file.name, key=once)
    told = {
        "dataset": name,
        "snapshot": f"{name}@{snapshot.number}",
        "rows": snapshot.rows,
        "labels": snapshot.labels,
        "digest": snapshot.digest,
    }
    show_one(told, as_json=as_json)


@data.command()
@home_option
@json_option
def ls(home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List datasets, with their newest snapshots; what is retired is left out."""
    with opened(home) as platform:
        hidden = platform.removals.hidden(platform.context, Kind.DATASET)
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
            if dataset.name not in hidden
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


def _first(name: str, *, key: str | None, time: str | None, label: str | None) -> Dataset:
    if key is None or time is None:
        raise Invalid(
            f"dataset {name!r} is new: which column names a row, and which has its time?",
            hint="add --key COLUMN --time COLUMN, and --label COLUMN if there is one",
        )
    return Dataset(name, key=key, time=time, label=label)
