"""Encoded values on their way: in memory or in a file, which whoever stores or reads them need not know."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import accumulate

from noria.core import digests
from noria.core.digests import Buffer
from noria.core.errors import Invalid

CHUNK_BYTES = 1 << 22
LARGE_BYTES = 1 << 23
"""From here on bytes are moved in pieces, and mapped. Each map takes one of the files that a process may have open."""
ALIGNED_BYTES = 64
"""What is read where it lies begins at multiples of this, as Arrow and processors like it."""


class Payload:
    """The bytes of an encoded value. These lie in memory, as parts that are not copied; subclasses take them elsewhere."""

    _digest: str | None = None

    def __init__(self, *parts: Buffer) -> None:
        self._parts = parts
        self.size = sum(len(part) if type(part) is bytes else memoryview(part).nbytes for part in parts)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the bytes; it is taken once."""
        if self._digest is None:
            self._digest = digests.of_chunks(self.chunks())
        return self._digest

    @property
    def is_digested(self) -> bool:
        """Say whether the digest is known."""
        return self._digest is not None

    def chunks(self) -> Iterable[Buffer]:
        """Yield the bytes in pieces of a few megabytes, so that few of them are in memory at a time."""
        return self._parts if self.size <= CHUNK_BYTES else _pieces(self._parts)

    def passing(self) -> Iterator[Buffer]:
        """Yield the bytes in pieces and take their digest on the way; raises `Invalid` at their end if it was another before."""
        whole = hashlib.sha256()
        for chunk in self.chunks():
            whole.update(chunk)
            yield chunk
        before, self._digest = self._digest, whole.hexdigest()
        if before not in {None, self._digest}:
            self._digest = before
            raise Invalid("what is stored changed meanwhile", hint="close a file before the step returns its path")

    def view(self) -> memoryview:
        """Return all of the bytes, to be read where they lie."""
        if len(self._parts) == 1 and self.size:
            return memoryview(self._parts[0]).toreadonly().cast("B")
        return memoryview(b"".join(self._parts))

    def own(self) -> memoryview:
        """Return all of the bytes as the caller's own: what it writes there nobody else sees."""
        return memoryview(bytearray(self.view()))

    def part(self, begin: int, size: int) -> "Payload":
        """Return some of the bytes."""
        return Payload(self.view()[begin : begin + size])

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())


def _pieces(parts: Iterable[Buffer]) -> Iterator[Buffer]:
    for part in parts:
        view = memoryview(part)
        for begin in range(0, view.nbytes, CHUNK_BYTES):
            yield view.cast("B")[begin : begin + CHUNK_BYTES]


class Chain(Payload):
    """Payloads one after the other, each at an aligned place."""

    def __init__(self, payloads: list[Payload]) -> None:
        self._payloads = payloads
        self.size = sum(aligned(payload.size) for payload in payloads)

    def chunks(self) -> Iterator[Buffer]:
        """Yield the bytes of one after the other."""
        for payload in self._payloads:
            yield from payload.chunks()
            yield bytes(aligned(payload.size) - payload.size)

    def view(self) -> memoryview:
        """Return all of the bytes, brought together."""
        return memoryview(b"".join(self.chunks()))

    def part(self, begin: int, size: int) -> Payload:
        """Return some of the bytes; those of one payload as they lie."""
        start = 0
        for payload in self._payloads:
            if start <= begin and begin + size <= start + payload.size:
                return payload.part(begin - start, size)
            start += aligned(payload.size)
        return super().part(begin, size)


class Reading(io.RawIOBase):
    """A payload as a file that is read from its beginning to its end."""

    def __init__(self, payload: Payload) -> None:
        super().__init__()
        self._chunks = iter(payload.chunks())
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride] - a buffer is one
        """Fill the buffer with what comes next; 0 at the end."""
        while not self._rest:
            following = next(self._chunks, None)
            if following is None:
                return 0
            self._rest = memoryview(following).cast("B")
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def aligned(size: int) -> int:
    """Return the next aligned place."""
    return -(-size // ALIGNED_BYTES) * ALIGNED_BYTES


def places(sizes: list[int]) -> list[int]:
    """Return where each of several begins, when each is at an aligned place."""
    return list(accumulate(map(aligned, sizes), initial=0))[:-1]
