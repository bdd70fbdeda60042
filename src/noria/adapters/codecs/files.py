"""Files and folders as values: a step returns a path, and a later one gets a path to the same content."""

import io
import shutil
import tarfile
import tempfile
import weakref
from pathlib import Path

from noria.core import digests
from noria.core.errors import Invalid

_READ, _EXECUTE = 0o444, 0o111
_MOST_BYTES = 2**30
"""What passes through memory whole; a folder named by mistake is not to fill it."""


class Files:
    """Paths. What they lead to is kept, under its own name; wherever it lay is not part of the value.

    Whoever takes such a value gets a path into a scratch folder of this process, and may only read there.
    """

    name = "file"

    def __init__(self) -> None:
        self._scratch: Path | None = None

    def accepts(self, value: object) -> bool:
        """Say whether it is a path."""
        return isinstance(value, Path)

    def encode(self, value: object) -> bytes:
        """Return an archive of the file or folder, the same bytes for the same content."""
        assert isinstance(value, Path)
        if not value.exists():
            raise Invalid(
                f"there is nothing at {value}",
                hint="write the file first, and to a place that outlives the step; if only the name is meant: str(path)",
            )
        root = value.resolve()
        try:
            return _archived(root)
        except OSError as problem:
            raise Invalid(f"{value} cannot be read: {problem}", hint="may this user read all of it?") from problem

    def decode(self, payload: bytes) -> object:
        """Unpack the archive, once in this process, and return the path."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="noria-files-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        place = self._scratch / digests.of_bytes(payload)
        with tarfile.open(fileobj=io.BytesIO(payload)) as archive:
            if not place.exists():
                half = tempfile.mkdtemp(dir=self._scratch)
                archive.extractall(half, filter="data")
                Path(half).rename(place)
            return place / archive.getnames()[0]

    def digest(self, value: object, payload: bytes) -> str:  # noqa: ARG002 - the port's signature
        """Return the digest of the archive, which is the only one that the content has."""
        return digests.of_bytes(payload)


def _archived(root: Path) -> bytes:
    buffer, size = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in [root, *sorted(root.rglob("*"))]:
            size += path.lstat().st_size
            if size > _MOST_BYTES:
                raise Invalid(
                    f"{root} holds more than {_MOST_BYTES:,} bytes",
                    hint="keep it in storage of your own, and hand on its address as a text",
                )
            _add(archive, path, str(Path(root.name) / path.relative_to(root)))
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file or folder without what says who wrote it, and when."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise Invalid(f"{path} is neither a file nor a folder", hint="replace links by what they lead to")
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
        return
    entry.size = path.stat().st_size
    entry.mode = _READ | (_EXECUTE if path.stat().st_mode & 0o100 else 0)
    with path.open("rb") as content:
        archive.addfile(entry, content)
