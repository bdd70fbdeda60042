"""Files of lines that only grow: one writer each, read by position, whole after kill -9.

A line that has been written survives the death of its process; a line that has been synced survives loss of power. A
writer never goes on with a file that another one began, so what a death tore off is always at a file's end, where a
reader waits for a line's end that never comes.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from noria.core.clock import Clock
from noria.core.errors import NotStored
from noria.serving.disk import Disk

SUFFIX = ".jsonl"
_MOST_BYTES = 64 * 2**20
_LONGEST = timedelta(hours=1)
_CHUNK_BYTES = 8 * 2**20
_MOST_LOSSES = 1_000
"""More than there are threads that could wait for a sync at once."""


class SegmentWriter:
    """Appends lines to the newest of its segments; safe to share between threads."""

    def __init__(
        self, folder: Path, name: str, *, clock: Clock, disk: Disk, most_bytes: int = _MOST_BYTES,
        longest: timedelta = _LONGEST,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._name = name
        self._clock = clock
        self._disk = disk
        self._most_bytes = most_bytes
        self._longest = longest
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._file: int | None = None
        self._opened_at: datetime | None = None
        self._size = 0
        self._number = 0
        self._written = 0
        self._synced = 0
        # Appends whose sync failed, and why. It is not tried again: the kernel forgets what it could not write.
        self._lost: deque[tuple[range, OSError]] = deque(maxlen=_MOST_LOSSES)

    def append(self, lines: bytes) -> None:
        """Write whole lines; when it returns they survive kill -9.

        Raises:
            NotStored: the disk refused them; nothing of them stays.

        """
        with self._lock:
            self._append(lines)

    def append_synced(self, lines: bytes) -> None:
        """Write whole lines; when it returns they survive loss of power. Many who call at once share one sync.

        Raises:
            NotStored: the disk refused to write or to sync them; after a sync that failed the next lines begin another
                segment.

        """
        with self._lock:
            self._append(lines)
            mine = self._written
        with self._syncing:
            if self._synced < mine:
                self._sync()
            for appends, problem in self._lost:
                if mine in appends:
                    raise self._refused(problem) from problem

    def close(self) -> None:
        """Sync and end the segment; a later append begins another one."""
        with self._syncing, self._lock:
            self._end()

    def _append(self, lines: bytes) -> None:
        try:
            self._disk.write(self._current(), lines)
        except OSError as problem:
            with contextlib.suppress(OSError):
                self._take_back()
            raise self._refused(problem) from problem
        self._size += len(lines)
        self._written += 1

    def _take_back(self) -> None:
        """Take away what a refused write has left: nothing of what was refused may be read, nor stand before a line."""
        file = self._file
        if file is None:
            return
        try:
            self._disk.cut(file, self._size)
        except OSError:
            self._end()
            raise

    def _current(self) -> int:
        """Return the open segment, a new one when the old one is large or old enough, or was removed by somebody."""
        now = self._clock.now()
        if self._file is not None and self._opened_at is not None:
            is_young = self._size < self._most_bytes and abs(now - self._opened_at) < self._longest
            if is_young and self._disk.is_there(self._file):
                return self._file
            self._end()
        number, self._number = self._number, self._number + 1  # a name that was begun in vain is never tried again
        self._file = self._disk.create(self._folder / f"{self._name}-{number:06d}{SUFFIX}")
        self._opened_at, self._size = now, 0
        return self._file

    def _sync(self) -> None:
        """Sync what is written by now; an ended segment was synced when it ended."""
        with self._lock:
            through, file = self._written, None if self._file is None else os.dup(self._file)
        if file is not None:
            try:
                self._disk.sync(file)
            except OSError as problem:
                with self._lock, contextlib.suppress(OSError):
                    self._lose(problem)
                    self._end()
            finally:
                os.close(file)
        self._synced = through

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            self._disk.sync(file)
        except OSError as problem:
            self._lose(problem)
            raise
        finally:
            self._disk.close(file)

    def _lose(self, problem: OSError) -> None:
        self._lost.append((range(self._synced + 1, self._written + 1), problem))

    def _refused(self, problem: OSError) -> NotStored:
        return NotStored(f"the log could not be written: {problem}", hint=f"is there room left for {self._folder}?")


def lines_after(path: Path, position: int) -> Iterator[tuple[int, bytes]]:
    """Return the whole lines that begin at a position or later, each with the position after it.

    A line without an end is left for the next time: its writer is still at it, or died.
    """
    with path.open("rb") as file:
        file.seek(position)
        rest = b""
        while chunk := file.read(_CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                position += len(line) + 1
                yield position, line


def whole_end(path: Path) -> int:
    """Return the position after the last whole line of a segment."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _CHUNK_BYTES)
            file.seek(begin)
            place = file.read(end - begin).rfind(b"\n")
            if place >= 0:
                return begin + place + 1
            end = begin
    return 0
