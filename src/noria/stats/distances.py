"""How far apart two columns lie, as sizes of effect: PSI, Wasserstein, Jensen-Shannon. Never a p-value.

A p-value says how many rows there were: with enough of them every difference is significant. These distances say how
much has moved, and `*_excess` takes away what chance alone would show between two samples of these sizes.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noria.core.errors import Invalid
from noria.stats.vectors import Floats, counts, numbers_or_nan, of_equal_length, some_numbers

_BINS = 10
_HALF = 0.5
"""Added to each bin's count (Jeffreys), so that an empty bin weighs as much as the sample's size lets it."""
_RARE = 5
"""Categories seen less often than this, in both together, are told apart by chance only, and share a bin."""


def psi(reference: ArrayLike, current: ArrayLike, *, bins: int = _BINS) -> float:
    """Return the population stability index of two columns, shapes (n,) and (m,), over the reference's quantile bins.

    Source: Siddiqi 2006; it is the symmetric Kullback-Leibler divergence (Jeffreys 1946) of the binned shares, in
    nats. By custom 0.1 is some change and 0.2 much. NaN is a bin of its own.
    """
    return psi_of_counts(*binned(reference, current, bins=bins))


def psi_excess(reference: ArrayLike, current: ArrayLike, *, bins: int = _BINS) -> float:
    """Return `psi` less its mean under no change; it lies around 0, below it too, where nothing has moved."""
    return psi_excess_of_counts(*binned(reference, current, bins=bins))


def psi_of_counts(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the population stability index of two columns' counts in the same bins, shape (B,) both."""
    before, after = _shares(*_in_use(reference, current))
    return float(((after - before) * np.log(after / before)).sum())


def psi_excess_of_counts(reference: ArrayLike, current: ArrayLike) -> float:
    """Return `psi_of_counts` less its mean under no change, (B - 1)(1/n + 1/m) over the B bins in use.

    Source: Yurdakul and Naranjo 2020. The mean holds for bins with five rows or more on both sides; where most bins
    have fewer it is a little too large, and the excess lies a little below 0.
    """
    before, after = _in_use(reference, current)
    by_chance = (before.size - 1) * (1 / float(before.sum()) + 1 / float(after.sum()))
    return psi_of_counts(before, after) - by_chance


def jensen_shannon(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the Jensen-Shannon distance of two columns' counts in the same bins, shape (B,) both.

    The root of the divergence in bits (Endres and Schindelin 2003): a metric from 0 (equal) to 1 (nothing shared).
    """
    before, after = _in_use(reference, current)
    first, second = before / before.sum(), after / after.sum()
    middle = (first + second) / 2
    return float(np.sqrt(max(0.0, (_bits(first, middle) + _bits(second, middle)) / 2)))


def wasserstein(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the first Wasserstein distance of two columns, shapes (n,) and (m,), in the units of their values.

    Source: Vallender 1974: the area between their distribution functions. It is what must be moved, times how far.
    """
    before, after = (np.sort(some_numbers(values, "values")) for values in (reference, current))
    points = np.sort(np.concatenate([before, after]))
    first = before.searchsorted(points[:-1], side="right") / before.size
    second = after.searchsorted(points[:-1], side="right") / after.size
    return float((np.abs(first - second) * np.diff(points)).sum())


def binned(reference: ArrayLike, current: ArrayLike, *, bins: int = _BINS) -> tuple[Floats, Floats]:
    """Return both columns' counts in the reference's quantile bins, the last bin being NaN, shape (B,) both."""
    edges = edges_of(reference, bins=bins)
    return depths(reference, edges), depths(current, edges)


def edges_of(reference: ArrayLike, *, bins: int = _BINS) -> Floats:
    """Return the upper edges of all bins but the last, ascending, shape (E,): quantiles that occur in the reference.

    A value that fills a whole bin or more (a column that is mostly zero, a constant) gets a bin of its own, so that
    moving off it to either side shows.
    """
    if bins < 2:  # noqa: PLR2004 - one bin holds everything
        raise Invalid(f"{bins} bins show no difference", hint=f"{_BINS} are usual")
    found = numbers_or_nan(reference, "values")
    there = found[~np.isnan(found)]
    if not there.size:
        return np.empty(0)
    inner = np.quantile(there, np.arange(1, bins) / bins, method="inverted_cdf")
    edges, times = np.unique(inner, return_counts=True)
    lone = edges[(times > 1) | (edges == there.min())]
    return np.unique(np.concatenate([edges, np.nextafter(lone, -np.inf)]))


def depths(values: ArrayLike, edges: Floats) -> Floats:
    """Return how many values fall into each bin, a last one being NaN, shape (E + 2,)."""
    found = numbers_or_nan(values, "values")
    missing = np.isnan(found)
    places = edges.searchsorted(found[~missing], side="left")
    return np.append(np.bincount(places, minlength=edges.size + 1), missing.sum()).astype(np.float64)


def aligned(reference: Mapping[str, int], current: Mapping[str, int]) -> tuple[Floats, Floats]:
    """Return both columns' counts of categories in the same bins, shape (B,) both, in the order of the names.

    A category that is new, or gone, is a bin like any other. Those that are rare in both together share the last.
    """
    names = sorted(reference.keys() | current.keys())
    before = counts([reference.get(name, 0) for name in names], "counts")
    after = counts([current.get(name, 0) for name in names], "counts")
    rare = before + after < _RARE
    return _with_rare(before, rare), _with_rare(after, rare)


def _with_rare(often: Floats, rare: NDArray[np.bool_]) -> Floats:
    return np.append(often[~rare], often[rare].sum())


def _in_use(reference: ArrayLike, current: ArrayLike) -> tuple[Floats, Floats]:
    before, after = counts(reference, "counts"), counts(current, "counts")
    of_equal_length(before, after, names="counts")
    if before.sum() <= 0 or after.sum() <= 0:
        raise Invalid("a column without rows has no distance", hint="wait for rows on both sides")
    used = before + after > 0
    return before[used], after[used]


def _shares(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    first, second = before + _HALF, after + _HALF
    return first / first.sum(), second / second.sum()


def _bits(shares: Floats, middle: Floats) -> float:
    there = shares > 0
    return float((shares[there] * np.log2(shares[there] / middle[there])).sum())
