"""Erases keys from an endpoint's log, or the whole log: lines of segments are overwritten in place, compacted files are written anew.

A segment may still be written to, by another process that knows nothing of it. What is appended stays where it is, so
positions stay true, and a line of spaces is no record.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import polars as pl

from noria.core.ids import Ids
from noria.serving import compacted
from noria.serving.compacted import FEEDBACK, PREDICTIONS
from noria.serving.compacting import finish
from noria.serving.disk import Disk, is_in_use
from noria.serving.log import KINDS, mark_erasure, records
from noria.serving.segments import lines_after, whole_end


@dataclass(frozen=True, slots=True, kw_only=True)
class LogErased:
    """How many records are of the keys, and the ids of those that are predictions."""

    predictions: int = 0
    feedback: int = 0
    ids: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class _Found:
    """What a file has of the keys: the stretches of a segment, or what is left of a compacted file."""

    path: Path
    count: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    left: pl.DataFrame | None = None
    ids: set[str] = field(default_factory=set[str])


class LogEraser:
    """Erases from logs that its caller has locked."""

    def __init__(self, disk: Disk, *, ids: Ids) -> None:
        self._disk = disk
        self._ids = ids

    def erase(self, folder: Path, keys: Collection[str], *, dry_run: bool = False) -> LogErased:
        """Erase predictions that a row's or a route's key of these names, and what was told about them.

        Feedback goes first: a crash leaves the predictions by which it is found.
        """
        if not dry_run:
            finish(self._disk, folder)
        predictions = list(_found(folder, PREDICTIONS, keys, frozenset()))
        ids = frozenset[str]().union(*(found.ids for found in predictions))
        feedback = list(_found(folder, FEEDBACK, keys, ids))
        if not dry_run:
            for found in (*feedback, *predictions):
                self._rewrite(found)
            mark_erasure(folder)
        return LogErased(
            predictions=sum(found.count for found in predictions),
            feedback=sum(found.count for found in feedback),
            ids=ids,
        )

    def _rewrite(self, found: _Found) -> None:
        if found.spans:
            self._disk.blank(found.path, found.spans)
        if found.count and found.left is not None:
            kind_and_day = found.path.stem.rpartition("-")[0]
            name = f"{kind_and_day}-{self._ids.new('f').removeprefix('f_')}{compacted.SUFFIX}"
            compacted.put(self._disk, found.path.with_name(name), found.left, instead_of=[found.path])


def count(folder: Path) -> LogErased:
    """Return how many predictions and how much feedback a log has; none, where there is none."""
    if not folder.exists():
        return LogErased()
    predictions, feedback = (_count(folder, kind) for kind in (PREDICTIONS, FEEDBACK))
    return LogErased(predictions=predictions, feedback=feedback)


def remove(folder: Path, disk: Disk) -> None:
    """Remove a log that its caller has locked; what a gateway writes meanwhile stays."""
    disk.remove(list(folder.iterdir()))
    with contextlib.suppress(OSError):  # it is not empty
        folder.rmdir()


def _count(folder: Path, kind: str) -> int:
    found = 0
    for path in compacted.files_of(folder, kind):
        if path.suffix == compacted.SUFFIX:
            found += int(pl.scan_parquet(path).select(pl.len()).collect().item())
        else:
            found += sum(1 for _ in records(folder, KINDS[kind], after={}, until={path.name: whole_end(path)}))
    return found


def _found(folder: Path, kind: str, keys: Collection[str], ids: Collection[str]) -> Iterator[_Found]:
    """Yield what each file of a kind has that is of the keys, or about predictions of these ids."""
    for path in compacted.files_of(folder, kind):
        if path.suffix == compacted.SUFFIX:
            yield _in_compacted(path, kind, keys, ids)
        else:
            yield _in_segment(path, kind, keys, ids)


def _in_compacted(path: Path, kind: str, keys: Collection[str], ids: Collection[str]) -> _Found:
    frame = pl.read_parquet(path)
    names = ("row_key", "key") if kind == PREDICTIONS else ("key",)
    tests = [pl.col(name).is_in(list(keys)) for name in names]
    is_theirs = pl.any_horizontal(*tests, pl.col("prediction").is_in(list(ids))).fill_null(value=False)
    theirs = frame.filter(is_theirs)
    found = set(theirs["prediction"].drop_nulls())
    return _Found(path=path, count=theirs.height, left=frame.filter(~is_theirs), ids=found)


def _in_segment(path: Path, kind: str, keys: Collection[str], ids: Collection[str]) -> _Found:
    """Return the lines that are theirs; one that cannot be read is, if a key stands in it."""
    decode = msgspec.json.Decoder(KINDS[kind]).decode
    spelled = [msgspec.json.encode(key)[1:-1] for key in keys]
    found = _Found(path=path)
    for end, line in lines_after(path, 0):
        span = (end - len(line) - 1, end - 1)
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if any(key in line for key in spelled):
                found.spans.append(span)
            continue
        if record.key in keys or record.prediction in ids or getattr(record, "row_key", None) in keys:
            found.spans.append(span)
            found.count += 1
            found.ids.add(record.prediction or "")
    found.spans += _torn(path, spelled)
    return found


def _torn(path: Path, spelled: Collection[bytes]) -> list[tuple[int, int]]:
    """Return the torn end of a segment that nobody writes to any more, if a key stands in it."""
    if is_in_use(path):
        return []
    begin = whole_end(path)
    with path.open("rb") as file:
        file.seek(begin)
        rest = file.read()
    return [(begin, begin + len(rest))] if any(key in rest for key in spelled) else []
