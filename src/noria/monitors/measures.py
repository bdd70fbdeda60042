"""What a monitor can measure of a column: how far it has moved from a reference, of which it keeps no more than it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl

from noria.stats import distances
from noria.stats.vectors import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One distance: what it keeps of a column's reference, how far another column lies from that, and in which words."""

    kept: Callable[[pl.Series], Any]
    of: Callable[[Any, pl.Series], float]
    words: str
    numbers: bool = True
    texts: bool = True

    def reads(self, column: pl.Series) -> bool:
        """Say whether it means something for such a column."""
        return self.numbers if column.dtype.is_numeric() else self.texts


def _binned(column: pl.Series) -> tuple[Floats, Floats] | dict[str, int]:
    """Return quantile bins of numbers and how full they were, or the counts of everything else; missing is a bin too."""
    if not column.dtype.is_numeric():
        return _counts(column)
    values = _floats(column)
    edges = distances.edges_of(values)
    return edges, distances.depths(values, edges)


def _over_bins(distance: Callable[[Floats, Floats], float]) -> Callable[[Any, pl.Series], float]:
    def of(kept: Any, column: pl.Series) -> float:  # noqa: ANN401 - see _binned
        if isinstance(kept, dict):
            return distance(*distances.aligned(cast("dict[str, int]", kept), _counts(column)))
        edges, before = kept
        return distance(before, distances.depths(_floats(column), edges))

    return of


def _sorted(column: pl.Series) -> Floats:
    values = _floats(column)
    return np.sort(values[np.isfinite(values)])


def _moved(before: Floats, column: pl.Series) -> float:
    """Return the Wasserstein distance in standard deviations of the reference, in its own units if that never varied.

    NaN where there is nothing to compare.
    """
    after = _sorted(column)
    if not before.size or not after.size:
        return float("nan")
    return distances.wasserstein(before, after) / (float(before.std()) or 1.0)


def _missing(column: pl.Series) -> float:
    there = np.isfinite(_floats(column)) if column.dtype.is_numeric() else column.is_not_null().to_numpy()
    return 1.0 - float(there.mean()) if there.size else 0.0


def _known(column: pl.Series) -> frozenset[str]:
    return frozenset(column.drop_nulls().cast(pl.String).to_list())


def _new(known: frozenset[str], column: pl.Series) -> float:
    there = column.drop_nulls().cast(pl.String).to_list()
    return sum(value not in known for value in there) / len(there) if there else 0.0


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _counts(column: pl.Series) -> dict[str, int]:
    counted = column.cast(pl.String).fill_null("missing").alias("value").value_counts()
    return dict(zip(counted["value"].to_list(), counted["count"].to_list(), strict=True))


MEASURES: Mapping[str, Measure] = {
    "psi": Measure(kept=_binned, of=_over_bins(distances.psi_excess_of_counts), words="PSI"),
    "jensen_shannon": Measure(kept=_binned, of=_over_bins(distances.jensen_shannon), words="Jensen-Shannon distance"),
    "wasserstein": Measure(kept=_sorted, of=_moved, words="standard deviations (Wasserstein)", texts=False),
    "missing": Measure(
        kept=_missing, of=lambda before, column: _missing(column) - before, words="more of the values missing"
    ),
    "new_categories": Measure(kept=_known, of=_new, words="of the rows in new categories", numbers=False),
}
