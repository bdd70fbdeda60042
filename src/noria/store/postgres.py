"""PostgreSQL as the metadata database: for teams, and for several machines.

A transaction costs what its statements cost and two words more: it begins with a question for the server's time, which
finds out, too, whether a connection that was kept is still there.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import Pool

from noria.core.clock import Clock
from noria.core.errors import Invalid, NotInstalled, NotStored, Unavailable
from noria.store.database import Answer, Durability
from noria.store.leases import FencedInsert, Lease
from noria.store.waking import Ear, Ears, said

_log = logging.getLogger("noria.store")
_CHANNEL = "noria"
_TIME = "noria_time"
_DISK_FULL = "53100"
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
            self._engine = create_engine(driver_address, pool_size=8, max_overflow=24, isolation_level="AUTOCOMMIT")
        except ModuleNotFoundError as problem:
            raise NotInstalled("the PostgreSQL driver (psycopg)", "postgres") from problem

    @property
    def engine(self) -> Engine:
        """Return the engine, for migrations and tests."""
        return self._engine

    def write(self, work: Callable[[Connection], Answer], *, durability: Durability = Durability.DECISION) -> Answer:  # noqa: ARG002 - the strictest is what PostgreSQL does anyway
        """Commit the closure in a transaction of its own."""
        with self._transaction("BEGIN") as connection:
            answer = work(connection)
            _say(connection, "COMMIT")
            topics = said(connection)
        for topic in topics:
            self.wake(topic)
        return answer

    def put(self, insert: FencedInsert, lease: Lease, row: Mapping[str, Any]) -> str | None:
        """Put the row by one statement, which is a transaction by itself."""
        now = None if self._lease_clock is None else self._lease_clock.now()
        with self._lent(self._engine.connect) as connection:
            if insert.put_alone(connection, lease, row, now):
                return None
        return self.write(lambda c: insert.put(c, lease, row, self.lease_time(c)))

    def read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Run the closure on one consistent view."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ") as connection:
            return query(connection)

    def lease_time(self, connection: Connection) -> datetime:
        """Return the server's time when the transaction began, or the simulated one that tests handed in."""
        if self._lease_clock is not None:
            return self._lease_clock.now()
        return connection.info[_TIME]

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
        told = {"channel": _CHANNEL, "topic": topic}
        with contextlib.suppress(Unavailable), self._lent(self._engine.connect) as connection:
            connection.execute(text("SELECT pg_notify(:channel, :topic)"), told)  # if it is lost: who waits looks again

    def _hear(self) -> None:
        """Hear other processes, by a connection that is made anew when it breaks."""
        while not self._closing.is_set():
            try:
                self._hear_until_broken()
            except (InterfaceError, OperationalError, self._engine.dialect.loaded_dbapi.Error):
                pass
            except Exception:  # noqa: BLE001 - whoever waits is to hear again, whatever was raised
                _log.exception("what other processes say is not heard for a moment")
            self._closing.wait(_RECONNECT_SECONDS)

    def _hear_until_broken(self) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(f"LISTEN {_CHANNEL}"))
            self._listening.set()
            self._ears.hear_all()  # what was said while nobody listened
            raw: Any = connection.connection.driver_connection
            try:
                while not self._closing.is_set():
                    for said in raw.notifies(timeout=_NOTIFIES_SECONDS):
                        if self._closing.is_set():
                            return
                        self._ears.hear(said.payload)
            finally:
                connection.invalidate()  # nobody else gets a connection that listens

    def _transaction(self, begin: str) -> AbstractContextManager[Connection]:
        """Begin a transaction; unless the closure commits it, nothing of it stays."""
        return self._lent(lambda: self._begun(begin))

    @contextmanager
    def _lent(self, connect: Callable[[], Connection]) -> Generator[Connection]:
        """Check out a connection, and raise database errors as errors of Noria."""
        try:
            pool = self._engine.pool
            connection = connect()
            try:
                yield connection
            except (OperationalError, InterfaceError):
                self._drop(connection)
                raise
            except BaseException:
                said(connection)  # nothing was committed that anybody could be woken for
                raise
            finally:
                self._give_back(connection, pool)
        except (OperationalError, InterfaceError) as problem:
            raise _unavailable(problem) from problem
        except DataError as problem:
            raise Invalid(f"the metadata database does not hold such a value: {_first_line(problem)}") from problem

    def _give_back(self, connection: Connection, pool: Pool) -> None:
        """Return a connection to its pool, which rolls back open transactions; close it if that pool was disposed of."""
        if not connection.closed and (self._closing.is_set() or self._engine.pool is not pool):
            connection.invalidate()  # a disposed pool would keep it open and unused
        connection.close()

    def _begun(self, begin: str, *, is_second_try: bool = False) -> Connection:
        """Return a connection in a new transaction; a pooled one that the server has closed is replaced once."""
        connection = self._engine.connect()
        try:
            cursor = _say(connection, f"{begin}; SELECT clock_timestamp()")
        except (OperationalError, InterfaceError):
            self._drop(connection)
            if is_second_try:
                raise
            return self._begun(begin, is_second_try=True)
        except BaseException:
            connection.close()
            raise
        cursor.nextset()
        connection.info[_TIME] = cursor.fetchone()[0].astimezone(UTC)
        return connection

    def _drop(self, connection: Connection) -> None:
        """Close a broken connection and all idle ones in the pool, which are probably broken too."""
        connection.invalidate()
        connection.close()
        self._engine.dispose()

    def close(self) -> None:
        """Close all connections; one that another thread is using is closed when it is given back."""
        self._closing.set()
        if self._thread is not None:
            while self._thread.is_alive():  # a wake is lost where a connection was kept that the server has let go of
                self.wake("")  # so that the one who listens sees that it is over
                self._thread.join(_RECONNECT_SECONDS)
            self._thread = None
        self._engine.dispose()


def _unavailable(problem: Exception) -> Unavailable:
    if getattr(getattr(problem, "orig", None), "sqlstate", None) == _DISK_FULL:
        words = f"the metadata database cannot be written: {_first_line(problem)}"
        return NotStored(words, hint="make room on its server's disk")
    return Unavailable(
        f"the metadata database did not answer: {_first_line(problem)}",
        hint="check the address, and that the server runs and accepts connections",
    )


def _first_line(problem: Exception) -> str:
    return str(problem).splitlines()[0]


def _say(connection: Connection, words: str) -> Any:  # noqa: ANN401 - a driver's cursor
    """Execute a statement on the driver's connection, without SQLAlchemy's overhead, which every step would pay."""
    driver = connection.dialect.loaded_dbapi
    try:
        return cast("Any", connection.connection.driver_connection).execute(words)
    except driver.Error as problem:
        raise DBAPIError.instance(words, None, problem, driver.Error, dialect=connection.dialect) from problem
