"""What commands print: a table for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from typing import Any, TypeVar, cast

import click

from noria.boot import Platform, open_home

Command = TypeVar("Command", bound=Callable[..., object])


def home_option(command: Command) -> Command:
    """Let a command say which home it opens."""
    words = "Folder or postgresql:// address; else NORIA_HOME, noria.toml, or .noria"
    return click.option("--home", default=None, help=words)(command)


def json_option(command: Command) -> Command:
    """Let a command answer in JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def opened(home: str | None) -> Platform:
    """Open the home that a command works in."""
    return open_home(home)


@contextmanager
def words_aside(is_asked: bool) -> Generator[None]:  # noqa: FBT001 - see json_option
    """Keep standard output for the answer alone: what users' code writes meanwhile, in whichever process, is no part of it."""
    if not is_asked:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows as a table or as JSON; `empty` says what to do when there are none."""
    if as_json:
        click.echo(json.dumps([_plain(row) for row in rows], indent=2, default=str))
    elif not rows:
        click.echo(empty)
    else:
        _table(rows)


def show_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing, a line a field, or as JSON."""
    if as_json:
        click.echo(json.dumps(_plain(row), indent=2, default=str))
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        click.echo(f"{name.ljust(width)}  {_spelled(value)}")


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is loaded only to draw
    from rich.table import Table  # noqa: PLC0415 - rich is loaded only to draw

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_spelled(value) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _spelled(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, cast("Sequence[object]", value)))
    return str(value)
