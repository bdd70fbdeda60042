"""One contract for both databases: what a write promises, what a read sees."""

import errno
import sqlite3
import threading
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, MetaData, String, Table, func, insert, select

from noria.core.errors import Corrupt, Invalid, NotFound, Unavailable
from noria.store.database import Durability
from noria.store.leases import FencedInsert, Lease, acquire_new
from noria.store.opening import open_database
from noria.store.tables import leases, metadata


def put(connection, name):
    row = {"name": name, "holder": "x", "token": 1}
    connection.execute(insert(leases), row | {"expires_at": datetime(2026, 1, 1, tzinfo=UTC)})


def names(database):
    return database.read(lambda c: set(c.execute(select(leases.c.name)).scalars()))


@pytest.mark.parametrize("durability", list(Durability))
def test_what_was_written_is_read_by_all(any_database, durability):
    any_database.write(lambda c: put(c, "a"), durability=durability)

    assert names(any_database) == {"a"}


def test_nothing_stays_of_a_closure_that_raises(any_database):
    def half(connection):
        put(connection, "half")
        raise KeyError("half")

    with pytest.raises(KeyError, match="half"):
        any_database.write(half)

    assert names(any_database) == set()


def test_a_read_keeps_nothing_that_it_changes(any_database):
    any_database.read(lambda c: put(c, "changed"))

    assert names(any_database) == set()


def test_of_many_writers_at_once_each_gets_its_own_answer_and_only_the_failed_ones_raise(any_database):
    outcomes = {}

    def work(number):
        def closure(connection):
            put(connection, str(number))
            if number % 5 == 0:
                raise ValueError(number)
            return number

        try:
            outcomes[number] = any_database.write(closure)
        except ValueError as problem:
            outcomes[number] = problem.args

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes == {number: (number,) if number % 5 == 0 else number for number in range(50)}
    assert names(any_database) == {str(number) for number in range(50) if number % 5}


def test_two_processes_worth_of_databases_on_one_file_wait_for_each_other(tmp_path):
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    homes = [open_database(address) for _ in range(2)]
    metadata.create_all(homes[0].engine)

    def fill(home, start):
        for number in range(start, start + 100):
            home.write(lambda c, number=number: put(c, str(number)))

    threads = [threading.Thread(target=fill, args=(home, 100 * place)) for place, home in enumerate(homes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert homes[0].read(lambda c: c.execute(select(func.count()).select_from(leases)).scalar_one()) == 200
    for home in homes:
        home.close()


ROWS = Table("fenced_rows", MetaData(), Column("name", String(9), primary_key=True))


@pytest.fixture
def held(database, tmp_path):
    """Hold the database's write lock as another process does, until it is committed."""
    ROWS.create(database.engine)
    database.write(lambda c: acquire_new(c, datetime.now(UTC), name="work", holder="me", seconds=600))
    base = sqlite3.connect(tmp_path / "noria.db", isolation_level=None, check_same_thread=False)
    base.execute("BEGIN IMMEDIATE")
    yield base
    base.close()


def ways_to_write(database):
    lease = Lease(name="work", holder="me", token=1, expires_at=datetime.now(UTC))
    return {
        "whole": lambda: database.write(lambda c: put(c, "late")),
        "alone": lambda: database.put(FencedInsert(ROWS), lease, {"name": "late"}),
    }


@pytest.mark.parametrize("way", ["whole", "alone"])
def test_a_writer_waits_for_another_process_s_transaction_and_goes_on_when_it_ends(database, held, way):
    thread = threading.Thread(target=ways_to_write(database)[way])
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()

    held.execute("COMMIT")
    thread.join(20)

    assert not thread.is_alive()
    table = leases.c.name if way == "whole" else ROWS.c.name
    assert "late" in database.read(lambda c: set(c.execute(select(table)).scalars()))


@pytest.mark.parametrize("way", ["whole", "alone"])
def test_a_transaction_that_does_not_end_is_said_in_words(database, held, monkeypatch, way):
    monkeypatch.setattr("noria.store.sqlite._BUSY_SECONDS", 0.02)

    with pytest.raises(Unavailable, match="stayed locked"):
        ways_to_write(database)[way]()

    held.execute("ROLLBACK")
    ways_to_write(database)[way]()


def test_a_full_disk_is_said_in_words_and_what_is_asked_again_when_there_is_room_is_written(database):
    size = database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1").scalar())

    def much(connection):
        for number in range(1000):
            put(connection, f"{number:0200}")

    with pytest.raises(Unavailable, match="the metadata database cannot be written: database or disk is full"):
        database.write(much)
    assert names(database) == set()

    database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {size + 1000}"))
    database.write(much)
    assert len(names(database)) == 1000


def test_a_write_inside_a_write_is_refused_on_sqlite(database):
    with pytest.raises(Invalid, match="a write inside a write"):
        database.write(lambda _: database.write(lambda c: put(c, "inner")))


def test_closing_twice_is_fine(database):
    database.write(lambda connection: put(connection, "kept"))

    database.close()
    database.close()

    assert names(database) == {"kept"}


def test_an_address_of_no_known_kind_is_refused_with_the_known_ones():
    with pytest.raises(Invalid) as caught:
        open_database("mysql://somewhere")

    assert "postgresql://" in caught.value.hint


def test_blobs_come_back_as_they_were_and_a_missing_one_is_said_to_be_missing(blobs):
    digest = blobs.put(b"abc")

    assert blobs.put(b"abc") == digest
    assert blobs.get(digest) == b"abc"
    assert not blobs.has("00" * 32)
    with pytest.raises(NotFound, match="no blob"):
        blobs.get("00" * 32)


def test_a_damaged_blob_is_never_handed_out(blobs, tmp_path):
    digest = blobs.put(b"abc")
    file = tmp_path / "blobs" / digest[:2] / digest
    file.chmod(0o644)
    file.write_bytes(b"abd")

    with pytest.raises(Corrupt, match="damaged"):
        blobs.get(digest)


def test_a_sync_that_fails_is_said_and_the_next_commit_is_synced_again(tmp_path, monkeypatch, caplog):
    from noria.store import sqlite

    failing, synced = [OSError(errno.EIO, "Input/output error")], threading.Event()

    def sync(place):
        if failing:
            raise failing.pop()
        synced.set()

    monkeypatch.setattr(sqlite, "sync", sync)
    syncer = sqlite._WalSyncer(tmp_path / "wal")
    until = time.monotonic() + 10
    while not synced.is_set() and time.monotonic() < until:
        syncer.soon()
        synced.wait(0.01)
    is_alive = syncer._thread.is_alive()
    syncer.close()

    assert (is_alive, synced.is_set()) == (True, True)
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "the write-ahead log could not be synced"
    ]


def test_closing_in_the_very_moment_of_a_sync_ends_the_syncer(tmp_path):
    from noria.store.sqlite import _WalSyncer

    syncer = _WalSyncer(tmp_path / "wal")

    class Late(threading.Event):
        """An event that is cleared just after somebody who closes has set it."""

        def clear(self):
            syncer._closing.set()
            self.set()
            super().clear()

    syncer._wanted = Late()
    syncer.soon()
    syncer._thread.join(10)

    assert not syncer._thread.is_alive()


@pytest.fixture
def closed_in_the_middle(postgresql_address):
    """What closes a database while another thread is in a transaction, and returns that thread's own connection."""
    database, inside, may_end = open_database(postgresql_address), threading.Event(), threading.Event()
    raw = []

    def slow(connection):
        raw.append(connection.connection.driver_connection)
        inside.set()
        assert may_end.wait(60)
        return connection.execute(select(1)).scalar_one()

    def end(meanwhile):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(database.write(slow)))
        thread.start()
        assert inside.wait(60)
        meanwhile(database)
        may_end.set()
        thread.join()
        assert answers == [1]
        return database, raw[0]

    yield end
    database.close()


def test_a_connection_that_is_lent_while_the_database_is_closed_is_closed_when_it_comes_back(closed_in_the_middle):
    _, raw = closed_in_the_middle(lambda database: database.close())

    assert raw.closed


def test_a_connection_that_is_lent_while_the_kept_ones_are_let_go_of_is_closed_and_the_next_one_is_kept(
    closed_in_the_middle,
):
    def driver(database):
        return database.read(lambda connection: connection.connection.driver_connection)

    database, raw = closed_in_the_middle(lambda database: database.engine.dispose())

    assert raw.closed
    assert driver(database) is driver(database)


def test_a_thread_that_comes_after_the_database_was_closed_leaves_no_connection(postgresql_address):
    database = open_database(postgresql_address)
    database.close()

    assert database.read(lambda connection: connection.connection.driver_connection).closed
