"""The log of an endpoint: every answer that was given, and what turned out to be so, one line of JSON each."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from noria.core.clock import Clock
from noria.core.errors import NotStored
from noria.core.ids import Ids
from noria.serving.compacted import FEEDBACK, PREDICTIONS, files_of
from noria.serving.disk import TEMPORARY, Disk, MachineDisk
from noria.serving.model import Feedback, Prediction
from noria.serving.segments import SUFFIX, SegmentWriter, lines_after, whole_end

KINDS: Mapping[str, type[Prediction] | type[Feedback]] = {PREDICTIONS: Prediction, FEEDBACK: Feedback}
_MARKS = ".erasures"
_PROBED_AFTER = timedelta(seconds=10)
_PROBE_BYTES = 64 * 2**10
_encode_lines = msgspec.json.Encoder().encode_lines

Record = TypeVar("Record", bound=Prediction | Feedback)
Positions = dict[str, int]
"""How far each segment has been read, by its file's name."""


class Log:
    """Writes this process's segments and reads everybody's; safe to share between threads.

    Predictions are written before they are answered, and survive kill -9; feedback is synced before it is
    acknowledged, and survives loss of power.
    """

    def __init__(self, folder: Path, *, clock: Clock, ids: Ids, disk: Disk | None = None) -> None:
        self.disk = disk or MachineDisk()
        self._folder = folder
        self._clock = clock
        self._writer = ids.new("w").removeprefix("w_")
        self._lock = threading.Lock()
        self._writers: dict[tuple[str, str, str], SegmentWriter] = {}
        self._refusal: tuple[datetime, str] | None = None

    def predicted(self, project: str, endpoint: str, predictions: Sequence[Prediction]) -> None:
        """Write answers before they are given; raises `NotStored` when the disk refuses."""
        self._keep(self._segments(project, endpoint, PREDICTIONS).append, predictions)

    def told(self, project: str, endpoint: str, feedback: Sequence[Feedback]) -> None:
        """Write and sync feedback before it is acknowledged; raises `NotStored` when the disk refuses."""
        self._keep(self._segments(project, endpoint, FEEDBACK).append_synced, feedback)

    @property
    def trouble(self) -> str | None:
        """Return why the last records could not be written; None when they could."""
        return None if self._refusal is None else self._refusal[1]

    def try_again(self) -> None:
        """See whether the disk works again, a while after it refused records; nobody may be sending any meanwhile."""
        refusal = self._refusal
        if refusal is None or self._clock.now() - refusal[0] < _PROBED_AFTER:
            return
        try:
            probe(self._folder, self.disk)
        except OSError as problem:
            self._refusal = (self._clock.now(), f"the log could not be written: {problem}")
        else:
            self._refusal = None

    @property
    def folder(self) -> Path:
        """Return the folder in which every endpoint's log is."""
        return self._folder

    def close(self) -> None:
        """Sync and end all segments; calling it twice is fine."""
        with self._lock:
            for writer in self._writers.values():
                writer.close()

    def folder_of(self, project: str, endpoint: str) -> Path:
        """Return where an endpoint's segments are."""
        return self._folder / quote(project, safe="").replace(".", "%2E") / endpoint

    def _keep(self, write: Callable[[bytes], None], records: Sequence[Prediction] | Sequence[Feedback]) -> None:
        try:
            write(_encode_lines(records))
        except NotStored as problem:
            self._refusal = (self._clock.now(), problem.sentence)
            raise
        if self._refusal is not None:
            self._refusal = None

    def _segments(self, project: str, endpoint: str, kind: str) -> SegmentWriter:
        known = self._writers.get((project, endpoint, kind))
        if known is not None:
            return known
        with self._lock:
            folder = self.folder_of(project, endpoint)
            made = SegmentWriter(folder, f"{kind}-{self._writer}", clock=self._clock, disk=self.disk)
            return self._writers.setdefault((project, endpoint, kind), made)


def probe(folder: Path, disk: Disk) -> None:
    """Write a file of some size into a folder and take it away; raises `OSError` when that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".probe-{os.getpid()}"
    try:
        disk.put(path, bytes(_PROBE_BYTES))
    finally:
        disk.remove([path, path.with_name(path.name + TEMPORARY)])


def ends(folder: Path, kind: str) -> Positions:
    """Return where the whole lines of each segment end now: a reading that stops there can be done again exactly."""
    while True:
        try:
            return {path.name: whole_end(path) for path in files_of(folder, kind) if path.suffix == SUFFIX}
        except FileNotFoundError:  # compacted just now
            continue


def records(
    folder: Path, kind: type[Record], *, after: Mapping[str, int], until: Mapping[str, int]
) -> Iterator[tuple[str, int, Record]]:
    """Return the records between two positions of each segment, each with its segment and the position after it.

    A line that is no record (a disk that lost power may hold one) is passed over.
    """
    decode = msgspec.json.Decoder(kind).decode
    for name, end in until.items():
        if after.get(name, 0) >= end:
            continue
        for position, line in lines_after(folder / name, after.get(name, 0)):
            if position > end:
                break
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            yield name, position, record


def erasures_in(folder: Path) -> int:
    """Return how often something was erased from an endpoint's log."""
    marks = folder / _MARKS
    return marks.stat().st_size if marks.exists() else 0


def mark_erasure(folder: Path) -> None:
    """Let whoever keeps records of the log in memory know that some of them were erased."""
    with (folder / _MARKS).open("ab") as file:
        file.write(b".")
