"""`noria gc`: take away stored bytes that nothing refers to any more, and compact the log."""

import click

from noria.cli.output import home_option, json_option, opened, show_one
from noria.core.clock import RealClock
from noria.core.durations import as_duration
from noria.core.errors import ReadOnly
from noria.store import garbage


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be taken away.")
@click.option("--older-than", default="1d", show_default=True, help="Spare what is younger, such as 1d or 36h.")
@home_option
@json_option
def gc(dry_run: bool, older_than: str, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Take away blobs whose digest stands nowhere in the database, and compact the log of predictions and feedback."""
    before = RealClock().now() - as_duration(older_than)
    with opened(home) as platform:
        if platform.is_read_only and not dry_run:
            raise ReadOnly("the home can only be read by this user", hint="noria gc --dry-run says what there is")
        found = garbage.find(platform.database, platform.blobs, before=before)
        if not dry_run:
            garbage.collect(platform.blobs, found)
        endpoints = platform.endpoints.all(platform.context, with_retired=True)
        tidied = [platform.landings.tidy(platform.context, endpoint, dry_run=dry_run) for endpoint in endpoints]
    told = {"garbage": len(found.blobs), "bytes": found.size, "kept": found.kept, "taken_away": not dry_run}
    told |= {"unfinished_files": len(found.unfinished)}
    told |= {
        "segments_compacted": sum(each.segments for each in tidied),
        "into_files": sum(each.files for each in tidied),
    }
    told |= {"log_files_expired": sum(each.expired for each in tidied)}
    show_one(told, as_json=as_json)
