"""Laws of garbage: what any table names stays, what is young stays, and the rest goes."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from noria.core.errors import NotFound
from noria.store import garbage
from noria.store.tables import metadata

LATER = datetime.now(UTC) + timedelta(days=1)
EARLIER = datetime.now(UTC) - timedelta(days=1)


def name(database, digest):
    row = {"run": "r", "step": "s", "attempt": 1, "part": 1, "project": "p", "at": EARLIER, "text": f"see {digest}!"}
    database.write(lambda c: c.execute(insert(metadata.tables["logs"]), row))


def test_a_blob_that_is_named_anywhere_stays_and_another_one_goes(any_database, blobs):
    named, lost = blobs.put(b"named"), blobs.put(b"lost")
    name(any_database, named)

    found = garbage.find(any_database, blobs, before=LATER)

    assert [blob.digest for blob in found.blobs] == [lost]
    assert (found.size, found.kept) == (4, 1)
    assert blobs.get(lost) == b"lost"
    garbage.collect(blobs, found)
    garbage.collect(blobs, found)
    assert blobs.get(named) == b"named"
    with pytest.raises(NotFound):
        blobs.get(lost)


def test_what_is_young_may_belong_to_a_writer_who_has_not_committed_yet(database, blobs):
    blobs.put(b"young")

    assert garbage.find(database, blobs, before=EARLIER).blobs == ()


def test_what_is_put_again_counts_as_new(database, blobs, tmp_path):
    import os

    digest = blobs.put(b"old")
    old = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    os.utime(tmp_path / "blobs" / digest[:2] / digest, (old, old))
    assert len(garbage.find(database, blobs, before=EARLIER).blobs) == 1

    blobs.put(b"old")

    assert garbage.find(database, blobs, before=EARLIER).blobs == ()


def test_a_runs_results_are_named_and_so_are_those_of_tables_that_no_room_here_knows(database, blobs):
    from sqlalchemy import text

    digest = blobs.put(b"of another version of noria")
    database.write(lambda c: c.execute(text("CREATE TABLE others (blob VARCHAR(64))")))
    database.write(lambda c: c.execute(text("INSERT INTO others VALUES (:digest)"), {"digest": digest}))

    assert garbage.find(database, blobs, before=LATER).blobs == ()
