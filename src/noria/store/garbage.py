"""Finds blobs that nothing refers to: a blob is garbage when its digest stands nowhere in the database.

Every room names its blobs in columns of its tables, so no room has to be asked, and one that is forgotten here cannot
lose anything. A blob is stored before the transaction that names it; blobs that are younger than a day are therefore
spared, and what is put again counts as new.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, select

from noria.store.blobs import Blobs, Stored
from noria.store.database import Database

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """Blobs that nothing refers to, and files that a process which was killed had begun to write."""

    blobs: tuple[Stored, ...]
    kept: int
    unfinished: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """Return the bytes that they take."""
        return sum(blob.size for blob in self.blobs)


def find(database: Database, blobs: Blobs, *, before: datetime) -> Garbage:
    """Return the blobs from before a moment whose digests stand nowhere in the database."""
    listed = list(blobs.all())  # listed first: what is named after that was put after that, or is found named
    named = database.read(_named)
    unnamed = tuple(blob for blob in listed if blob.at < before and blob.digest not in named)
    unfinished = tuple(blobs.unfinished(before))
    return Garbage(blobs=unnamed, kept=len(listed) - len(unnamed), unfinished=unfinished)


def collect(blobs: Blobs, garbage: Garbage) -> None:
    """Take the blobs away, and what was never finished."""
    for blob in garbage.blobs:
        blobs.drop(blob.digest)
    for file in garbage.unfinished:
        file.unlink(missing_ok=True)


def _named(connection: Connection) -> set[str]:
    """Return every digest that stands in a text of any table that the database has, whoever made it."""
    tables, found = MetaData(), set[str]()
    tables.reflect(connection)
    for table in tables.tables.values():
        for column in table.columns:
            if isinstance(column.type, String):
                for text in _texts(connection, column):
                    found.update(_DIGEST.findall(text))
    return found


def _texts(connection: Connection, column: "Column[str]") -> Iterator[str]:
    query = select(column).where(column.is_not(None)).distinct().execution_options(yield_per=_ROWS)
    yield from connection.execute(query).scalars()
