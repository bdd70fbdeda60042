"""`noria retire`, `restore`, `retired` and `remove`: what is no longer wanted, of whichever kind."""

import click

from noria.cli.output import home_option, json_option, opened, show, show_one
from noria.loop.removal_model import Kind, Thing

_KIND = click.argument("kind", type=click.Choice([kind.value for kind in Kind]))
_REASON = click.option("--reason", default="asked by hand", help="Why; it stands in the record.")


@click.command()
@_KIND
@click.argument("name")
@_REASON
@home_option
def retire(kind: str, name: str, reason: str, home: str | None) -> None:
    """Hide a loop, dataset, model, endpoint or run from lists and the doctor; a loop is paused, too."""
    thing = Thing(kind=Kind(kind), name=name)
    with opened(home) as platform:
        platform.removals.retire(platform.context, thing, reason=reason)
    click.echo(f"{thing} is retired; noria restore {kind} {name} shows it again")


@click.command()
@_KIND
@click.argument("name")
@_REASON
@home_option
def restore(kind: str, name: str, reason: str, home: str | None) -> None:
    """Show what was retired again; a loop stays paused until it is resumed."""
    thing = Thing(kind=Kind(kind), name=name)
    with opened(home) as platform:
        platform.removals.restore(platform.context, thing, reason=reason)
    click.echo(f"{thing} is shown again" + (f"; noria loop resume {name} lets it go on" if kind == "loop" else ""))


@click.command()
@home_option
@json_option
def retired(home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """List what is retired, since when and why."""
    with opened(home) as platform:
        found = platform.removals.retired(platform.context)
    rows = [
        {"kind": each.thing.kind.value, "name": each.thing.name, "since": each.at, "by": each.by, "reason": each.reason}
        for each in found
    ]
    show(rows, as_json=as_json, empty="nothing is retired")


@click.command()
@_KIND
@click.argument("name")
@_REASON
@click.option("--with-users", is_flag=True, help="Remove what needs it, too.")
@click.option("--dry-run", is_flag=True, help="Say what would go and what needs it, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@json_option
def remove(
    kind: str, name: str, *, reason: str, with_users: bool, dry_run: bool, yes: bool, home: str | None, as_json: bool
) -> None:
    """Delete a loop, dataset, model, endpoint or run for good; the ledger keeps what was told, and a receipt."""
    thing = Thing(kind=Kind(kind), name=name)
    with opened(home) as platform:
        found = platform.removals.remove(platform.context, thing, reason=reason, dry_run=True)
        if not dry_run:
            if not yes and any(found.rows.values()):
                click.confirm(f"remove {found.words()} for good?", abort=True)
            found = platform.removals.remove(platform.context, thing, reason=reason, with_users=with_users)
    told = {"removed": str(thing), "used_by": [str(user) for user in found.used_by], "busy": list(found.busy)}
    show_one(told | {"rows": dict(found.rows), "dry_run": dry_run}, as_json=as_json)
