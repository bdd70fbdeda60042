"""Laws of blobs: what is stored is found again and never changes, what is damaged is found out, and large bytes stay where they lie."""

import os
import random

import pytest

from noria.core.errors import Corrupt, Invalid, NotFound
from noria.core.payloads import Chain, Payload, Reading
from noria.store.blobs import open_blobs

LARGE = random.Random(1).randbytes(9_000_001)


@pytest.fixture(params=["folder", "object storage"])
def stores(request, tmp_path):
    return open_blobs("memory:///" if request.param == "object storage" else str(tmp_path / "blobs"))


def file_of(digest, tmp_path):
    return tmp_path / "blobs" / digest[:2] / digest


def damage(file):
    file.chmod(0o644)
    with file.open("r+b") as content:
        content.seek(5_000_000)
        content.write(b"damage")


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=len)
def test_what_is_stored_is_found_again_by_its_digest_whole_or_in_pieces(stores, content):
    digest = stores.put(content)

    found = stores.payload(digest)

    assert stores.get(digest) == content
    assert (found.size, found.digest) == (len(content), digest)
    assert b"".join(found.chunks()) == bytes(found.view()) == bytes(found.own()) == content
    assert bytes(found.part(len(content) // 3, 7 * bool(content))) == content[len(content) // 3 :][:7]
    assert Reading(found).readall() == content
    with pytest.raises(NotFound):
        stores.payload("0" * 64)


def test_parts_are_stored_one_after_the_other_each_at_an_aligned_place(stores):
    chain = Chain([Payload(b"abc", b"def"), Payload(LARGE)])

    found = stores.payload(stores.put(chain))

    assert found.size == chain.size == 64 + len(LARGE) + -len(LARGE) % 64
    assert bytes(found.part(0, 6)) == b"abcdef"
    assert bytes(found.part(64, len(LARGE))) == LARGE


def test_what_a_taker_writes_into_its_own_no_other_sees_and_what_is_read_cannot_be_written(stores):
    found = stores.payload(stores.put(LARGE))

    one, other = found.own(), found.own()
    one[:4] = b"mine"

    assert bytes(other[:4]) == bytes(found.view()[:4]) == LARGE[:4]
    with pytest.raises(TypeError):
        found.view()[0] = 1


def test_a_file_is_for_reading_only_and_outlives_its_name_while_it_is_mapped(blobs, tmp_path):
    digest = blobs.put(LARGE)
    mapped, later = blobs.payload(digest).view(), blobs.payload(digest)
    mode = file_of(digest, tmp_path).stat().st_mode & 0o777

    blobs.drop(digest)

    assert mode == 0o444
    assert bytes(mapped) == bytes(later.view()) == LARGE


@pytest.mark.parametrize("read_before", [True, False])
def test_a_damaged_file_is_found_out_though_it_was_sound_when_it_was_read_before(blobs, tmp_path, read_before):
    digest = blobs.put(LARGE)
    if read_before:
        blobs.payload(digest)

    damage(file_of(digest, tmp_path))

    with pytest.raises(Corrupt, match="is damaged"):
        blobs.payload(digest)


def test_a_sound_file_is_checked_once_in_a_process(blobs, monkeypatch):
    digest, hashed = blobs.put(LARGE), []
    blobs.payload(digest)
    monkeypatch.setattr("noria.core.digests.of_chunks", lambda _: hashed.append(1))

    blobs.payload(digest)

    assert hashed == []


@pytest.mark.parametrize("size", [10, 9_000_001])
def test_bytes_that_change_while_they_are_stored_are_refused_and_what_was_there_stays(stores, size):
    class Changing(Payload):
        may_change = True

    changing = Changing(LARGE[:size])
    old = stores.put(LARGE[:size])
    stores._is_fresh = lambda _: False
    assert changing.digest == old
    changing._parts = [memoryview(bytes(size))]

    with pytest.raises(Invalid, match="changed meanwhile"):
        stores.put(changing)

    assert stores.get(old) == LARGE[:size]
    assert [blob.digest for blob in stores.all()] == [old]


def test_large_bytes_are_put_again_under_a_name_of_their_own_so_that_mapped_ones_stay(blobs, tmp_path):
    digest = blobs.put(LARGE)
    mapped, file = blobs.payload(digest).view(), file_of(digest, tmp_path)
    os.utime(file, (1, 1))
    before = file.stat().st_ino

    blobs.put(LARGE)

    assert file.stat().st_ino != before
    assert bytes(mapped) == LARGE
