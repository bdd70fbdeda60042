"""Laws of segments: what is acknowledged is there, a torn tail is waited for and never fatal, positions go on."""

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from noria.core.errors import Unavailable
from noria.serving import segments
from noria.serving.segments import SegmentWriter, lines_after, segments_in


def lines_of(folder, name="log"):
    return [line for path in segments_in(folder, name) for _, line in lines_after(path, 0)]


def test_a_reader_goes_on_where_it_was(tmp_path, clock):
    writer = SegmentWriter(tmp_path, "log", clock=clock)
    writer.append(b"one\ntwo\n")
    (path,) = segments_in(tmp_path, "log")
    (first, second) = lines_after(path, 0)
    writer.append(b"three\n")

    assert (first, second) == ((4, b"one"), (8, b"two"))
    assert list(lines_after(path, 8)) == [(14, b"three")]


def test_a_line_without_an_end_is_left_for_the_next_time(tmp_path, clock):
    writer = SegmentWriter(tmp_path, "log", clock=clock)
    writer.append(b"one\nhal")
    (path,) = segments_in(tmp_path, "log")

    assert list(lines_after(path, 0)) == [(4, b"one")]
    writer.append(b"f\n")
    assert list(lines_after(path, 4)) == [(9, b"half")]


def test_a_line_is_whole_across_the_borders_of_what_is_read_at_once(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(segments, "_CHUNK_BYTES", 3)
    SegmentWriter(tmp_path, "log", clock=clock).append(b"a\nbcdefgh\n\nij\n")

    assert lines_of(tmp_path) == [b"a", b"bcdefgh", b"", b"ij"]


def test_a_segment_ends_when_it_is_large_or_old(tmp_path, clock):
    writer = SegmentWriter(tmp_path, "log", clock=clock, most_bytes=8, longest=timedelta(minutes=1))
    for line in (b"12345678\n", b"next\n"):
        writer.append(line)
    clock.advance_to(clock.now() + timedelta(minutes=1))
    writer.append(b"later\n")

    assert [path.read_bytes() for path in segments_in(tmp_path, "log")] == [b"12345678\n", b"next\n", b"later\n"]


def test_two_writers_never_share_a_segment(tmp_path, clock):
    SegmentWriter(tmp_path, "log-a", clock=clock).append(b"a\n")

    with pytest.raises(Unavailable):
        SegmentWriter(tmp_path, "log-a", clock=clock).append(b"b\n")


def test_after_a_refusal_of_the_disk_the_next_lines_begin_another_segment(tmp_path, clock, monkeypatch):
    writer = SegmentWriter(tmp_path, "log", clock=clock)
    real, refusals = os.write, iter([2, None])

    def full(file, payload):
        allowed = next(refusals, "all")
        if allowed is None:
            raise OSError(28, "No space left on device")
        return real(file, payload if allowed == "all" else payload[:allowed])

    monkeypatch.setattr(segments.os, "write", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        writer.append(b"torn\n")
    writer.append(b"whole\n")

    assert lines_of(tmp_path) == [b"whole"]


def test_many_who_sync_at_once_share_a_sync_and_each_is_synced_before_it_returns(tmp_path, clock, monkeypatch):
    writer = SegmentWriter(tmp_path, "log", clock=clock)
    writer.append_synced(b"first\n")
    synced, real = [], os.fsync

    def fsync(file):
        size = os.fstat(file).st_size
        real(file)
        synced.append(size)

    monkeypatch.setattr(segments.os, "fsync", fsync)
    (path,) = segments_in(tmp_path, "log")
    problems, gate = [], threading.Barrier(16)

    def work(number):
        gate.wait()
        for turn in range(20):
            line = f"{number}-{turn}\n".encode()
            writer.append_synced(line)
            if line not in path.read_bytes()[: max(synced)]:
                problems.append(line)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert len(lines_of(tmp_path)) == 321
    assert len(synced) < 320


_ACKNOWLEDGES = """
import sys
from pathlib import Path
from noria.core.clock import RealClock
from noria.serving.segments import SegmentWriter

writer = SegmentWriter(Path(sys.argv[1]), "log-" + sys.argv[2], clock=RealClock(), most_bytes=2000)
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
