"""The log of an endpoint: every answer that was given, and what turned out to be so, one line of JSON each."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from noria.core.clock import Clock
from noria.core.ids import Ids
from noria.serving.compacted import FEEDBACK, PREDICTIONS, files_of
from noria.serving.disk import Disk, MachineDisk
from noria.serving.model import Feedback, Prediction
from noria.serving.segments import SUFFIX, SegmentWriter, lines_after, whole_end

KINDS: Mapping[str, type[Prediction] | type[Feedback]] = {PREDICTIONS: Prediction, FEEDBACK: Feedback}
_MARKS = ".erasures"
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

    def predicted(self, project: str, endpoint: str, predictions: Sequence[Prediction]) -> None:
        """Write answers before they are given; raises `Unavailable` when the disk refuses."""
        self._segments(project, endpoint, PREDICTIONS).append(_encode_lines(predictions))

    def told(self, project: str, endpoint: str, feedback: Sequence[Feedback]) -> None:
        """Write and sync feedback before it is acknowledged; raises `Unavailable` when the disk refuses."""
        self._segments(project, endpoint, FEEDBACK).append_synced(_encode_lines(feedback))

    def close(self) -> None:
        """Sync and end all segments; calling it twice is fine."""
        with self._lock:
            for writer in self._writers.values():
                writer.close()

    def folder_of(self, project: str, endpoint: str) -> Path:
        """Return where an endpoint's segments are."""
        return self._folder / quote(project, safe="").replace(".", "%2E") / endpoint

    def _segments(self, project: str, endpoint: str, kind: str) -> SegmentWriter:
        known = self._writers.get((project, endpoint, kind))
        if known is not None:
            return known
        with self._lock:
            folder = self.folder_of(project, endpoint)
            made = SegmentWriter(folder, f"{kind}-{self._writer}", clock=self._clock, disk=self.disk)
            return self._writers.setdefault((project, endpoint, kind), made)


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
