"""PostgreSQL as the metadata database: for teams, and for several machines."""

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError

from noria.core.clock import Clock
from noria.core.errors import NotInstalled, Unavailable
from noria.store.database import Answer, Durability
from noria.store.statements import Statement
from noria.store.waking import Ear, Ears, said

_CHANNEL = "noria"
_TIME = Statement(text("SELECT clock_timestamp()"))
_CONNECT_SECONDS = 5.0
_RECONNECT_SECONDS = 1.0
_NOTIFIES_SECONDS = 60.0


class PostgresDatabase:
    """A metadata database on a server; every commit is synchronous, whatever durability was asked for."""

    def __init__(self, address: str, *, lease_clock: Clock | None = None) -> None:
        self._lease_clock = lease_clock
        self._ears = Ears()
        self._lock = threading.Lock()
        self._listening, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
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
            with self._engine.connect() as connection:
                said(connection)  # what a transaction that failed has left on it
                with connection.begin():
                    answer = work(connection)
                topics = said(connection)
        except (OperationalError, InterfaceError) as problem:
            raise _unavailable(problem) from problem
        for topic in topics:
            self.wake(topic)
        return answer

    def read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Run the closure on one consistent view."""
        try:
            with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
                return query(connection)
        except (OperationalError, InterfaceError) as problem:
            raise _unavailable(problem) from problem

    def lease_time(self, connection: Connection) -> datetime:
        """Return the server's time, or the simulated one that tests handed in."""
        if self._lease_clock is not None:
            return self._lease_clock.now()
        ((moment,),) = _TIME.rows(connection, {})
        return moment.astimezone(UTC)

    def listen(self, topic: str) -> Ear:
        """Return an ear; a connection of its own listens for this process."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._hear, name="noria-wakes", daemon=True)
                self._thread.start()
        self._listening.wait(_CONNECT_SECONDS)
        return self._ears.open(topic)

    def wake(self, topic: str) -> None:
        """Notify after the commit: inside a transaction it would make commits wait for each other."""
        self._ears.hear(topic)
        with contextlib.suppress(Unavailable):  # who waits looks again anyway
            self.write(
                lambda c: c.execute(text("SELECT pg_notify(:channel, :topic)"), {"channel": _CHANNEL, "topic": topic})
            )

    def _hear(self) -> None:
        """Hear other processes, by a connection that is made anew when it breaks."""
        while not self._closing.is_set():
            with contextlib.suppress(InterfaceError, OperationalError, self._engine.dialect.loaded_dbapi.Error):
                self._hear_until_broken()
            self._closing.wait(_RECONNECT_SECONDS)

    def _hear_until_broken(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"LISTEN {_CHANNEL}"))
            self._listening.set()
            raw: Any = connection.connection.driver_connection
            try:
                while not self._closing.is_set():
                    for said in raw.notifies(timeout=_NOTIFIES_SECONDS):
                        if self._closing.is_set():
                            return
                        self._ears.hear(said.payload)
            finally:
                connection.invalidate()  # nobody else gets a connection that listens

    def close(self) -> None:
        """Let go of all connections."""
        self._closing.set()
        if self._thread is not None:
            self.wake("")  # so that the one who listens sees that it is over
            self._thread.join()
            self._thread = None
        self._engine.dispose()


def _unavailable(problem: Exception) -> Unavailable:
    first_line = str(problem).splitlines()[0]
    return Unavailable(
        f"the metadata database did not answer: {first_line}",
        hint="check the address, and that the server runs and accepts connections",
    )
