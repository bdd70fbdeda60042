"""How many labels of a source are flipped, by maximum likelihood against scores that know nothing of its labels.

A model that was trained on a trusted past gives each row its log odds. Labels of which a share f is flipped at random
follow P(y=1) = f + (1 - 2f) s(a + z), where s is the logistic function, z the row's log odds as concurrent sources
of the same blocks (days) show them, and a whatever moves this source's base rate alone. A real shift moves a base rate,
which `a` and the blocks take up; flips turn the order of scores round, which no shift does.

It is the class-conditional noise that confident learning (Northcutt et al. 2021, arXiv 1911.00068) estimates by counts
over per-class thresholds, here as one likelihood with nuisances, so that it has a test. The likelihood ratio of the
estimate against the largest share that would not matter is held against its boundary law, half a chi-squared of one
degree of freedom (Self and Liang 1987).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize  # pyright: ignore[reportMissingTypeStubs] - SciPy ships none
from scipy.special import expit, logit  # pyright: ignore[reportMissingTypeStubs] - SciPy ships none

from noria.core.errors import Invalid
from noria.stats.curves import normal_area
from noria.stats.vectors import Floats, numbers, of_equal_length

_STEPS = 15
_SHIFT = 6.0
_EDGE = 1e-4
_RIDGE = 0.05
_GRID = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """The estimated share of flipped labels, and the chance of such labels if only `least` of them were flipped."""

    share: float
    least: float
    ratio: float
    """Twice the log likelihood ratio of `share` against `least`."""
    p_value: float
    rows: int


@dataclass(frozen=True, slots=True)
class Control:
    """What concurrent sources made of the scores: their slope, and by how much each block moved their base rate."""

    slope: float
    blocks: dict[int, float]

    def odds(self, scores: Floats, blocks: NDArray[np.int64]) -> Floats:
        """Return log odds, shape (n,), as rows of the concurrent sources would have them on the same blocks."""
        moved = np.array([self.blocks.get(int(block), 0.0) for block in blocks])
        return moved + self.slope * _odds(scores)


UNMOVED = Control(1.0, {})
"""The control where there are no concurrent sources: the scores as they are."""


def control(labels: ArrayLike, scores: ArrayLike, blocks: NDArray[np.int64]) -> Control:
    """Fit the slope of the scores and one base rate for each block to the labels of concurrent sources.

    It is a logistic regression by Newton's method with a faint ridge, so that blocks of one class stay finite.
    """
    truth, said = _read(labels, scores)
    names, places = np.unique(blocks, return_inverse=True)
    odds = _odds(said)
    found = np.zeros(len(names) + 1)
    found[-1] = 1.0
    for _ in range(_STEPS):
        step = _newton_step(found, truth, odds, places)
        found += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-6:  # noqa: PLR2004 - far below anything that matters
            break
    return Control(float(found[-1]), {int(name): float(moved) for name, moved in zip(names, found[:-1], strict=True)})


def estimate(labels: ArrayLike, odds: ArrayLike, *, least: float, weight: float = 1.0) -> Flips:
    """Estimate the share of flipped labels; `odds` are log odds of 1, shape (n,), n > 0, as `Control.odds` gives them.

    `weight` is how much of the likelihood counts: less than 1 where rows hang together.
    Raises `Invalid` for labels that are not 0 or 1, and for anything missing or NaN.
    """
    truth, z = numbers(labels, "labels"), numbers(odds, "log odds")
    of_equal_length(truth, z, names="labels and log odds")
    _must_be_two_class(truth)
    grid = np.linspace(0.0, 1.0, _GRID)
    place = int(np.argmax([_profile(share, truth, z) for share in grid]))
    bounds = (float(grid[max(0, place - 1)]), float(grid[min(_GRID - 1, place + 1)]))
    best, _ = _lowest(lambda share: -_profile(share, truth, z), *bounds, near=1e-5)
    share = max((best, *bounds), key=lambda each: _profile(each, truth, z))
    if share <= least:
        return Flips(share=share, least=least, ratio=0.0, p_value=1.0, rows=truth.size)
    ratio = max(0.0, 2 * weight * (_profile(share, truth, z) - _profile(least, truth, z)))
    chance = normal_area(-(ratio**0.5))  # half of chi-squared's tail with one degree of freedom
    return Flips(share=share, least=least, ratio=ratio, p_value=chance, rows=truth.size)


def _profile(share: float, truth: Floats, z: Floats) -> float:
    """Return the log-likelihood of a share of flips, at the base rate that suits it best."""

    def loss(shift: float) -> float:
        chance = np.clip(share + (1 - 2 * share) * _chance(shift + z), 1e-9, 1 - 1e-9)
        return -float(np.sum(np.where(truth == 1.0, np.log(chance), np.log1p(-chance))))

    return -_lowest(loss, -_SHIFT, _SHIFT, near=1e-3)[1]


def _lowest(loss: Callable[[float], float], low: float, high: float, *, near: float) -> tuple[float, float]:
    """Return where between two bounds the loss is lowest, and how low."""
    minimise: Any = cast("Any", optimize).minimize_scalar
    found = minimise(loss, bounds=(low, high), method="bounded", options={"xatol": near})
    return float(found.x), float(found.fun)


def _chance(odds: Floats) -> Floats:
    return np.asarray(expit(odds), dtype=np.float64)


def _newton_step(found: Floats, truth: Floats, odds: Floats, places: NDArray[np.int64]) -> Floats:
    many = len(found) - 1
    chance = _chance(found[places] + found[-1] * odds)
    weight = chance * (1 - chance)
    slope = np.append(np.bincount(places, truth - chance, many) - _RIDGE * found[:-1], np.sum((truth - chance) * odds))
    curve = np.zeros((many + 1, many + 1))
    inside = np.arange(many)
    curve[inside, inside] = np.bincount(places, weight, many) + _RIDGE
    curve[many, :many] = curve[:many, many] = np.bincount(places, weight * odds, many)
    curve[many, many] = np.sum(weight * odds * odds) + _RIDGE
    return np.asarray(np.linalg.solve(curve, slope), dtype=np.float64)


def _read(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    truth, said = numbers(labels, "labels"), numbers(scores, "scores")
    of_equal_length(truth, said, names="labels and scores")
    _must_be_two_class(truth)
    if ((said < 0) | (said > 1)).any():
        raise Invalid("the scores are no chances", hint="flips are estimated from the chances of a classifier")
    return truth, said


def _must_be_two_class(truth: Floats) -> None:
    if not np.isin(truth, (0.0, 1.0)).all():
        raise Invalid("the labels are not 0 and 1", hint="flips are estimated for labels of two classes")
    if not truth.size:
        raise Invalid("the labels are empty", hint="there must be at least one row")


def _odds(scores: Floats) -> Floats:
    return np.asarray(logit(np.clip(scores, _EDGE, 1 - _EDGE)), dtype=np.float64)
