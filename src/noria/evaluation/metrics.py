"""The metrics by name: their values are scikit-learn's, and each knows which way is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from noria.core.errors import NotFound, nearest
from noria.stats import grouped, scores
from noria.stats.grouped import Grouped

Floats = NDArray[np.float64]


class Grouping(Protocol):
    """Groups a metric's rows; see `noria.stats.grouped`."""

    def __call__(self, labels: Floats, scores: Floats, /, *, groups: NDArray[np.generic]) -> Grouped:
        """Return the grouped metric."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number that says how good scores are for labels."""

    name: str
    higher_is_better: bool
    of: Callable[[Floats, Floats], float]
    grouping: "Grouping"

    def by_group(self, labels: Floats, said: Floats, groups: NDArray[np.generic]) -> Grouped:
        """Return the metric with its rows in groups, ready to be resampled by whole groups."""
        return self.grouping(labels, said, groups=groups)

    def gain(self, ours: float, theirs: float) -> float:
        """Return how much better ours is: positive is better, whichever way the metric points."""
        return ours - theirs if self.higher_is_better else theirs - ours


_METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="auc", higher_is_better=True, of=scores.auc, grouping=grouped.auc),
        Metric(name="log_loss", higher_is_better=False, of=scores.log_loss, grouping=grouped.log_loss),
        Metric(name="brier", higher_is_better=False, of=scores.brier, grouping=grouped.brier),
        Metric(name="accuracy", higher_is_better=True, of=scores.accuracy, grouping=grouped.accuracy),
        Metric(name="mae", higher_is_better=False, of=scores.mae, grouping=grouped.mae),
        Metric(name="rmse", higher_is_better=False, of=scores.rmse, grouping=grouped.rmse),
    )
}
NAMES = tuple(_METRICS)
_OTHERS = (
    "mse",
    "meansquarederror",
    "rmsle",
    "mape",
    "smape",
    "r2",
    "f1",
    "precision",
    "recall",
    "ndcg",
    "gini",
    "mcc",
)
_SYNONYMS = {
    **dict.fromkeys(("prauc", "aucpr", "auprc", "ap", "averageprecisionscore"), "average_precision"),
    **dict.fromkeys(("rocauc", "aucroc", "auroc", "rocaucscore", "aucscore"), "auc"),
    **dict.fromkeys(("crossentropy", "binarycrossentropy", "nll", "negloglikelihood"), "log_loss"),
    **dict.fromkeys(("acc", "accuracyscore"), "accuracy"),
    **dict.fromkeys(("meanabsoluteerror", "l1"), "mae"),
    **dict.fromkeys(("rootmeansquarederror",), "rmse"),
    "brierscore": "brier",
    **{name: name for name in _OTHERS},
}
"""What metrics are called elsewhere; those that Noria does not have stand for themselves, so that none is taken for a slip."""


def named(name: str) -> Metric:
    """Return the metric of that name; raises `NotFound`."""
    if name not in _METRICS:
        raise NotFound("metric", name, hint=nearest(str(name), NAMES, synonyms=_SYNONYMS))
    return _METRICS[name]
