"""Files and folders that a step is given: each taker has a copy of its own, which is deleted when its try has ended.

Files are unpacked into a scratch folder, once for all who ask. Whoever takes one takes that copy away, by renaming the
folder around it, so that the next taker has another one unpacked. A large copy that its try has left as it was goes
back, for unpacking it again would cost more than looking at it.
"""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from noria.core.payloads import LARGE_BYTES

_TAKEN = "taken-"
_MOST_READS = 100

Read = TypeVar("Read")
Told = list[tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """A copy that somebody has taken: where it lies now, where it was unpacked, and how it looked when it was taken."""

    folder: Path
    unpacked: Path
    told: Told | None
    """None for a small one, which is deleted whatever was done to it."""


class Lent:
    """The files that one try was given."""

    def __init__(self) -> None:
        self._copies: list[_Copy] = []

    def while_taking(self, take: Callable[[], Read]) -> Read:
        """Call what takes arguments; the files among them are lent from now on."""
        token = _lending.set(self._copies)
        try:
            return take()
        finally:
            _lending.reset(token)

    def end(self, *, may_be_used_again: bool) -> None:
        """Delete the copies, when the try's result is kept; large ones that nobody has written to may serve others.

        Those of a try that failed never do: its traceback may hold a file that is not closed yet.
        """
        for copy in self._copies:
            if not (may_be_used_again and copy.told is not None and _told_of(copy.folder) == copy.told):
                shutil.rmtree(copy.folder, ignore_errors=True)
                continue
            with _lock:
                if not _moved(copy.folder, copy.unpacked):
                    _idle.setdefault(copy.unpacked, []).append(copy.folder)
        self._copies.clear()


_lending: ContextVar[list[_Copy] | None] = ContextVar("noria_lending", default=None)
"""The copies of the try that arguments are taken for; None for whoever keeps what it takes, such as a run's result."""
_idle: dict[Path, list[Path]] = {}
"""Copies that may serve others, by the place where they were unpacked, which another one has meanwhile."""
_lock = threading.Lock()


def read_own(read: Callable[[], object], *, size: int) -> object:
    """Read a value of `size` bytes that may lead to files, and take those away, so that nobody else is given them."""
    for _ in range(_MOST_READS):
        copies: list[_Copy] = []
        with contextlib.suppress(FileNotFoundError):  # another taker was faster, with this one or with a part of it
            taken = _owned(read(), copies, size=size)
            lending = _lending.get()
            if lending is not None:
                lending.extend(copies)
            return taken
        for copy in copies:
            shutil.rmtree(copy.folder, ignore_errors=True)
    return read()  # a file that is not there for another reason: say so


def _owned(value: Any, copies: list[_Copy], *, size: int) -> Any:  # noqa: ANN401 - any value
    """Return a value with the paths in it replaced by those of the taker's own copies."""
    kind: Any = cast("object", type(value))
    if isinstance(value, Path):
        return _taken(value, copies, size=size)
    if kind in {list, set, frozenset}:
        return cast("Any", kind)(_owned(item, copies, size=size) for item in value)
    if kind is tuple or (tuple in kind.__mro__ and hasattr(kind, "_fields")):
        items = [_owned(item, copies, size=size) for item in cast("tuple[Any, ...]", value)]
        return cast("Any", kind)(*items) if hasattr(kind, "_fields") else tuple(items)
    if kind is dict:
        return {key: _owned(item, copies, size=size) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _owned_fields(value, copies, size=size)
    return value


def _owned_fields(value: Any, copies: list[_Copy], *, size: int) -> Any:  # noqa: ANN401 - see _owned
    before = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    after = {name: _owned(item, copies, size=size) for name, item in before.items()}
    changed = {name: item for name, item in after.items() if item is not before[name]}
    return replace(value, **changed) if changed else value


def _taken(path: Path, copies: list[_Copy], *, size: int) -> Path:
    """Take a copy away from where it was unpacked, and return its new path; one more of the same file is copied."""
    unpacked = path.parent
    folder = Path(tempfile.mkdtemp(prefix=_TAKEN, dir=unpacked.parent))
    same = next((copy for copy in copies if copy.unpacked == unpacked), None)
    if same is not None:
        shutil.copytree(same.folder, folder, dirs_exist_ok=True)
    else:
        try:
            unpacked.rename(folder)
        except OSError:
            folder.rmdir()
            raise
    told = _told_of(folder) if size >= LARGE_BYTES and same is None else None
    copies.append(_Copy(folder=folder, unpacked=unpacked, told=told))
    with _lock:
        if (idle := _idle.get(unpacked)) and _moved(idle[-1], unpacked):
            idle.pop()
    return folder / path.name


def _moved(folder: Path, place: Path) -> bool:
    try:
        folder.rename(place)
    except OSError:  # there is one already
        return False
    return True


def _told_of(folder: Path) -> Told | None:
    """Return by what it is seen that somebody has written to a copy; None when somebody has.

    It was unpacked with the beginning of time as the time of everything in it: who writes to it changes that, however
    soon after it was unpacked.
    """
    told: Told = []
    for entry in _entries(folder):
        found = entry.stat(follow_symlinks=False)
        if found.st_mtime_ns:
            return None
        told.append((entry.path[len(str(folder)) :], found.st_ino, found.st_size, found.st_mode, found.st_ctime_ns))
    return sorted(told)


def _entries(folder: Path) -> Generator["os.DirEntry[str]"]:
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
