"""Bounds that hold at every look at once: for comparisons that are watched while their data come.

A test of a fixed size that is looked at again and again cries wolf (Armitage, McPherson and Rowe 1969: at 5% and 20
looks, one time in four). These bounds are a confidence sequence: the chance that the truth is *ever* outside, at any
look, is at most alpha. They are those of the mixture sequential probability ratio test (Robbins 1970; Johari, Pekelis
and Walsh 2015, arXiv 1512.04922), with a half-normal mixture because each bound looks one way (Howard, Ramdas,
McAuliffe and Sekhon 2021, arXiv 1810.08240, the one-sided normal mixture).

**Which guarantee:** exact for normal values of a known variance. Here the variance is estimated and the values are
whatever they are, so it holds in the limit of many units (Waudby-Smith et al. 2021, arXiv 2103.06476). Rates of rare
events are far from that limit: a lucky streak without any shows no spread and looks certain. So a few made-up units
are added, as Agresti and Caffo 2000 do for two samples and Agresti and Min 2005 for pairs, and one event more against
whatever a bound would claim. Simulated over rates from 0.02% to 20%, shares of 5% to 83% and 24 looks, no bound is
wrong more often than its alpha; without the one event more, some are, up to four times.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from noria.core.errors import Invalid
from noria.stats.vectors import numbers

_STEPS = 50
_CLOSE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """All that a mean and its variance need of independent units: how many, their sum and the sum of their squares."""

    units: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """Return the mean of the units; NaN without any."""
        return self.total / self.units if self.units else math.nan

    @property
    def variance_of_mean(self) -> float:
        """Return the estimated variance of the mean; infinite for fewer than two units, which show no spread."""
        if self.units < 2:  # noqa: PLR2004 - the fewest that show a spread
            return math.inf
        spread = max(0.0, self.squares - self.total**2 / self.units) / (self.units - 1)
        return spread / self.units

    def padded(self, *values: float) -> "Sums":
        """Return the sums with a few made-up units added."""
        return Sums(
            units=self.units + len(values),
            total=self.total + sum(values),
            squares=self.squares + sum(value * value for value in values),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A difference (ours less theirs) and two bounds; each alone is ever wrong with a chance of at most its alpha."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sureness:
    """How often a bound may ever be wrong, and for which size of difference it is sharpest (it is valid for all).

    `spread` is that size in the units of the values, chosen before the data.
    """

    alpha: float
    spread: float


def sums(values: ArrayLike) -> Sums:
    """Return the sums of independent units, one value each; values of shape (n,), none of them missing."""
    found = numbers(values, "values")
    return Sums(units=found.size, total=float(found.sum()), squares=float(np.square(found).sum()))


def bounds_of_two(ours: Sums, theirs: Sums, *, low: Sureness, high: Sureness) -> Bounds:
    """Return bounds on the difference of two independent means, of units that are 1 where the event happens.

    Other values than 0 and 1 do as well if a whole event is about 1.
    """
    least, least_variance = _difference(ours.padded(0, 1), theirs.padded(0, 1, 1))
    most, most_variance = _difference(ours.padded(0, 1, 1), theirs.padded(0, 1))
    return Bounds(
        estimate=ours.mean - theirs.mean,
        low=least - _reach(least_variance, low),
        high=most + _reach(most_variance, high),
    )


def bounds_of_pairs(differences: Sums, *, low: Sureness, high: Sureness) -> Bounds:
    """Return bounds on the mean of differences that were taken unit by unit, of values that are about 0 to 1."""
    least, most = differences.padded(-1, 1, -1), differences.padded(-1, 1, 1)
    return Bounds(
        estimate=differences.mean,
        low=least.mean - _reach(least.variance_of_mean, low),
        high=most.mean + _reach(most.variance_of_mean, high),
    )


def boundary(variance: float, *, spread: float, alpha: float) -> float:
    """Return how many standard errors an estimate may ever be above the truth, but for a chance of alpha.

    It solves for z: 2 sqrt(r) exp((1 - r) z^2 / 2) Phi(sqrt(1 - r) z) = 1 / alpha, where r = V / (V + spread^2) and V
    is the variance: the likelihood ratio of a half-normal mixture of differences of that spread against none.
    """
    if not 0 < alpha < 0.5 or not spread > 0:  # noqa: PLR2004 - a chance of error, below a coin's
        raise Invalid(f"alpha is {alpha} and spread {spread}", hint="alpha is below 0.5, and spread is positive")
    if not variance > 0 or not math.isfinite(variance):
        raise Invalid(f"a variance of {variance} cannot be read", hint="it must be positive and finite")
    share = variance / (variance + spread**2)
    wanted = -math.log(2 * alpha) - math.log(share) / 2
    return _root(wanted) / math.sqrt(1 - share)


def _difference(ours: Sums, theirs: Sums) -> tuple[float, float]:
    return ours.mean - theirs.mean, ours.variance_of_mean + theirs.variance_of_mean


def _reach(variance: float, sureness: Sureness) -> float:
    return math.sqrt(variance) * boundary(variance, spread=sureness.spread, alpha=sureness.alpha)


def _root(wanted: float) -> float:
    """Solve y^2 / 2 + log Phi(y) = wanted > 0 by Newton's method, from below."""
    y = math.sqrt(2 * wanted)
    for _ in range(_STEPS):
        area = math.erfc(-y / math.sqrt(2)) / 2
        slope = y + math.exp(-y * y / 2) / math.sqrt(2 * math.pi) / area
        step = (y * y / 2 + math.log(area) - wanted) / slope
        y -= step
        if abs(step) < _CLOSE:
            break
    return y
