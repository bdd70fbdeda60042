"""Lets no record keep others from landing: what cannot be landed is found by halving, and put aside with the reason."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from noria.core.errors import Invalid, NoriaError

Record = TypeVar("Record")
Part = TypeVar("Part")


def landed_apart(
    records: Sequence[Record],
    land: Callable[[Sequence[Record]], Part],
    *,
    put_aside: Callable[[Record, str], Part],
) -> list[Part]:
    """Land records together; if something of them raises, in halves, until those that raise stand alone.

    `land` puts all of its records into the store or none. Records are tried in their order. What says nothing about a
    record, such as a database that does not answer or a disk that is full, is raised, and nothing is put aside.
    """
    if not records:
        return []
    try:
        return [land(records)]
    except BaseException as problem:
        if not is_of_records(problem):
            raise
        if len(records) == 1:
            return [put_aside(records[0], spelled(problem))]
    half = len(records) // 2
    halves = (records[:half], records[half:])
    return [part for some in halves for part in landed_apart(some, land, put_aside=put_aside)]


def is_of_records(problem: BaseException) -> bool:
    """Say whether what was raised is about records, rather than about the machine, the store, or who asks."""
    if isinstance(problem, NoriaError):
        return isinstance(problem, Invalid)
    if isinstance(problem, Exception):
        return not isinstance(problem, OSError | MemoryError)
    return not isinstance(problem, KeyboardInterrupt | SystemExit | GeneratorExit)  # a panic of Polars is


def spelled(problem: BaseException) -> str:
    """Return what was raised in one line."""
    if isinstance(problem, NoriaError):
        return problem.sentence
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:500]}" if lines else type(problem).__name__
