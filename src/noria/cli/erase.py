"""`noria erase`: take somebody's rows out of everything that is kept, for good."""

from dataclasses import asdict

import click

from noria.cli.output import home_option, json_option, opened, show_one
from noria.loop.forgetting import forget


@click.command()
@click.argument("dataset")
@click.option("--key", "keys", multiple=True, required=True, help="A row's key; may be given several times.")
@click.option("--reason", default="erased by hand", help="Why; it stands in the record.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@json_option
def erase(
    dataset: str, *, keys: tuple[str, ...], reason: str, dry_run: bool, yes: bool, home: str | None, as_json: bool
) -> None:
    """Erase the rows of some keys of DATASET, and all that is kept of them; it cannot be undone."""
    with opened(home) as platform:
        found = forget(platform.rooms, platform.context, dataset, keys, reason=reason, dry_run=True)
        if not dry_run:
            if not yes:
                click.confirm(f"erase of {dataset} {found.words()} for good?", abort=True)
            found = forget(platform.rooms, platform.context, dataset, keys, reason=reason)
    show_one(asdict(found) | {"dry_run": dry_run}, as_json=as_json)
