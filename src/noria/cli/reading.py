"""Options of commands that say how a file is to be read."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from noria.datasets.files import FileOptions

Command = TypeVar("Command", bound=Callable[..., object])

_OPTIONS = (
    click.option(
        "--types", multiple=True, metavar="COLUMN=TYPE,...",
        help="What columns hold: int, float, decimal, text, bool, time, date; skip leaves one out.",
    ),
    click.option(
        "--dates", multiple=True, metavar="[COLUMN=]HOW",
        help="How dates are written: dmy, mdy, ymd, unix, unix_ms, unix_us, or a format such as %d.%m.%Y.",
    ),
    click.option("--zone", help="Time zone of times that are written without one, such as Europe/Berlin."),
    click.option("--sep", help="What separates fields; that of the header if not given. A tab may be written \\t."),
    click.option("--encoding", help="How text is encoded, such as cp1252; else by its first bytes, or UTF-8."),
    click.option(
        "--null", multiple=True, metavar="TEXT,...", help="A text that means that a value is missing; an empty field does."
    ),
    click.option("--decimal", type=click.Choice([".", ","]), help="The mark before fractions; a point if not given."),
)  # fmt: skip


def file_options(command: Command) -> Command:
    """Let a command say how a file is to be read."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def told_of(spelled: Mapping[str, Any]) -> "FileOptions":
    """Return what the options of `file_options` say."""
    told: FileOptions = {
        "types": ",".join(spelled["types"]) or None,
        "dates": _dates(spelled["dates"]) or None,
        "zone": spelled["zone"],
        "sep": "\t" if spelled["sep"] in ("\\t", "tab") else spelled["sep"],
        "encoding": spelled["encoding"],
        "null": [text for each in spelled["null"] for text in each.split(",")] or None,
    }
    return told if spelled["decimal"] is None else {**told, "decimal": spelled["decimal"]}


def _dates(spelled: Sequence[str]) -> dict[str, str]:
    """Return how dates are written by column, under an empty name for those that are not named."""
    pairs = (each.rpartition("=") for each in spelled)
    return {name: how for name, _, how in pairs}
