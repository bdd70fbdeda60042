"""Laws of segments: what is acknowledged is there, a torn tail is waited for and never fatal, positions go on."""

import os
import shutil
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from noria.core.errors import NotStored, Unavailable
from noria.serving import segments
from noria.serving.disk import MachineDisk
from noria.serving.log import Log
from noria.serving.model import Feedback
from noria.serving.segments import SegmentWriter, lines_after


def segments_in(folder, name):
    return sorted(folder.glob(f"{name}-*.jsonl"))


def lines_of(folder, name="log"):
    return [line for path in segments_in(folder, name) for _, line in lines_after(path, 0)]


def test_a_reader_goes_on_where_it_was(tmp_path, clock):
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=MachineDisk())
    writer.append(b"one\ntwo\n")
    (path,) = segments_in(tmp_path, "log")
    (first, second) = lines_after(path, 0)
    writer.append(b"three\n")

    assert (first, second) == ((4, b"one"), (8, b"two"))
    assert list(lines_after(path, 8)) == [(14, b"three")]


def test_a_line_without_an_end_is_left_for_the_next_time(tmp_path, clock):
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=MachineDisk())
    writer.append(b"one\nhal")
    (path,) = segments_in(tmp_path, "log")

    assert list(lines_after(path, 0)) == [(4, b"one")]
    writer.append(b"f\n")
    assert list(lines_after(path, 4)) == [(9, b"half")]


def test_a_line_is_whole_across_the_borders_of_what_is_read_at_once(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(segments, "_CHUNK_BYTES", 3)
    SegmentWriter(tmp_path, "log", clock=clock, disk=MachineDisk()).append(b"a\nbcdefgh\n\nij\n")

    assert lines_of(tmp_path) == [b"a", b"bcdefgh", b"", b"ij"]


def test_a_segment_ends_when_it_is_large_or_old(tmp_path, clock):
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=MachineDisk(), most_bytes=8, longest=timedelta(minutes=1))
    for line in (b"12345678\n", b"next\n"):
        writer.append(line)
    clock.advance_to(clock.now() + timedelta(minutes=1))
    writer.append(b"later\n")

    assert [path.read_bytes() for path in segments_in(tmp_path, "log")] == [b"12345678\n", b"next\n", b"later\n"]


def test_two_writers_never_share_a_segment(tmp_path, clock):
    SegmentWriter(tmp_path, "log-a", clock=clock, disk=MachineDisk()).append(b"a\n")

    with pytest.raises(Unavailable):
        SegmentWriter(tmp_path, "log-a", clock=clock, disk=MachineDisk()).append(b"b\n")


class FullDisk(MachineDisk):
    """A disk on which a write finds no room, after the first bytes of it."""

    is_full = False

    def write(self, file, payload):
        if self.is_full:
            super().write(file, payload[:2])
            raise OSError(28, "No space left on device")
        super().write(file, payload)


def test_after_a_refusal_of_the_disk_the_next_lines_begin_another_segment(tmp_path, clock):
    disk = FullDisk()
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=disk)

    disk.is_full = True
    with pytest.raises(Unavailable, match="No space left on device"):
        writer.append(b"torn\n")
    disk.is_full = False
    writer.append(b"whole\n")

    assert lines_of(tmp_path) == [b"whole"]


def test_nothing_of_what_was_refused_stays_and_the_file_goes_on(tmp_path, clock):
    disk = FullDisk()
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=disk)
    writer.append(b"before\n")

    for _ in range(3):
        disk.is_full = True
        with pytest.raises(NotStored):
            writer.append(b"x\nlost\n")
        disk.is_full = False
        writer.append(b"after\n")

    assert [path.read_bytes() for path in segments_in(tmp_path, "log")] == [b"before\nafter\nafter\nafter\n"]


def test_a_folder_that_is_removed_under_a_writer_is_made_again(tmp_path, clock):
    writer = SegmentWriter(tmp_path / "log", "log", clock=clock, disk=MachineDisk())
    writer.append(b"before\n")
    shutil.rmtree(tmp_path / "log")

    writer.append(b"after\n")
    writer.append_synced(b"synced\n")

    assert lines_of(tmp_path / "log") == [b"after", b"synced"]


class HalfMade(MachineDisk):
    """A disk that makes a file and then refuses it."""

    problems = 0

    def create(self, path):
        file = super().create(path)
        if self.problems:
            self.problems -= 1
            os.close(file)
            raise OSError(5, "Input/output error")
        return file


def test_a_file_that_was_made_in_vain_does_not_stand_in_the_way_of_the_next(tmp_path, clock):
    disk = HalfMade()
    disk.problems = 2
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=disk)

    for _ in range(2):
        with pytest.raises(NotStored, match="Input/output error"):
            writer.append(b"lost\n")
    writer.append(b"whole\n")

    assert lines_of(tmp_path) == [b"whole"]


def test_a_log_knows_that_it_was_refused_and_finds_out_by_itself_that_there_is_room_again(tmp_path, clock, ids):
    disk = FullDisk()
    log = Log(tmp_path / "log", clock=clock, ids=ids, disk=disk)
    told = [Feedback(label=True, at=clock.now(), key="c1")]
    disk.is_full = True
    with pytest.raises(NotStored):
        log.told("default", "clicks", told)
    disk.is_full = False

    log.try_again()
    assert "No space left" in log.trouble  # it was a moment ago
    clock.advance_to(clock.now() + timedelta(seconds=11))
    log.try_again()
    assert log.trouble is None

    disk.is_full = True
    with pytest.raises(NotStored):
        log.told("default", "clicks", told)
    disk.is_full = False
    log.told("default", "clicks", told)
    assert log.trouble is None


class WatchedDisk(MachineDisk):
    """A disk that keeps how large files were when they were synced, and refuses to sync when told to."""

    def __init__(self):
        self.synced, self.refusals = [], []

    def sync(self, file):
        if self.refusals:
            raise self.refusals.pop()
        size = os.fstat(file).st_size
        super().sync(file)
        self.synced.append(size)


def test_many_who_sync_at_once_share_a_sync_and_each_is_synced_before_it_returns(tmp_path, clock):
    disk = WatchedDisk()
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=disk)
    writer.append_synced(b"first\n")
    (path,) = segments_in(tmp_path, "log")
    problems, gate = [], threading.Barrier(16)

    def work(number):
        gate.wait()
        for turn in range(20):
            line = f"{number}-{turn}\n".encode()
            writer.append_synced(line)
            if line not in path.read_bytes()[: max(disk.synced)]:
                problems.append(line)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert len(lines_of(tmp_path)) == 321
    assert len(disk.synced) < 321


def test_what_a_failed_sync_was_to_save_is_refused_even_if_the_next_sync_succeeds(tmp_path, clock):
    disk = WatchedDisk()
    writer = SegmentWriter(tmp_path, "log", clock=clock, disk=disk)
    writer.append_synced(b"first\n")

    disk.refusals = [OSError(5, "Input/output error")]
    with pytest.raises(Unavailable, match="Input/output error"):
        writer.append_synced(b"lost?\n")
    writer.append_synced(b"next\n")

    assert [path.read_bytes() for path in segments_in(tmp_path, "log")] == [b"first\nlost?\n", b"next\n"]


_ACKNOWLEDGES = """
import sys
from pathlib import Path
from noria.core.clock import RealClock
from noria.serving.disk import MachineDisk
from noria.serving.segments import SegmentWriter

writer = SegmentWriter(Path(sys.argv[1]), "log-" + sys.argv[2], clock=RealClock(), disk=MachineDisk(), most_bytes=2000)
for number in range(10**9):
    writer.append(f"{sys.argv[2]}-{number} {'x' * 200}\\n".encode())
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_nothing_acknowledged_is_lost_by_kill_minus_nine(tmp_path):
    for life in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _ACKNOWLEDGES, str(tmp_path), str(life)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(40 + 37 * life):
            process.stdout.readline()
        process.kill()
        told = process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        acknowledged = 40 + 37 * life + sum(line.isdigit() for line in told)

        found = {line.split()[0] for line in lines_of(tmp_path, f"log-{life}")}
        assert {f"{life}-{number}".encode() for number in range(acknowledged)} <= found
