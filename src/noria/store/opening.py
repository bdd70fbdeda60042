"""Opens the metadata database that an address names."""

from pathlib import Path

from noria.core.clock import Clock
from noria.core.errors import Invalid
from noria.store.database import Database
from noria.store.postgres import PostgresDatabase
from noria.store.sqlite import SqliteDatabase
from noria.store.sqlite_files import is_read_only as _is_read_only

SQLITE = "sqlite:///"


def is_read_only(address: str) -> bool:
    """Say whether this user may read the database there, and not write it; a server's says so by itself."""
    return address.startswith(SQLITE) and _is_read_only(Path(address.removeprefix(SQLITE)))


def open_database(
    address: str, *, lease_clock: Clock | None = None, sync_steps: bool = False, read_only: bool = False
) -> Database:
    """Open `postgresql://...`, or `sqlite:///path`; tables are made by `migrating.upgrade`.

    What follows `sqlite:///` is the path as it is: no character of it means anything else. An SQLite database that is
    `read_only` refuses writes with `ReadOnly`. With `sync_steps` SQLite syncs the results of steps before a write returns, as it does decisions.

    Raises:
        Invalid: the address is of neither kind.

    """
    if address.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(address, lease_clock=lease_clock)
    if address.startswith(SQLITE):
        path = Path(address.removeprefix(SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(path, lease_clock=lease_clock, sync_steps=sync_steps, read_only=read_only)
    raise Invalid(
        f"{address.split('://', maxsplit=1)[0]!r} is no kind of database",
        hint="use a folder, sqlite:///file or postgresql://host/name",
    )
