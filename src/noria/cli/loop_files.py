"""Finds the loops that users' Python files declare."""

from collections.abc import Sequence
from pathlib import Path

from noria.cli import files
from noria.core.errors import Invalid
from noria.loop.spec import Loop


def loops_of(path: Path) -> list[Loop]:
    """Return the loops that a file declares; raises `Invalid` for none, and for two of one name."""
    found = {id(loop): loop for loop in files.all_of(files.load(path), Loop).values()}
    if not found:
        raise Invalid(f"{path} declares no loop", hint="write loop = nr.Loop(...); noria init writes one to begin with")
    loops = list(found.values())
    must_be_named_apart(loops, where=str(path))
    return loops


def must_be_named_apart(loops: Sequence[Loop], *, where: str) -> None:
    """Raise `Invalid` if two loops have one name: the second would silently take the place of the first."""
    names = [loop.name for loop in loops]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Invalid(f"{where} declares two loops named {twice!r}", hint="give one of them another name")
