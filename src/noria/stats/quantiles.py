"""A small, deterministic, mergeable summary of how a column of numbers is spread, that states its own error.

It keeps at most `size` of the values, each with the number of values that it stands for, in bins of about equal depth.
The rank of x is the number of values at or below x; `rank_error` bounds, for every x, how far the summary's rank may
lie from the true one, whatever the data were. Up to `size` distinct values the summary is exact (error 0).

The error is counted, not assumed: joining bins adds the most that the joining moved any rank (about n / (2 size)), and
a merge adds up its parts' errors (the rule of Agarwal et al. 2012, Mergeable Summaries; the bins are those of an
equi-depth histogram). So **merge many parts in one call**: the error is then about n / size however many there are;
merging them one after the other joins bins anew each time, and the errors pile up, which the summary says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from noria.core.errors import Invalid
from noria.stats.vectors import Floats, Ints, numbers, of_equal_length, run_starts
from noria.stats.vectors import counts as read_counts

SIZE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """What is kept: distinct values, ascending, the count that each stands for, and the error in ranks."""

    values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    rank_error: int = 0
    minimum: float | None = None
    maximum: float | None = None
    size: int = SIZE

    @property
    def count(self) -> int:
        """How many values are summarised."""
        return sum(self.counts)

    @property
    def error(self) -> float:
        """The rank error as a share of the count: how far `cdf`, or the rank of a quantile, may be off."""
        return self.rank_error / self.count if self.values else 0.0

    def cdf(self, x: ArrayLike) -> Floats:
        """Return the share of values at or below each x, shape as x, true to within `error`."""
        self._refuse_empty()
        reached = np.concatenate([[0], np.cumsum(self.counts)])
        points = np.asarray(x, dtype=np.float64)
        share = reached[np.searchsorted(self.values, points, side="right")] / reached[-1]
        inside = np.where(points < self._end(self.minimum), 0.0, share)
        return np.where(points >= self._end(self.maximum), 1.0, inside)

    def quantile(self, q: ArrayLike) -> Floats:
        """Return a value of the column for each share q from 0 to 1, shape as q.

        The ranks that the value (with its equals) takes up reach q * count to within `rank_error`. Exact summaries give what `numpy.quantile(..., method="inverted_cdf")` gives.
        """
        self._refuse_empty()
        shares = np.asarray(q, dtype=np.float64)
        if not ((shares >= 0) & (shares <= 1)).all():
            raise Invalid("a quantile's share lies from 0 to 1", hint="0.5 is the median")
        reached = np.cumsum(self.counts)
        places = np.asarray(reached.searchsorted(shares * self.count, side="left"))
        found = np.asarray(self.values)[np.minimum(places, len(self.values) - 1)]
        lifted = np.where(shares == 1, self._end(self.maximum), found)
        return np.where(shares == 0, self._end(self.minimum), lifted)

    def depths(self, edges: ArrayLike) -> Floats:
        """Return how many values fall at or below the first edge, between each two, and above the last, shape (E + 1,).

        For comparing two summaries by `distances.psi_of_counts`; each bin is true to within twice `rank_error`.
        """
        shares = self.cdf(np.asarray(edges, dtype=np.float64))
        return np.diff(shares, prepend=0.0, append=1.0) * self.count

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "values": list(self.values),
            "counts": list(self.counts),
            "rank_error": self.rank_error,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "size": self.size,
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `plain` wrote."""
        return cls(
            values=tuple(values["values"]),
            counts=tuple(values["counts"]),
            rank_error=values["rank_error"],
            minimum=values["minimum"],
            maximum=values["maximum"],
            size=values["size"],
        )

    def _refuse_empty(self) -> None:
        if not self.values:
            raise Invalid("no values were summarised", hint="a column without values has no quantiles")

    @staticmethod
    def _end(end: float | None) -> float:
        assert end is not None, "a summary with values has ends"
        return end


def summarise(values: ArrayLike, counts: ArrayLike | None = None, *, size: int = SIZE) -> Quantiles:
    """Return the summary of finite numbers, shape (n,), each occurring once or as often as `counts` says, shape (n,).

    n may be 0. Missing values are counted elsewhere.
    """
    if size < 2:  # noqa: PLR2004 - below two nothing can be told apart
        raise Invalid(f"a summary of {size} values shows nothing", hint=f"{SIZE} are usual")
    found = numbers(values, "values")
    often = np.ones_like(found) if counts is None else read_counts(counts, "counts")
    of_equal_length(found, often, names="values and counts")
    kept = often > 0
    return _built(found[kept], often[kept].astype(np.int64), rank_error=0, size=size)


def merge(parts: Iterable[Quantiles]) -> Quantiles:
    """Return the summary of all that the parts describe, of the smallest part's size. Give all parts at once."""
    given = list(parts)
    full = [part for part in given if part.values]
    size = min((part.size for part in given), default=SIZE)
    if not full:
        return Quantiles(size=size)
    ends = np.array([end for part in full for end in (part.minimum, part.maximum)], dtype=np.float64)
    return _built(
        np.concatenate([np.asarray(part.values) for part in full]),
        np.concatenate([np.asarray(part.counts, dtype=np.int64) for part in full]),
        rank_error=sum(part.rank_error for part in full),
        size=size,
        ends=(float(ends.min()), float(ends.max())),
    )


def _built(
    values: Floats, counts: Ints, *, rank_error: int, size: int, ends: tuple[float, float] | None = None
) -> Quantiles:
    """Sort, add up equal values, and join bins if there are more than may be kept."""
    if not values.size:
        return Quantiles(size=size)
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    starts = run_starts(ascending)
    distinct, often = ascending[starts], np.add.reduceat(counts[order], starts)
    low, high = ends if ends is not None else (float(distinct[0]), float(distinct[-1]))
    added = 0
    if distinct.size > size:
        distinct, often, added = _joined(distinct, often, size=size)
    return Quantiles(
        values=tuple(distinct.tolist()),
        counts=tuple(often.tolist()),
        rank_error=rank_error + added,
        minimum=low,
        maximum=high,
        size=size,
    )


def _joined(values: Floats, counts: Ints, *, size: int) -> tuple[Floats, Ints, int]:
    """Join neighbours into at most `size` bins, each kept as its weighted median; return the error that this adds.

    Within a bin, ranks before the kept value lose what lies before it, and ranks from it on gain what lies after it.
    """
    reached = np.cumsum(counts)
    total = int(reached[-1])
    bins = (2 * reached - counts) * size // (2 * total)
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    before_bin = (reached - counts)[starts]
    depths = np.add.reduceat(counts, starts)
    middles = np.searchsorted(reached, before_bin + (depths + 1) // 2, side="left")
    lost = (reached - counts)[middles] - before_bin
    gained = before_bin + depths - reached[middles]
    return values[middles], depths, int(np.maximum(lost, gained).max())
