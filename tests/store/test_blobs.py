"""Laws of blobs: what is stored is found again and never changes, what is damaged is found out, and large bytes stay where they lie."""

import errno
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from noria.core.errors import Corrupt, Invalid, NotFound, Unavailable
from noria.core.payloads import Chain, Payload, Reading
from noria.store.blobs import open_blobs
from noria.store.mapping import InFile

LARGE = random.Random(1).randbytes(9_000_001)


@pytest.fixture(params=["folder", "memory", "s3"])
def stores(request, tmp_path):
    if request.param == "s3":
        return open_blobs(request.getfixturevalue("s3"))
    return open_blobs("memory:///" if request.param == "memory" else str(tmp_path / "blobs"))


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
    memory = bytearray(LARGE[:size])
    changing = Payload(memory)
    old = stores.put(LARGE[:size])
    stores._is_fresh = lambda _: False
    assert changing.digest == old
    memory[3] ^= 1

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


def test_large_bytes_whose_digest_is_known_are_not_written_again(blobs, tmp_path):
    payload = Payload(LARGE)
    file = file_of(blobs.put(payload), tmp_path)
    before = file.stat().st_ino

    blobs.put(payload)

    assert file.stat().st_ino == before


def test_a_large_file_is_read_into_memory_by_one_map_for_each_takes_an_open_file(blobs, monkeypatch):
    payload, maps, mapped = blobs.payload(blobs.put(LARGE)), [], InFile._mapped
    monkeypatch.setattr(InFile, "_mapped", lambda *asked: maps.append(asked) or mapped(*asked))

    assert bytes(payload) == LARGE
    assert len(maps) == 1


@pytest.mark.parametrize("size", [10, 9_000_001])
def test_a_file_that_was_torn_is_not_fresh_and_is_replaced_when_its_bytes_are_put_again(blobs, tmp_path, size):
    digest = blobs.put(LARGE[:size])
    file = file_of(digest, tmp_path)
    file.chmod(0o644)
    os.truncate(file, size - 1)

    blobs.put(LARGE[:size])

    assert blobs.get(digest) == LARGE[:size]


def test_the_bytes_are_on_the_disk_before_they_have_their_name(blobs, tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr("os.fsync", lambda number: (steps.append(os.fstat(number).st_size), fsync(number)))
    monkeypatch.setattr(Path, "replace", lambda one, other: (steps.append(other.name), replace(one, other)))

    digest = blobs.put(LARGE)

    assert steps.index(len(LARGE)) < steps.index(digest)
    assert [file.name for file in file_of(digest, tmp_path).parent.iterdir()] == [digest]


@pytest.mark.parametrize("mode", [0o755, 0o2770, 0o777])
def test_what_one_user_may_write_in_a_shared_folder_the_others_may_write_beside(tmp_path, mode):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)

    digest = open_blobs(str(folder)).put(b"x")

    assert (folder / digest[:2]).stat().st_mode & 0o7777 == mode
    assert (folder / digest[:2] / digest).stat().st_mode & 0o777 == 0o444


def test_a_damaged_file_is_found_out_though_its_time_was_set_back(blobs, tmp_path):
    digest = blobs.put(LARGE)
    blobs.payload(digest)
    file = file_of(digest, tmp_path)
    told = file.stat()

    damage(file)
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))

    with pytest.raises(Corrupt, match="is damaged"):
        blobs.payload(digest)


@pytest.mark.parametrize("problem", [errno.EMFILE, errno.ENOMEM])
def test_what_cannot_be_mapped_for_want_of_files_is_read_into_memory(blobs, monkeypatch, problem):
    def none_left(*_, **__):
        raise OSError(problem, "none left")

    found = blobs.payload(blobs.put(LARGE))
    monkeypatch.setattr("mmap.mmap", none_left)

    own = found.own()
    own[:4] = b"mine"

    assert bytes(own[4:]) == LARGE[4:]
    assert found.view() == LARGE
    assert found.view().readonly
    assert bytes(found.part(3, 100)) == LARGE[3:103]
    assert b"".join(found.chunks()) == LARGE


def test_a_storage_that_cannot_be_asked_is_said_in_words_and_may_be_tried_again(monkeypatch):
    for name, value in {"ENDPOINT": "http://127.0.0.1:9", "ALLOW_HTTP": "true", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    stores = open_blobs("s3://noria/home")
    verbs = (lambda: stores.put(b"x"), lambda: stores.get("0" * 64), lambda: stores.payload("0" * 64), stores.all)

    with ThreadPoolExecutor() as threads:  # each tries for seconds
        said = [future.exception() for future in [threads.submit(lambda verb=verb: list(verb())) for verb in verbs]]

    assert {type(problem) for problem in said} == {Unavailable}
    assert all(problem.sentence.startswith("the storage of blobs cannot be used: Generic S3 error") for problem in said)
    assert not any("\n" in problem.sentence for problem in said)


def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(blobs, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="cannot be used: .* No space left on device"):
            blobs.put(LARGE)

    assert [place for place in (tmp_path / "blobs").rglob("*") if place.is_file()] == []
    assert blobs.get(blobs.put(LARGE)) == LARGE
