"""Bytes by their SHA-256: in a folder, or in S3, Google or Azure storage."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from noria.core import digests
from noria.core.clock import RealClock
from noria.core.errors import Corrupt, NotFound

if TYPE_CHECKING:
    from obstore.store import ObjectStore


_FRESH_FOR = timedelta(hours=1)
"""A blob that is put again is as good as new when it is older than this: garbage collection spares what is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A blob as its storage lists it."""

    digest: str
    size: int
    at: datetime


class Blobs:
    """Content-addressed bytes; putting the same bytes twice stores them once."""

    def __init__(self, store: "ObjectStore", *, folder: Path | None = None) -> None:
        self._clock = RealClock()  # what storage says of times is real, whatever a replay's clock says
        self._store = store
        self._folder = folder

    def put(self, payload: bytes) -> str:
        """Store the bytes so that they survive loss of power, and return their SHA-256, as 64 hexadecimal digits."""
        import obstore  # noqa: PLC0415 - 30 ms that a command without blobs does not pay

        digest = digests.of_bytes(payload)
        if not self._is_fresh(digest):
            obstore.put(self._store, _place(digest), payload)
            if self._folder is not None:
                _sync(self._folder / _place(digest))
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes; raises `NotFound` if there are none, `Corrupt` if they are not what was stored."""
        import obstore  # noqa: PLC0415 - see put

        try:
            payload = bytes(obstore.get(self._store, _place(digest)).bytes())
        except FileNotFoundError as problem:
            raise NotFound(
                "blob", digest, hint="its storage was changed by other hands; restore it from a backup"
            ) from problem
        if digests.of_bytes(payload) != digest:
            raise Corrupt(f"blob {digest} is damaged", hint="restore it from a backup")
        return payload

    def drop(self, digest: str) -> None:
        """Delete the bytes; dropping what is not there is fine."""
        import obstore  # noqa: PLC0415 - see put

        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, _place(digest))

    def has(self, digest: str) -> bool:
        """Say whether the bytes are stored."""
        import obstore  # noqa: PLC0415 - see put

        try:
            obstore.head(self._store, _place(digest))
        except FileNotFoundError:
            return False
        return True

    def all(self) -> Iterator[Stored]:
        """Yield what is stored."""
        import obstore  # noqa: PLC0415 - see put

        for page in cast("Any", obstore).list(self._store):
            for entry in page:
                digest = entry["path"].rpartition("/")[2]
                if len(digest) == _DIGITS:
                    yield Stored(digest=digest, size=entry["size"], at=entry["last_modified"])

    def _is_fresh(self, digest: str) -> bool:
        """Say whether the bytes are stored, and not so long ago that they might be taken for garbage."""
        import obstore  # noqa: PLC0415 - see put

        try:
            found = obstore.head(self._store, _place(digest))
        except FileNotFoundError:
            return False
        newest = self._clock.now()
        return newest - found["last_modified"] < _FRESH_FOR


def open_blobs(address: str) -> Blobs:
    """Open a folder (made if missing), or `s3://bucket/prefix`, `gs://...`, `az://...`."""
    from obstore.store import LocalStore, from_url  # noqa: PLC0415 - see Blobs.put

    if "://" in address:
        return Blobs(cast("Any", from_url)(address))
    folder = Path(address).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return Blobs(LocalStore(prefix=str(folder)), folder=folder)


def _sync(path: Path) -> None:
    for place in (path, path.parent):  # the bytes, then the name
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_DIGITS = 64


def _place(digest: str) -> str:
    return f"{digest[:2]}/{digest}"
