"""SQLite as the metadata database: one writer at a time in each process, and commits that share a sync.

A thread that wants to write queues its closure and takes the writer's lock; whoever has the lock commits everything
that is queued by then in one transaction, a savepoint each. A lone writer pays for no second thread, and many writers
share one sync (measured: 2.8-4.0 thousand synced commits a second against 127-413 one by one).
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, cast

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from noria.core.clock import Clock, MachineStopwatch, RealClock
from noria.core.errors import Invalid, NotStored, ReadOnly, Unavailable
from noria.store.database import Answer, Durability
from noria.store.leases import FencedInsert, Lease
from noria.store.sqlite_files import connector
from noria.store.syncing import sync
from noria.store.waking import Ear, LoopbackWakes, said

_BUSY_SECONDS = 30.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.0005, 0.002
_SYNC_AFTER_SECONDS = 0.1
_WRITER = "open it as a user who may write the folder and the files in it, or copy it to where you may"
_log = logging.getLogger("noria.store")
_watch = MachineStopwatch()
_SYNCHRONOUS = {Durability.STEP: "NORMAL", Durability.DECISION: "FULL"}


@dataclass(slots=True)
class _Queued(Generic[Answer]):
    """A closure that waits for the writer, and what came of it."""

    work: Callable[[Connection], Answer]
    durability: Durability
    done: bool = False
    answers: list[Answer] = field(default_factory=list[Answer])
    failure: BaseException | None = None

    def outcome(self) -> Answer:
        if self.failure is not None:
            raise self.failure
        return self.answers[0]


class SqliteDatabase:
    """A metadata database in one file."""

    def __init__(
        self, path: Path, *, lease_clock: Clock | None = None, sync_steps: bool = False, read_only: bool = False
    ) -> None:
        self._path = path
        self._is_read_only = read_only
        self._weakest = Durability.DECISION if sync_steps else Durability.STEP
        self._lease_clock = lease_clock or RealClock()
        self._engine = _engine(path, read_only=read_only)
        self._queue: deque[_Queued[Any]] = deque()
        self._lock = threading.Lock()
        self._leader: int | None = None
        self._writer: Connection | None = None
        self._readers: deque[Connection] = deque()  # to take one from SQLAlchemy's pool costs more than to read a row
        self._level: Durability | None = None
        self._wakes = LoopbackWakes(path.with_name(path.name + "-ears"))
        self._syncer = _WalSyncer(path.with_name(path.name + "-wal"))

    @property
    def engine(self) -> Engine:
        """Return the engine, for migrations and tests."""
        return self._engine

    def write(self, work: Callable[[Connection], Answer], *, durability: Durability = Durability.DECISION) -> Answer:
        """Commit the closure, together with whatever else is queued when the writer is free."""
        if self._leader == threading.get_ident():
            raise Invalid("a write inside a write", hint="do both in one closure")
        if self._is_read_only:
            raise ReadOnly(f"{self._path.parent} can only be read by this user", hint=_WRITER)
        queued = _Queued(work, max(durability, self._weakest))
        self._queue.append(queued)
        topics: frozenset[str] = frozenset()
        with self._lock:
            if not queued.done:
                self._leader = threading.get_ident()
                try:
                    topics = self._commit_all()
                finally:
                    self._leader = None
        for topic in topics:
            self._wakes.wake(topic)
        return queued.outcome()

    def put(self, insert: FencedInsert, lease: Lease, row: Mapping[str, Any]) -> str | None:
        """Put the row by one statement where nobody else writes, which is a transaction by itself; else with theirs."""
        if self._is_put_alone(insert, lease, row):
            return None
        return self.write(lambda c: insert.put(c, lease, row, self._lease_clock.now()), durability=Durability.STEP)

    def read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Run the closure on one consistent view."""
        try:
            connection = self._readers.pop()
        except IndexError:  # all are in use, or this is the first
            connection = self._engine.connect()
        _say(connection, "BEGIN")
        try:
            return query(connection)
        finally:
            _say(connection, "ROLLBACK")
            self._readers.append(connection)

    def lease_time(self, connection: Connection) -> datetime:  # noqa: ARG002 - SQLite has no clock but the machine's
        """Return the machine's time, which is SQLite's own, or the simulated one that tests handed in."""
        return self._lease_clock.now()

    def listen(self, topic: str) -> Ear:
        """Return an ear; other processes on this machine are heard by a loopback socket."""
        return self._wakes.listen(topic)

    def wake(self, topic: str) -> None:
        """Wake who listens, in this process and in others on this machine."""
        self._wakes.wake(topic)

    def close(self) -> None:
        """Sync, and let go of all connections."""
        self._wakes.close()
        while self._readers:
            self._readers.pop().close()
        with self._lock:
            self._syncer.close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
                self._level = None
            self._engine.dispose()

    def _commit_all(self) -> frozenset[str]:
        """Commit what is queued; return the topics on which to wake whoever listens."""
        topics: frozenset[str] = frozenset()
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            connection = self._begin(max(queued.durability for queued in batch))
            try:
                self._run(connection, batch)
                topics = said(connection)
                _say(connection, "COMMIT")
            except BaseException:
                topics = frozenset()
                said(connection)
                with contextlib.suppress(sqlite3.OperationalError):
                    _say(connection, "ROLLBACK")
                raise
            self._sync_soon()
        except BaseException as problem:  # noqa: BLE001 - nothing was committed: each one that asked is told why
            for queued in batch:
                queued.failure = queued.failure or _translated(problem)
        for queued in batch:
            queued.done = True
        return topics

    def _is_put_alone(self, insert: FencedInsert, lease: Lease, row: Mapping[str, Any]) -> bool:
        if not self._lock.acquire(blocking=False):
            return False
        try:
            connection = self._writing(self._weakest)
            if self._queue or not _in_turn(lambda: insert.put_alone(connection, lease, row, self._lease_clock.now())):
                return False
            self._sync_soon()
        except DBAPIError as problem:
            raise _translated(problem) from None
        finally:
            self._lock.release()
        return True

    def _begin(self, durability: Durability) -> Connection:
        connection = self._writing(durability)
        _in_turn(lambda: _say(connection, "BEGIN IMMEDIATE"))
        return connection

    def _writing(self, durability: Durability) -> Connection:
        """Return the writer's connection, which syncs what it commits as the durability asks."""
        if self._writer is None:
            self._writer = self._engine.connect()
            _say(self._writer, "PRAGMA busy_timeout=0")  # see _in_turn
        if self._level is not durability:
            _say(self._writer, f"PRAGMA synchronous={_SYNCHRONOUS[durability]}")
            self._level = durability
        return self._writer

    def _sync_soon(self) -> None:
        if self._level is Durability.STEP:
            self._syncer.soon()

    @staticmethod
    def _run(connection: Connection, batch: list[_Queued[Any]]) -> None:
        if len(batch) == 1:  # alone: the transaction itself is the savepoint
            batch[0].answers.append(batch[0].work(connection))
            return
        for queued in batch:
            _say(connection, "SAVEPOINT verb")
            try:
                queued.answers.append(queued.work(connection))
            except BaseException as problem:  # noqa: BLE001 - it belongs to the thread that asked
                _say(connection, "ROLLBACK TO verb")
                queued.failure = problem
            _say(connection, "RELEASE verb")


def _say(connection: Connection, words: str) -> None:
    """Say it to SQLite itself: beginning and ending a transaction is paid for by every step."""
    cast("Any", connection.connection.driver_connection).execute(words)


def _in_turn(begin: Callable[[], Answer]) -> Answer:
    """Begin as soon as no other process writes.

    SQLite itself would wait longer at each try, up to a tenth of a second, so that whoever comes late goes first. Here all
    who wait try at one pace.
    """
    begun: float | None = None
    wait_seconds = _FIRST_WAIT_SECONDS
    while True:
        try:
            return begin()
        except (sqlite3.OperationalError, DBAPIError) as problem:
            now = _watch.wall()
            begun = now if begun is None else begun
            if not _is_locked(problem) or now - begun >= _BUSY_SECONDS:
                raise
        time.sleep(wait_seconds)
        wait_seconds = min(wait_seconds * 1.1, _LONGEST_WAIT_SECONDS)


def _is_locked(problem: BaseException) -> bool:
    cause = problem.orig if isinstance(problem, DBAPIError) else problem
    return isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause)


def _translated(problem: BaseException) -> BaseException:
    cause = problem.orig if isinstance(problem, DBAPIError) else problem
    if _is_locked(problem):
        return Unavailable(
            f"the metadata database stayed locked for {_BUSY_SECONDS:.0f} seconds",
            hint="another process holds a long transaction; end it, or use PostgreSQL",
        )
    if isinstance(cause, sqlite3.OperationalError) and ("disk" in str(cause) or "readonly" in str(cause)):
        return NotStored(f"the metadata database cannot be written: {cause}", hint="make room on its disk")
    return problem


def _engine(path: Path, *, read_only: bool) -> Engine:
    return create_engine(
        URL.create("sqlite", database=str(path)),
        creator=connector(path, read_only=read_only, busy_seconds=_BUSY_SECONDS),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=24,
    ).execution_options(isolation_level="AUTOCOMMIT")  # transactions are begun in so many words, never by the driver


class _WalSyncer:
    """Syncs the write-ahead log within 100 ms of a commit that did not."""

    def __init__(self, wal: Path) -> None:
        self._wal = wal
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        if not self._wanted.is_set():
            self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="noria-wal-sync", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._sync()
        self._closing.clear()
        self._wanted.clear()

    def _loop(self) -> None:
        while self._wanted.wait() and not self._closing.wait(_SYNC_AFTER_SECONDS):
            self._wanted.clear()
            if self._closing.is_set():  # said between the two lines above, and what woke us is cleared
                return
            try:
                self._sync()
            except Exception:  # noqa: BLE001 - what is written later must be synced as well
                _log.exception("the write-ahead log could not be synced, and is tried again with the next commit")

    def _sync(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # the log was folded into the database, which syncs it
            sync(self._wal)
