"""How many distinct values a column has, mergeable and deterministic, with a stated error.

Source: the k minimum values of Bar-Yossef et al. 2002, with the unbiased estimate of Beyer et al. 2007. The smallest k
of the values' 64-bit hashes are kept. A merge is exact: it equals the summary of all values together, in any order of
merging. Up to k distinct values the count is exact; above, its relative standard error is 1 / sqrt(k - 2).
"""

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.core.errors import Invalid

SIZE = 1024

Hashes = NDArray[np.uint64]

_SPAN = 2.0**64
_FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """The smallest distinct hashes, ascending, at most `size` of them."""

    hashes: tuple[int, ...] = ()
    size: int = SIZE

    def count(self) -> float:
        """Return the number of distinct values: exact below `size` of them, else the estimate (k - 1) / largest."""
        if len(self.hashes) < self.size:
            return float(len(self.hashes))
        return (self.size - 1) * _SPAN / (self.hashes[-1] + 1)

    def standard_error(self) -> float:
        """Return the standard error of `count` as a share of it."""
        return 0.0 if len(self.hashes) < self.size else 1 / math.sqrt(self.size - 2)

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON: the hashes as base64 of 8 bytes each, smallest first, big-endian."""
        packed = np.array(self.hashes, dtype=">u8").tobytes()
        return {"hashes": base64.b64encode(packed).decode(), "size": self.size}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `plain` wrote."""
        unpacked = np.frombuffer(base64.b64decode(values["hashes"]), dtype=">u8")
        return cls(hashes=tuple(unpacked.tolist()), size=values["size"])


def summarise(hashes: Hashes, *, size: int = SIZE) -> Distinct:
    """Return the summary of values given by their hashes, shape (n,), equal ones among them or not; n may be 0."""
    if size < _FEWEST:
        raise Invalid(f"a summary of {size} hashes has no stated error", hint=f"{SIZE} are usual")
    if hashes.dtype != np.uint64:
        raise Invalid(f"hashes are {hashes.dtype}, not uint64", hint="use hashes_of_numbers or hashes_of_texts")
    return Distinct(hashes=_smallest(hashes, size), size=size)


def merge(parts: Iterable[Distinct]) -> Distinct:
    """Return the summary of all that the parts describe, of the smallest part's size."""
    given = list(parts)
    size = min((part.size for part in given), default=SIZE)
    together = np.concatenate([np.array(part.hashes, dtype=np.uint64) for part in given] or [np.empty(0, np.uint64)])
    return Distinct(hashes=_smallest(together, size), size=size)


def hashes_of_numbers(values: ArrayLike) -> Hashes:
    """Return the hashes of numbers, shape (n,): the same on every machine and with every version of any library.

    Integers and truth values are hashed as 64-bit integers, other numbers as 64-bit floats (both zeros alike, each
    NaN alike). The mixing is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), which maps no two to one.
    """
    given = np.asarray(values)
    if given.dtype.kind in "bi":
        bits = given.astype(np.int64).view(np.uint64)
    elif given.dtype.kind == "u":
        bits = given.astype(np.uint64)
    else:
        floats = given.astype(np.float64) + 0.0
        floats[np.isnan(floats)] = np.nan
        bits = floats.view(np.uint64)
    mixed = bits + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hashes_of_texts(texts: Iterable[str]) -> Hashes:
    """Return the hashes of texts, shape (n,): the first 8 bytes of BLAKE2b of their UTF-8. Give distinct texts."""
    packed = b"".join(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(packed, dtype=">u8").astype(np.uint64)


def _smallest(hashes: Hashes, size: int) -> tuple[int, ...]:
    some = 4 * size
    if hashes.size > some:
        likely = np.unique(np.partition(hashes, some)[:some])
        if likely.size >= size:
            return tuple(likely[:size].tolist())
    return tuple(np.unique(hashes)[:size].tolist())
