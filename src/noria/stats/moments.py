"""Count, mean, spread and range of numbers, mergeable.

Source: the pairwise update of Chan, Golub and LeVeque 1979. Merging in any order gives the same up to rounding.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from noria.stats.vectors import numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments of `count` finite numbers, in their units; `m2` is the sum of squared distances from the mean.

    Where numbers are so large that their squares overflow, `mean` and `m2` are infinity or NaN, never wrong.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    minimum: float | None = None
    maximum: float | None = None

    def variance(self, *, ddof: int = 0) -> float:
        """Return the variance, of the sample with ddof=1; NaN where there are too few numbers."""
        return self.m2 / (self.count - ddof) if self.count > ddof else math.nan

    def deviation(self, *, ddof: int = 0) -> float:
        """Return the standard deviation."""
        return math.sqrt(self.variance(ddof=ddof))

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON, which has no word for NaN: None."""
        return {
            name: None if value is None or not math.isfinite(value) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `plain` wrote."""
        known = {name: math.nan if values[name] is None else values[name] for name in ("mean", "m2")}
        return cls(count=values["count"], minimum=values["minimum"], maximum=values["maximum"], **known)


def summarise(values: ArrayLike) -> Moments:
    """Return the moments of finite numbers, shape (n,); n may be 0. Missing values are counted elsewhere."""
    found = numbers(values, "values")
    if not found.size:
        return Moments()
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(found.mean())
        m2 = float(((found - mean) ** 2).sum())
    return Moments(
        count=found.size,
        mean=mean,
        m2=m2,
        minimum=float(found.min()),
        maximum=float(found.max()),
    )


def merge(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all that the parts describe."""
    return reduce(_two, parts, Moments())


def _two(first: Moments, second: Moments) -> Moments:
    if not first.count or not second.count:
        return first if first.count else second
    count = first.count + second.count
    apart = second.mean - first.mean
    ends = [end for part in (first, second) for end in (part.minimum, part.maximum) if end is not None]
    return Moments(
        count=count,
        mean=first.mean + apart * second.count / count,
        m2=first.m2 + second.m2 + apart * apart * first.count * second.count / count,
        minimum=min(ends),
        maximum=max(ends),
    )
