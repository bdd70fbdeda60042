"""What the log asks of a disk: each promise is one call, so that a test can see their order and let one fail."""

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from noria.store.syncing import sync

TEMPORARY = ".part"


class Disk(Protocol):
    """Files of the log. All raise `OSError` when the disk refuses."""

    def create(self, path: Path) -> int:
        """Make a file that was not there and return its handle; it is in use until it is closed, or we die."""
        ...

    def write(self, file: int, payload: bytes) -> None:
        """Append all the bytes; they survive kill -9."""
        ...

    def cut(self, file: int, size: int) -> None:
        """Take away what stands after so many bytes: what a refused write has left there."""
        ...

    def is_there(self, file: int) -> bool:
        """Say whether the file still has a name: who writes to one that was removed writes for nobody."""
        ...

    def sync(self, file: int) -> None:
        """Let what was written survive loss of power."""
        ...

    def close(self, file: int) -> None:
        """Let go of the file."""
        ...

    def put(self, path: Path, payload: bytes) -> None:
        """Write a whole file: under its name there is nothing or all of it, and then it survives loss of power."""
        ...

    def blank(self, path: Path, spans: Sequence[tuple[int, int]]) -> None:
        """Overwrite stretches, [begin, end) each, by spaces; whoever appends goes on doing so. It is synced."""
        ...

    def remove(self, paths: Iterable[Path]) -> None:
        """Take files of one folder away, for good when it returns; what is not there is fine."""
        ...


class MachineDisk:
    """The machine's own disk."""

    def create(self, path: Path) -> int:
        """Make a file, locked while it is open: `is_in_use` tells it to other processes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            sync(path.parent)
        except OSError:
            os.close(file)
            raise
        return file

    def write(self, file: int, payload: bytes) -> None:
        """Append all the bytes."""
        left = memoryview(payload)
        while left:
            left = left[os.write(file, left) :]

    def cut(self, file: int, size: int) -> None:
        """Truncate the file."""
        os.ftruncate(file, size)

    def is_there(self, file: int) -> bool:
        """Ask how many names it has."""
        return os.fstat(file).st_nlink > 0

    def sync(self, file: int) -> None:
        """Sync the file."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Close the file."""
        os.close(file)

    def put(self, path: Path, payload: bytes) -> None:
        """Write beside it, sync, rename, sync the name."""
        beside = path.with_name(path.name + TEMPORARY)
        with beside.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync(path.parent)

    def blank(self, path: Path, spans: Sequence[tuple[int, int]]) -> None:
        """Overwrite in place, and sync."""
        with path.open("r+b") as file:
            for begin, end in spans:
                file.seek(begin)
                file.write(b" " * (end - begin))
            file.flush()
            os.fsync(file.fileno())

    def remove(self, paths: Iterable[Path]) -> None:
        """Unlink, and sync the names."""
        folders: set[Path] = set()
        for path in paths:
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in folders:
            sync(folder)


def is_in_use(path: Path) -> bool:
    """Say whether a process that lives still holds a file that it made."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def locked(folder: Path, *, shared: bool = False, wait: bool = True) -> Generator[bool]:
    """Lock a folder against who replaces or erases its files, or, `shared`, only be in nobody's way who reads them.

    Without `wait`, say at once whether it is locked. Whoever dies lets go.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if os.fstat(file.fileno()).st_nlink:  # else whoever held it has removed the folder
                yield True
                return
