"""What is retired, so that every room can leave it out of its lists."""

from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Table, exists, select

from noria.store.tables import retirements


class Kind(StrEnum):
    """The nouns that can be retired, restored and removed."""

    LOOP = "loop"
    DATASET = "dataset"
    MODEL = "model"
    ENDPOINT = "endpoint"
    RUN = "run"


def is_shown(table: Table, column: str, kind: Kind) -> ColumnElement[bool]:
    """Return the condition that what a row of a table names in that column is not retired."""
    mine = retirements.c.project == table.c.project
    return ~exists().where(mine, retirements.c.kind == kind.value, retirements.c.name == table.c[column])


def hidden(connection: Connection, project: str, kind: Kind) -> set[str]:
    """Return the names of a kind that are retired."""
    here = (retirements.c.project == project) & (retirements.c.kind == kind.value)
    return set(connection.execute(select(retirements.c.name).where(here)).scalars())
