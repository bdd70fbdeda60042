"""`noria audit`: whether the ledger holds."""

from pathlib import Path

import click

from noria.cli.output import home_option, json_option, opened, show_one
from noria.core.errors import Corrupt


@click.group()
def audit() -> None:
    """Check the ledger."""


@audit.command()
@home_option
@json_option
@click.option(
    "--checkpoint",
    "kept",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that was kept elsewhere; only such a one shows that the tail was cut.",
)
def verify(home: str | None, as_json: bool, kept: tuple[Path, ...]) -> None:  # noqa: FBT001 - click's flags
    """Recompute the tree over all facts and hold it against every signed checkpoint."""
    with opened(home) as platform:
        found = platform.ledger.audit(kept=[file.read_text(encoding="utf-8") for file in kept])
    told = {
        "holds": found.holds,
        "facts": found.facts,
        "unsealed": found.unsealed,
        "checkpoints": found.checkpoints,
        "root": found.root,
        "problems": list(found.problems),
    }
    show_one(told, as_json=as_json)
    if not found.holds:
        raise Corrupt(
            f"the ledger does not hold: {found.problems[0]}",
            hint="compare with a backup, and with checkpoints kept elsewhere",
        )


@audit.command()
@home_option
def checkpoint(home: str | None) -> None:
    """Print a signed checkpoint; keep it where nobody who writes this database can reach it."""
    with opened(home) as platform:
        signed = platform.ledger.checkpoint()
    click.echo("" if signed is None else signed.note, nl=False)
