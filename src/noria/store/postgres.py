"""PostgreSQL as the metadata database: for teams, and for several machines."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError

from noria.core.clock import Clock
from noria.core.errors import NotInstalled, Unavailable
from noria.store.database import Answer, Durability


class PostgresDatabase:
    """A metadata database on a server; every commit is synchronous, whatever durability was asked for."""

    def __init__(self, address: str, *, lease_clock: Clock | None = None) -> None:
        self._lease_clock = lease_clock
        driver_address = "postgresql+psycopg://" + address.partition("://")[2]
        try:
            self._engine = create_engine(driver_address, pool_size=8, max_overflow=24, pool_pre_ping=True)
        except ModuleNotFoundError as problem:
            raise NotInstalled("the PostgreSQL driver (psycopg)", "postgres") from problem

    @property
    def engine(self) -> Engine:
        """Return the engine, for migrations and tests."""
        return self._engine

    def write(self, work: Callable[[Connection], Answer], *, durability: Durability = Durability.DECISION) -> Answer:  # noqa: ARG002 - the strictest is what PostgreSQL does anyway
        """Commit the closure in a transaction of its own."""
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except (OperationalError, InterfaceError) as problem:
            raise _unavailable(problem) from problem

    def read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Run the closure on one consistent view."""
        try:
            with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
                return query(connection)
        except (OperationalError, InterfaceError) as problem:
            raise _unavailable(problem) from problem

    def change_mark(self) -> int:
        """Return the number that the server's next writing transaction will get."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return connection.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")).scalar_one()

    def lease_time(self, connection: Connection) -> datetime:
        """Return the server's time, or the simulated one that tests handed in."""
        if self._lease_clock is not None:
            return self._lease_clock.now()
        moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()


def _unavailable(problem: Exception) -> Unavailable:
    first_line = str(problem).splitlines()[0]
    return Unavailable(
        f"the metadata database did not answer: {first_line}",
        hint="check the address, and that the server runs and accepts connections",
    )
