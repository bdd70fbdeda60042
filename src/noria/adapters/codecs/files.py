"""Files and folders as values: a step returns a path, and a later one gets a path to the same content.

Neither way do they pass through memory: an archive of them is a stream of pieces.
"""

import contextlib
import shutil
import stat
import tarfile
import tempfile
import weakref
from collections.abc import Generator, Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path

from noria.core.errors import Invalid
from noria.core.payloads import CHUNK_BYTES, Payload, Reading

_READ, _EXECUTE = 0o444, 0o111
_MOST_BYTES = 1 << 37
"""A folder named by mistake is not to fill the disk."""


class Files:
    """Paths. What they lead to is kept, under its own name; wherever it lay is not part of the value.

    Whoever takes such a value gets a path into a scratch folder of this process, and may only read there.
    """

    name = "file"

    def __init__(self) -> None:
        self._scratch: Path | None = None

    def carries(self, kind: type[object]) -> bool:
        """Say whether it is a type of paths."""
        return issubclass(kind, Path)

    def accepts(self, value: object) -> bool:
        """Say whether it is a path."""
        return isinstance(value, Path)

    def encode(self, value: object) -> Payload:
        """Return an archive of the file or folder, the same bytes for the same content."""
        assert isinstance(value, Path)
        if not value.exists():
            raise Invalid(
                f"there is nothing at {value}",
                hint="write the file first, and to a place that outlives the step; if only the name is meant: str(path)",
            )
        return _Archive(value.resolve())

    def decode(self, payload: Payload) -> object:
        """Unpack the archive, once in this process, and return the path."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="noria-files-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        place = self._scratch / payload.digest
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as half:
                with tarfile.open(fileobj=BufferedReader(Reading(payload)), mode="r|") as archive:
                    archive.extractall(half, filter="data")
                with contextlib.suppress(OSError):  # another thread was here first
                    Path(half).rename(place)
        return next(place.iterdir())

    def digest(self, value: object, payload: Payload) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the archive, which is the only one that the content has."""
        return payload.digest


class _Archive(Payload):
    """The archive of a file or folder, made of what lies there each time it is read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with _readable(root):
            self._entries = [(path, _entry(root, path)) for path in [root, *sorted(root.rglob("*"))]]
            self._told = _told_of(self._entries)
        content = sum(len(_head(entry)) + entry.size + _padding(entry) for _, entry in self._entries)
        self.size = content + 2 * tarfile.BLOCKSIZE
        self.size += -self.size % tarfile.RECORDSIZE
        if self.size > _MOST_BYTES:
            raise Invalid(
                f"{root} holds more than {_MOST_BYTES:,} bytes",
                hint="keep it in storage of your own, and hand on its address as a text",
            )

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive. Raises `Invalid` when a file cannot be read, or another hand writes to it."""
        left = self.size
        with _readable(self._root):
            for piece in chain.from_iterable(_pieces(path, entry) for path, entry in self._entries):
                left -= len(piece)
                yield piece
            if _told_of(self._entries) != self._told:
                raise _changed(self._root)
        yield bytes(left)

    def view(self) -> memoryview:
        """Return the archive in memory."""
        return memoryview(b"".join(self.chunks()))


@contextlib.contextmanager
def _readable(root: Path) -> Generator[None]:
    try:
        yield
    except OSError as problem:
        raise Invalid(f"{root} cannot be read: {problem}", hint="may this user read all of it?") from problem


def _changed(path: Path) -> Invalid:
    return Invalid(f"{path} changed while it was read", hint="close a file before the step returns its path")


def _told_of(entries: list[tuple[Path, tarfile.TarInfo]]) -> list[tuple[int, ...]]:
    """Return by what it is seen that somebody has written to a file, or has put another one in its place or beside it."""
    told = [path.lstat() for path, _ in entries]
    return [(each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in told]


def _entry(root: Path, path: Path) -> tarfile.TarInfo:
    """Describe a file or folder without what says who wrote it, and when."""
    told = path.lstat()
    entry = tarfile.TarInfo(str(Path(root.name) / path.relative_to(root)))
    if stat.S_ISDIR(told.st_mode):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISREG(told.st_mode):
        entry.size, entry.mode = told.st_size, _READ | (_EXECUTE if told.st_mode & stat.S_IXUSR else 0)
    else:
        raise Invalid(f"{path} is neither a file nor a folder", hint="replace links by what they lead to")
    return entry


def _pieces(path: Path, entry: tarfile.TarInfo) -> Iterator[bytes]:
    yield _head(entry)
    if not entry.isreg():
        return
    left = entry.size
    with path.open("rb") as content:
        while piece := content.read(min(CHUNK_BYTES, left)):
            left -= len(piece)
            yield piece
        if left or content.read(1):
            raise _changed(path)
    yield bytes(_padding(entry))


def _head(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


def _padding(entry: tarfile.TarInfo) -> int:
    return -entry.size % tarfile.BLOCKSIZE
