"""Opens the metadata database that an address names."""

from pathlib import Path

from noria.core.clock import Clock
from noria.core.errors import Invalid
from noria.store.database import Database
from noria.store.postgres import PostgresDatabase
from noria.store.sqlite import SqliteDatabase


def open_database(address: str, *, lease_clock: Clock | None = None) -> Database:
    """Open `postgresql://...`, or `sqlite:///path`; tables are made by `migrating.upgrade`.

    Raises:
        Invalid: the address is of neither kind.

    """
    if address.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(address, lease_clock=lease_clock)
    if address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(path, lease_clock=lease_clock)
    raise Invalid(
        f"{address.split('://', maxsplit=1)[0]!r} is no kind of database",
        hint="use a folder, sqlite:///file or postgresql://host/name",
    )
