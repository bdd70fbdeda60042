"""Laws of garbage: what any table names stays, what is young stays, and the rest goes."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from noria.core.errors import NotFound
from noria.store import garbage
from noria.store.blobs import open_blobs
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


def test_what_a_killed_process_had_begun_to_write_goes_when_it_is_old(database, tmp_path):
    folder = tmp_path / "blobs"
    killed = """
import os, sys
from noria.core.payloads import Payload
from noria.store.blobs import open_blobs

class Endless(Payload):
    def chunks(self):
        yield b"x" * 9_000_000
        os.kill(os.getpid(), 9)

endless = Endless()
endless.size = 9_000_000
open_blobs(sys.argv[1]).put(endless)
"""
    assert subprocess.run([sys.executable, "-c", killed, folder], check=False).returncode == -9
    blobs = open_blobs(str(folder))
    assert garbage.find(database, blobs, before=EARLIER).unfinished == ()

    found = garbage.find(database, blobs, before=LATER)
    garbage.collect(blobs, found)

    assert (len(found.unfinished), found.blobs) == (1, ())
    assert [file for file in folder.rglob("*") if file.is_file()] == []


def test_files_of_others_beside_the_blobs_stay(database, blobs, tmp_path):
    (tmp_path / "blobs" / "tmp").mkdir()
    (tmp_path / "blobs" / "tmp" / "tmp_report.csv").touch()
    (tmp_path / "blobs" / "tmp_notes").touch()

    assert garbage.find(database, blobs, before=LATER).unfinished == ()


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
