"""The most frequent items of a column, mergeable and deterministic, with a stated error.

Source: Misra and Gries 1982; merging and its error by Agarwal et al. 2012 (Mergeable Summaries). At most `size` items
are kept. The true count of an item lies between the count kept (0 if it is not kept) and that plus `error`, and
`error` is at most n / (size + 1) after any merges in any order. Up to `size` distinct items the counts are exact.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from noria.core.errors import Invalid
from noria.stats.vectors import Ints
from noria.stats.vectors import counts as read_counts

SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """Items with the counts kept for them, most frequent first, equal ones by name; `count` is of all items seen."""

    items: tuple[tuple[str, int], ...] = ()
    count: int = 0
    error: int = 0
    size: int = SIZE

    def counted(self) -> dict[str, int]:
        """Return each kept item's count: never above the true one, and never more than `error` below it."""
        return dict(self.items)

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "items": [list(item) for item in self.items],
            "count": self.count,
            "error": self.error,
            "size": self.size,
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `plain` wrote."""
        return cls(
            items=tuple((str(item), int(often)) for item, often in values["items"]),
            count=values["count"],
            error=values["error"],
            size=values["size"],
        )


def summarise(items: Sequence[str], counts: ArrayLike, *, size: int = SIZE) -> Heavy:
    """Return the most frequent of distinct items, each with how often it occurs, shape (n,); n may be 0.

    Items are texts: spell other values first, in one way. A column library's value counts are what to give.
    """
    if size < 1:
        raise Invalid(f"{size} items cannot be kept", hint=f"{SIZE} are usual")
    often = read_counts(counts, "counts").astype(np.int64)
    if len(items) != often.size:
        raise Invalid(f"items and counts are {len(items)} and {often.size} long", hint="give one count for every item")
    lost = _next_largest(often, size)
    places: list[int] = np.flatnonzero(often > lost).tolist()
    kept = {items[place]: int(often[place]) - lost for place in places}
    if len(kept) < len(places):
        raise Invalid("an item is given twice", hint="add up the counts of equal items first")
    return Heavy(items=_ordered(kept), count=int(often.sum()), error=lost, size=size)


def merge(parts: Iterable[Heavy]) -> Heavy:
    """Return the most frequent items of all that the parts describe, of the smallest part's size."""
    given = list(parts)
    size = min((part.size for part in given), default=SIZE)
    added: Counter[str] = Counter()
    for part in given:
        added.update(part.counted())
    lost = _next_largest(np.fromiter(added.values(), dtype=np.int64, count=len(added)), size)
    return Heavy(
        items=_ordered({item: often - lost for item, often in added.items() if often > lost}),
        count=sum(part.count for part in given),
        error=sum(part.error for part in given) + lost,
        size=size,
    )


def _next_largest(counts: Ints, size: int) -> int:
    """Return the largest count that there is no room for, which all counts lose; 0 where there is room for all."""
    if counts.size <= size:
        return 0
    place = counts.size - size - 1
    return int(np.partition(counts, place)[place])


def _ordered(kept: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(kept.items(), key=lambda item: (-item[1], item[0])))
