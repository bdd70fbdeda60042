"""How many threads a training may use here and now: small models gain from two on idle cores, and lose on busy ones."""

import os
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import numpy as np

from noria.core.clock import Stopwatch

_ROWS = 20_000


def fastest(watch: Stopwatch) -> AbstractContextManager[object]:
    """Limit OpenMP to one thread, or to all cores if a small training is faster with them; the models are the same."""
    ensemble: Any = import_module("sklearn.ensemble")  # loaded first: only what is there can be limited
    limits: Any = import_module("threadpoolctl").threadpool_limits
    chance = np.random.default_rng(1)
    table = chance.normal(size=(_ROWS, 16))
    labels = table[:, 0] > chance.normal(size=_ROWS)

    def seconds(threads: int) -> float:
        boosting = ensemble.HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, early_stopping=False)
        with limits(threads, user_api="openmp"):
            began = watch.wall()
            boosting.fit(table, labels)
            return watch.wall() - began

    seconds(1)  # the first one also loads and warms
    return limits(min((1, os.cpu_count() or 1), key=seconds), user_api="openmp")
