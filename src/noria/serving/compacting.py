"""Turns ended segments into Parquet files, a few for each day, and lets files go that are older than is kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path

from noria.core.clock import Clock
from noria.core.ids import Ids
from noria.serving import compacted
from noria.serving.disk import TEMPORARY, Disk, is_in_use, locked
from noria.serving.log import KINDS, records
from noria.serving.segments import SUFFIX as SEGMENT
from noria.serving.segments import whole_end

_MOST_BYTES = 128 * 2**20
_ENOUGH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """How many segments became how many compacted files, and how many files were let go."""

    segments: int = 0
    files: int = 0
    expired: int = 0

    def __add__(self, other: "Tidied") -> "Tidied":
        return Tidied(
            segments=self.segments + other.segments,
            files=self.files + other.files,
            expired=self.expired + other.expired,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Segments of one kind and one day that become one file."""

    kind: str
    day: date
    segments: tuple[Path, ...]


class Compactor:
    """Compacts the log of an endpoint; whoever lands or erases meanwhile, in whatever process, goes first."""

    def __init__(self, disk: Disk, *, clock: Clock, ids: Ids) -> None:
        self._disk = disk
        self._clock = clock
        self._ids = ids

    def compact(self, folder: Path, landed: Mapping[str, int], *, dry_run: bool = False) -> Tidied:
        """Compact the segments that have ended and landed, once their day is over or there is enough of them.

        `landed` says how far each segment has. With `dry_run`, only say what would be done.
        """
        with locked(folder, wait=False) as ours:
            if not ours:
                return Tidied()
            if not dry_run:
                finish(self._disk, folder)
            batches = [batch for kind in KINDS for batch in self._due(folder, kind, landed)]
            for batch in () if dry_run else batches:
                self._compact(folder, batch)
        return Tidied(segments=sum(len(batch.segments) for batch in batches), files=len(batches))

    def expire(self, folder: Path, before: datetime, *, dry_run: bool = False) -> Tidied:
        """Let compacted files go whose last record is from before a moment."""
        with locked(folder, wait=False) as ours:
            if not ours:
                return Tidied()
            if not dry_run:
                finish(self._disk, folder)  # what a file stands for is gone before it is
            there = [path for kind in KINDS for path in compacted.files_of(folder, kind)]
            old = [path for path in there if path.suffix == compacted.SUFFIX and compacted.told(path).last < before]
            if not dry_run:
                self._disk.remove(old)
        return Tidied(expired=len(old))

    def _due(self, folder: Path, kind: str, landed: Mapping[str, int]) -> Iterator[_Batch]:
        ended = [
            (_day_of(path, kind), path)
            for path in compacted.files_of(folder, kind)
            if path.suffix == SEGMENT and _is_done_with(path, landed)
        ]
        today = self._clock.now().astimezone(UTC).date()
        for day, group in groupby(sorted(ended), key=lambda each: each[0]):
            for paths, size in _shared_out([path for _, path in group]):
                if day < today or size >= _ENOUGH_BYTES:
                    yield _Batch(kind=kind, day=day, segments=paths)

    def _compact(self, folder: Path, batch: _Batch) -> None:
        ends = {path.name: whole_end(path) for path in batch.segments}
        found = (record for _, _, record in records(folder, KINDS[batch.kind], after={}, until=ends))
        frame = compacted.frame_of(batch.kind, found)
        name = f"{batch.kind}-{batch.day}-{self._ids.new('f').removeprefix('f_')}{compacted.SUFFIX}"
        compacted.put(self._disk, folder / name, frame, instead_of=batch.segments)


def finish(disk: Disk, folder: Path) -> None:
    """Remove what a crash left: files that others stand for, and files that were not written to their end."""
    replaced = compacted.replaced_in(sorted(folder.glob(f"*{compacted.SUFFIX}")))
    disk.remove([path for path in folder.iterdir() if path.name in replaced or path.suffix == TEMPORARY])


def _is_done_with(path: Path, landed: Mapping[str, int]) -> bool:
    """Say whether nobody writes to a segment any more, and all that is in it has landed."""
    return not is_in_use(path) and 0 < whole_end(path) <= landed.get(path.name, 0)


def _day_of(path: Path, kind: str) -> date:
    """Return the day of a segment's first record, long ago if there is none that can be read."""
    for _, _, record in records(path.parent, KINDS[kind], after={}, until={path.name: whole_end(path)}):
        return record.at.astimezone(UTC).date()
    return date.min


def _shared_out(paths: list[Path]) -> Iterator[tuple[tuple[Path, ...], int]]:
    """Yield segments in batches that fit into memory, each with its size."""
    batch: list[Path] = []
    size = 0
    for path in paths:
        batch.append(path)
        size += path.stat().st_size
        if size >= _MOST_BYTES:
            yield tuple(batch), size
            batch, size = [], 0
    if batch:
        yield tuple(batch), size
