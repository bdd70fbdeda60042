"""Bytes by their SHA-256: in a folder, or in S3, Google or Azure storage."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from noria.core import digests
from noria.core.clock import RealClock
from noria.core.digests import Buffer
from noria.core.errors import Corrupt, NotFound, Unavailable
from noria.core.payloads import CHUNK_BYTES, LARGE_BYTES, Payload
from noria.store.mapping import Handle, Identity, InFile, identity_of
from noria.store.syncing import sync

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ObjectStore

_AT_A_TIME = 2
_UNFINISHED = ".unfinished-"
_MOST_CHECKED = 10_000

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""What a disk says that takes no more, and may later."""
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
        self.folder = folder
        """Where they lie, if that is a folder that all processes of this machine see."""
        self._checked: dict[str, Identity] = {}

    def put(self, payload: Payload | Buffer) -> str:
        """Store the bytes so that they survive loss of power, and return their SHA-256, as 64 hexadecimal digits.

        Large ones pass through in pieces. Raises `Invalid` when they change meanwhile, as a file may, and `Unavailable`,
        as all that follows, when the storage does not answer or takes no more.
        """
        payload = payload if isinstance(payload, Payload) else Payload(payload)
        with _asking():
            if self.folder is not None and payload.size >= LARGE_BYTES and not payload.is_digested:
                self._write_once(self.folder, payload)
            elif not self._is_fresh(payload):
                self._write(payload)
        return payload.digest

    def get(self, digest: str) -> bytes:
        """Return the bytes; raises `NotFound` if there are none, `Corrupt` if they are not what was stored."""
        with _asking():
            return _sound(digest, bytes(self._found(digest).bytes()))

    def payload(self, digest: str) -> Payload:
        """Return the bytes, large ones as a file that is read where it lies; raises as `get` does.

        A file in the folder is checked once in a process, and again when it is no longer the one that was checked.
        """
        if self.folder is None:
            with _asking():
                return self._fetched(digest)
        try:
            handle = Handle(os.open(self.folder / _place(digest), os.O_RDONLY))
        except FileNotFoundError as problem:
            raise _missing(digest) from problem
        payload = InFile(handle, handle.identity.size)
        if payload.size < LARGE_BYTES:
            return Payload(_sound(digest, bytes(payload)))
        if self._checked.get(digest) != handle.identity:
            if payload.digest != digest:
                raise _damaged(digest)
            self._remember(digest, handle.identity)
        return InFile(handle, payload.size, digest=digest)

    def folder_of_large(self, digest: str) -> Path | None:
        """Return the folder of large bytes, which another process of this machine can map; None for any others."""
        place = None if self.folder is None else self.folder / _place(digest)
        return self.folder if place and place.exists() and place.stat().st_size >= LARGE_BYTES else None

    def drop(self, digest: str) -> None:
        """Delete the bytes; dropping what is not there is fine."""
        import obstore  # noqa: PLC0415 - see _write

        with _asking(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, _place(digest))

    def has(self, digest: str) -> bool:
        """Say whether the bytes are stored."""
        import obstore  # noqa: PLC0415 - see _write

        try:
            with _asking():
                obstore.head(self._store, _place(digest))
        except FileNotFoundError:
            return False
        return True

    def all(self) -> Iterator[Stored]:
        """Yield what is stored."""
        import obstore  # noqa: PLC0415 - see _write

        with _asking():
            entries = [entry for page in cast("Any", obstore).list(self._store) for entry in page]
        for entry in entries:
            digest = entry["path"].rpartition("/")[2]
            if len(digest) == _DIGITS:
                yield Stored(digest=digest, size=entry["size"], at=entry["last_modified"])

    def unfinished(self, before: datetime) -> list[Path]:
        """Return the files that somebody began to write before a moment and never named; object storage keeps none."""
        files = () if self.folder is None else self.folder.glob(f"{_UNFINISHED}*")
        return [file for file in files if (at := _written_at(file)) is not None and at < before]

    def _write(self, payload: Payload) -> None:
        """Write the bytes under another name, and rename that: what is there is never changed in place."""
        if self.folder is not None:
            with _nameless(self.folder, payload) as name:
                _named(name, self.folder / _place(payload.digest))
            return
        import obstore  # noqa: PLC0415 - 30 ms that a command without blobs does not pay

        pieces = payload.passing()
        content = b"".join(pieces) if payload.size < LARGE_BYTES else pieces
        obstore.put(self._store, _place(payload.digest), content, max_concurrency=_AT_A_TIME)

    def _write_once(self, folder: Path, payload: Payload) -> None:
        """Write the bytes while their digest is taken, which is to be their name; it is read once, and so is what it leads to."""
        with _nameless(folder, payload) as name:
            if self._is_fresh(payload):
                name.unlink()
                return
            place = folder / _place(payload.digest)
            _named(name, place)
            self._remember(payload.digest, identity_of(place.stat()))  # what was just written need not be read again

    def _remember(self, digest: str, file: Identity) -> None:
        """Remember which file was found to be what it is said to be."""
        self._checked[digest] = file
        if len(self._checked) > _MOST_CHECKED:
            self._checked.clear()

    def _found(self, digest: str) -> "GetResult":
        import obstore  # noqa: PLC0415 - see _write

        try:
            return obstore.get(self._store, _place(digest))
        except FileNotFoundError as problem:
            raise _missing(digest) from problem

    def _fetched(self, digest: str) -> Payload:
        """Return what another machine stores; large bytes come in pieces, into a file without a name."""
        found = self._found(digest)
        if found.meta["size"] < LARGE_BYTES:
            return Payload(_sound(digest, bytes(found.bytes())))
        with tempfile.TemporaryFile() as file:
            if digests.of_chunks(_kept(found, file)) != digest:
                raise _damaged(digest)
            file.flush()
            return InFile(Handle(os.dup(file.fileno())), found.meta["size"], digest=digest)

    def _is_fresh(self, payload: Payload) -> bool:
        """Say whether the bytes are stored, all of them, and not so long ago that they might be taken for garbage."""
        import obstore  # noqa: PLC0415 - see _write

        try:
            found = obstore.head(self._store, _place(payload.digest))
        except FileNotFoundError:
            return False
        newest = self._clock.now()
        return found["size"] == payload.size and newest - found["last_modified"] < _FRESH_FOR


def open_blobs(address: str) -> Blobs:
    """Open a folder (made if missing), or `s3://bucket/prefix`, `gs://...`, `az://...`."""
    from obstore.store import LocalStore, from_url  # noqa: PLC0415 - see Blobs._write

    if "://" in address:
        return Blobs(cast("Any", from_url)(address))
    folder = Path(address).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return Blobs(LocalStore(prefix=str(folder)), folder=folder)


@contextlib.contextmanager
def _asking() -> Generator[None]:
    """Say in words what storage says that cannot be asked now, and raise it as what may be tried again."""
    try:
        yield
    except Exception as problem:
        is_full = isinstance(problem, OSError) and problem.errno in _FULL
        if not is_full and not type(problem).__module__.startswith("obstore"):
            raise
        said = str(problem).partition("\n")[0]
        hint = "is there room, is the network up, and do the credentials in the environment open it?"
        raise Unavailable(f"the storage of blobs cannot be used: {said}", hint=hint) from problem


def _kept(found: "GetResult", file: IO[bytes]) -> Iterator[Buffer]:
    for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
        file.write(chunk)
        yield memoryview(chunk)


def _sound(digest: str, content: bytes) -> bytes:
    if digests.of_bytes(content) != digest:
        raise _damaged(digest)
    return content


def _damaged(digest: str) -> Corrupt:
    return Corrupt(f"blob {digest} is damaged", hint="restore it from a backup")


def _missing(digest: str) -> NotFound:
    return NotFound("blob", digest, hint="its storage was changed by other hands; restore it from a backup")


@contextlib.contextmanager
def _nameless(folder: Path, payload: Payload) -> Generator[Path]:
    """Write the bytes to a file that is for reading only, and may be mapped, and has no name yet that means anything."""
    number, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - it is open already
            file.writelines(payload.passing())
            os.fchmod(number, 0o444)
        yield Path(name)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _written_at(file: Path) -> datetime | None:
    """Return when a file was written to last; None for what is none, or has got its name meanwhile."""
    try:
        told = file.lstat()
    except FileNotFoundError:
        return None
    return datetime.fromtimestamp(told.st_mtime, UTC) if stat.S_ISREG(told.st_mode) else None


def _named(file: Path, place: Path) -> None:
    """Give a file its name, when all of it is on the disk."""
    if not place.parent.exists():
        _make_folder(place.parent)
        sync(place.parent.parent)
    sync(file)
    file.replace(place)
    sync(place.parent)


def _make_folder(place: Path) -> None:
    """Make a folder that is as open as the one around it, so that all may write here whom that one lets in."""
    try:
        place.mkdir()
    except FileExistsError:  # another process made it meanwhile
        return
    place.chmod(stat.S_IMODE(place.parent.stat().st_mode))


_DIGITS = 64


def _place(digest: str) -> str:
    return f"{digest[:2]}/{digest}"
