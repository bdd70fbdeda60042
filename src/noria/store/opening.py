"""Opens the metadata database that an address names."""

from pathlib import Path

from noria.core.clock import Clock
from noria.core.errors import Invalid
from noria.store.database import Database
from noria.store.postgres import PostgresDatabase
from noria.store.sqlite import SqliteDatabase


def open_database(address: str, *, lease_clock: Clock | None = None, sync_steps: bool = False) -> Database:
    """Open `postgresql://...`, or `sqlite:///path`; tables are made by `migrating.upgrade`.

    With `sync_steps` SQLite syncs the results of steps before a write returns, as it does decisions.

    Raises:
        Invalid: the address is of neither kind.

    """
    if address.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(address, lease_clock=lease_clock)
    if address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(path, lease_clock=lease_clock, sync_steps=sync_steps)
    raise Invalid(
        f"{address.split('://', maxsplit=1)[0]!r} is no kind of database",
        hint="use a folder, sqlite:///file or postgresql://host/name",
    )
