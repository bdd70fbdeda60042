"""`noria schema`: what a dataset's rows may be; proposed by what was seen, enforced once somebody approved it."""

import click

from noria.cli.output import home_option, json_option, opened, show, show_one
from noria.guards.model import ColumnRule, Schema


@click.group()
def schema() -> None:
    """Show, propose and approve what a dataset's rows may be."""


@schema.command("show")
@click.argument("dataset")
@click.option("--version", type=int, default=None, help="A version; the one that rows are held against if not given.")
@home_option
@json_option
def show_schema(dataset: str, version: int | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Show a dataset's schema: kinds, missing values, ranges, categories."""
    with opened(home) as platform:
        found = platform.guards.schema(platform.context, dataset, version)
    if not as_json:
        click.echo(_words(found))
    show([_row(rule) for rule in found.columns], as_json=as_json, empty=f"schema {found} asks for nothing")


@schema.command()
@click.argument("dataset")
@click.option("--ranges", is_flag=True, help="Let numbers keep to the range that was seen.")
@click.option("--categories", is_flag=True, help="Let texts keep to the values that were seen (50 at most).")
@home_option
@json_option
def propose(dataset: str, ranges: bool, categories: bool, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Propose a schema that all rows of DATASET keep."""
    with opened(home) as platform:
        made = platform.guards.propose(platform.context, dataset, with_ranges=ranges, with_categories=categories)
    show_one(_told(made), as_json=as_json)


@schema.command()
@click.argument("dataset")
@click.option("--version", type=int, default=None, help="A version; the newest if not given.")
@home_option
@json_option
def approve(dataset: str, version: int | None, home: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Enforce a schema of DATASET from now on."""
    with opened(home) as platform:
        approved = platform.guards.approve(platform.context, dataset, version)
    show_one(_told(approved), as_json=as_json)


def _told(made: Schema) -> dict[str, object]:
    return {
        "schema": str(made),
        "state": made.state.value,
        "columns": len(made.columns),
        "proposed_by": made.proposed_by,
        "approved_by": made.approved_by,
    }


def _words(found: Schema) -> str:
    if found.approved_at is not None:
        return f"schema {found}, approved by {found.approved_by} on {found.approved_at:%Y-%m-%d %H:%M}"
    return f"schema {found}, proposed by {found.proposed_by}; enforce it with: noria schema approve {found.dataset}"


def _row(rule: ColumnRule) -> dict[str, object]:
    return {
        "column": rule.name,
        "kind": rule.kind,
        "may_be_missing": rule.nullable,
        "low": rule.low,
        "high": rule.high,
        "categories": None if rule.categories is None else list(rule.categories),
    }
