"""Reads fragments, and keeps what was decoded lately in memory, up to a number of bytes."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import polars as pl

from noria.core.context import Context
from noria.core.digests import canonical_json
from noria.datasets import frames, profiles, queries
from noria.datasets.keys import KeyIndex
from noria.datasets.model import PREDICTION, Dataset, Fragment
from noria.datasets.profiles import Profile
from noria.store.blobs import Blobs
from noria.store.database import Connection, Database

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values used last, up to so many bytes; safe to share between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """Return the kept value, or make it and keep it."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
                return self._values[name][0]
        value = make()
        with self._lock:
            if name not in self._values:
                self._values[name] = (value, size(value))
                self._bytes += self._values[name][1]
            while self._bytes > self._most and len(self._values) > 1:
                self._bytes -= self._values.popitem(last=False)[1][1]
        return value

    def clear(self) -> None:
        """Let go of all values."""
        with self._lock:
            self._values.clear()
            self._bytes = 0


class FragmentList:
    """The fragments of datasets in the order of their commits; those seen once are asked for again after an erasure."""

    def __init__(self, database: Database, *, forget: Callable[[], None]) -> None:
        self._database = database
        self._forget = forget
        self._seen: dict[tuple[str, str], tuple[int, list[Fragment]]] = {}

    def of(self, context: Context, dataset: str) -> list[Fragment]:
        """Return all fragments of a dataset."""
        place = (context.project, dataset)
        known, seen = self._seen.get(place, (0, []))
        last = seen[-1].added_in if seen else 0

        def query(connection: Connection) -> tuple[int, list[Fragment]]:
            erasures = queries.erasures_of(connection, context.project, dataset)
            after = last if erasures == known else 0
            return erasures, queries.fragments_after(connection, context.project, dataset, after)

        erasures, newer = self._database.read(query)
        if erasures != known:
            self._forget()
            seen = []
        if newer or erasures != known:
            seen = seen + newer
            self._seen[place] = (erasures, seen)
        return seen


class FragmentReader:
    """Decodes fragments from blobs."""

    def __init__(self, blobs: Blobs, *, cache_bytes: int) -> None:
        self._blobs = blobs
        self._frames: Kept[pl.DataFrame] = Kept(cache_bytes // 2)
        self._reads: Kept[pl.DataFrame] = Kept(cache_bytes // 2)
        self._indexes: dict[Dataset, KeyIndex] = {}

    def frame(self, part: Fragment) -> pl.DataFrame:
        """Return a fragment's rows or labels."""
        return self._frames.get(part.blob, lambda: frames.from_parquet(self._blobs.get(part.blob)), _size)

    def read(self, digest: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return a whole read by its digest, made if it is not kept; what is done to it stays with the caller."""
        return self._reads.get(digest, make, _size).clone()

    def holding(self, parts: Sequence[Fragment], keys: pl.Series, *, dataset: Dataset) -> list[Fragment]:
        """Return those of a dataset's fragments that may hold some of the keys; see `KeyIndex`."""
        index = self._indexes.setdefault(dataset, KeyIndex(lambda part: self.frame(part)[dataset.key]))
        return index.holding(parts, keys)

    def forget(self) -> None:
        """Let go of all that was read, because some of it was erased."""
        self._frames.clear()
        self._reads.clear()
        self._indexes.clear()

    def profile(self, part: Fragment) -> Profile:
        """Return a fragment's profile."""
        if part.profile is None:
            return _profiled(self.frame(part))
        return Profile.from_plain(json.loads(self._blobs.get(part.profile)))

    def put(self, frame: pl.DataFrame) -> tuple[str, str]:
        """Store a frame; return its blob and the digest of its content."""
        with frames.in_words("the rows"):
            payload, digest = frames.to_parquet(frame), frames.frame_digest(frame)
        return self._blobs.put(payload), digest

    def put_profile(self, frame: pl.DataFrame) -> str:
        """Profile a frame and store the profile; return its blob."""
        with frames.in_words("the rows"):
            told = _profiled(frame).plain()
        return self._blobs.put(canonical_json(told))


def _profiled(frame: pl.DataFrame) -> Profile:
    """Return the profile of the columns that a read shows."""
    return profiles.of_frame(frame.drop(PREDICTION, strict=False))


def _size(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size())
