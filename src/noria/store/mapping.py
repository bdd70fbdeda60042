"""Files that never change, as payloads: they are mapped and not read into memory, and processes share what is mapped."""

import errno
import mmap
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from noria.core.payloads import CHUNK_BYTES, LARGE_BYTES, Payload

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Tells a file from another one, and from itself after it was written to."""

    device: int
    inode: int
    changed: int
    """When anything about it was changed last, in ns; unlike the time of its content, nobody can set it."""
    size: int


def identity_of(told: os.stat_result) -> Identity:
    """Return the identity of a file that the system has told of."""
    return Identity(device=told.st_dev, inode=told.st_ino, changed=told.st_ctime_ns, size=told.st_size)


class Handle:
    """An open file, closed when nobody needs it any more; it can be read after its name was deleted."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)
        self.identity = identity_of(os.fstat(number))


class InFile(Payload):
    """Some bytes of a file."""

    def __init__(self, handle: Handle, size: int, *, begin: int = 0, digest: str | None = None) -> None:
        self._handle = handle
        self._begin = begin
        self.size = size
        self._digest = digest

    def chunks(self) -> Iterator[memoryview]:
        """Yield the bytes in pieces, each mapped for as long as it is held."""
        for begin in range(0, self.size, CHUNK_BYTES):
            yield self._mapped(mmap.ACCESS_READ, begin, min(CHUNK_BYTES, self.size - begin))

    def __bytes__(self) -> bytes:
        return bytes(self.view())

    def view(self) -> memoryview:
        """Return all of the bytes, to be read."""
        return self._mapped(mmap.ACCESS_READ, 0, self.size)

    def own(self) -> memoryview:
        """Return all of the bytes as the caller's own: a page that it writes to is copied then."""
        return self._mapped(mmap.ACCESS_COPY, 0, self.size)

    def part(self, begin: int, size: int) -> Payload:
        """Return some of the bytes; few of them are read into memory."""
        if size < LARGE_BYTES:
            return Payload(bytes(self._mapped(mmap.ACCESS_READ, begin, size)))
        return InFile(self._handle, size, begin=self._begin + begin)

    def _mapped(self, access: int, begin: int, size: int) -> memoryview:
        if not size:
            return memoryview(bytearray())
        place = self._begin + begin
        odd = place % mmap.ALLOCATIONGRANULARITY
        try:
            whole = mmap.mmap(self._handle.number, odd + size, access=access, offset=place - odd)
        except OSError as problem:
            if problem.errno not in _EXHAUSTED:
                raise
            content = memoryview(_read(self._handle.number, place, size))
            return content if access == mmap.ACCESS_COPY else content.toreadonly()
        return memoryview(whole)[odd:]


def _read(number: int, place: int, size: int) -> bytearray:
    """Return what would have been mapped, had the process not as many maps and open files as it may have."""
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        got = os.preadv(number, [rest], place + size - len(rest))
        if not got:
            raise ValueError("a file that is shorter than it was")
        rest = rest[got:]
    return content
