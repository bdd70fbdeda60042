"""Brings a database's schema up to the newest revision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from noria.core.errors import Conflict, ReadOnly
from noria.store.database import Database
from noria.store.tables import metadata

NEWEST = "0016"
"""The newest revision; a database that has it is opened without loading Alembic."""


def upgrade(database: Database, *, declare: Callable[[], None] | None = None, read_only: bool = False) -> None:
    """Make all tables, or change them to the newest schema; does nothing to a database that has it.

    `declare` lets every room declare its tables. With it an empty database is made of them at once, which a test
    holds to be the same as all revisions one after the other, and takes a tenth of the time.

    Raises:
        Conflict: a newer Noria has written this database.
        ReadOnly: it has another schema, and may only be read.

    """
    found = database.read(revision)
    if found != NEWEST and read_only:
        raise ReadOnly(
            f"this home has schema {found}, this Noria has {NEWEST}, and this user may not write the home",
            hint="let somebody who may open it once with this version, or copy the home to where you may write",
        )
    if found != NEWEST:
        database.write(lambda connection: _apply_once(connection, declare))


def revision(connection: Connection) -> str | None:
    """Return the revision of the schema that the database has, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def configuration(connection: Connection, **attributes: Any) -> Any:  # noqa: ANN401 - Alembic is loaded only here
    """Return Alembic's configuration for this connection."""
    from alembic.config import Config  # noqa: PLC0415 - 100 ms that a database with the newest schema does not pay

    config = Config(attributes={"connection": connection, **attributes})
    place = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", place.replace("%", "%%"))  # a percent sign asks for another option there
    return config


def _apply_once(connection: Connection, declare: Callable[[], None] | None) -> None:
    if connection.dialect.name == "postgresql":  # two processes that open a fresh home at once wait here
        connection.execute(text("SELECT pg_advisory_xact_lock(7878)"))
    found = revision(connection)
    if found is None and declare is not None:
        declare()
        _make(connection)
    elif found != NEWEST:
        apply(connection)


def _make(connection: Connection) -> None:
    """Make all declared tables in an empty database, and say that it has the newest revision."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": NEWEST})


def apply(connection: Connection) -> None:
    """Run the revisions that the database lacks; raises `Conflict` if it has ones that are not known here."""
    from alembic import command  # noqa: PLC0415 - see configuration

    found = revision(connection)
    if found is not None and found > NEWEST:
        raise Conflict(
            f"this home has schema {found}, and this Noria knows {NEWEST}",
            hint="pip install --upgrade noria",
        )
    command.upgrade(configuration(connection), "head")
