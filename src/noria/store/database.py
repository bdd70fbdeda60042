"""The port to the metadata database: closures go in, committed answers come out."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from noria.store.leases import FencedInsert, Lease
from noria.store.waking import Ear

__all__ = ["Answer", "Connection", "Database", "Durability"]

Answer = TypeVar("Answer")


class Durability(IntEnum):
    """What a commit survives when it returns; a group of commits takes the strictest of its members."""

    STEP = 1
    """Survives kill -9 at once, loss of power within 100 ms on SQLite and at once on PostgreSQL."""
    DECISION = 2
    """Survives loss of power: synced to disk before it returns."""


class Database(Protocol):
    """The metadata database, SQLite or PostgreSQL; safe to share between threads."""

    @property
    def engine(self) -> Engine:
        """Return the engine, for migrations and tests; verbs use `write` and `read`."""
        ...

    def write(self, work: Callable[[Connection], Answer], *, durability: Durability = Durability.DECISION) -> Answer:
        """Run the closure in a transaction, commit, and return its answer.

        What the closure raises is raised here, and nothing of it stays. The closure may be run in one transaction
        with those of other threads. It does nothing but database work, and never calls `write`.

        Raises:
            Unavailable: the database stayed locked, or could not be reached. Nothing was committed, unless the
                connection broke in the commit itself: then nobody can say.

        """
        ...

    def put(self, insert: FencedInsert, lease: Lease, row: Mapping[str, Any]) -> str | None:
        """Put one row where a lease is held and commit it, as `write` does a step; return what the holder was asked.

        It is worth one round trip. What breaks a constraint is SQLAlchemy's `IntegrityError`.

        Raises:
            LeaseLost: the lease is somebody else's now, or has run out; nothing was committed.
            Unavailable: as `write`.

        """
        ...

    def read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Run the closure on one consistent view and return its answer; nothing it changes is kept."""
        ...

    def lease_time(self, connection: Connection) -> datetime:
        """Return the database's own time in UTC, the only time that leases go by."""
        ...

    def listen(self, topic: str) -> Ear:
        """Return an ear that hears whatever any process says on the topic from now on; use it in a `with`.

        Look, wait on the ear with a limit of seconds, look again: a wake-up may get lost, and says nothing by itself.
        """
        ...

    def wake(self, topic: str) -> None:
        """Wake who listens on the topic, in all processes; said after the commit that it tells of, never inside."""
        ...

    def close(self) -> None:
        """Sync what is not yet synced and let go of all connections; calling it twice is fine."""
        ...
