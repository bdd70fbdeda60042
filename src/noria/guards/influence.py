"""What a source does to the model: the recipe trained with it and without it, compared on rows it has no part in."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

from noria.datasets.holding import Held
from noria.datasets.model import FragmentKind
from noria.guards.model import Action, Finding
from noria.guards.spec import Batch, Floats
from noria.stats import scores

_GUARD = "poisoning"
_TRIED = 3
_SURE = 2.0
_LEAST_DAYS = 3


def findings(
    batch: Batch, labels_of: Callable[[str], pl.Series], *, limit: float, suspects: Sequence[str]
) -> Iterator[Finding]:
    """Retrain without each of the most suspected sources, and find those that cost more than the limit of log loss."""
    if batch.retrain is None or batch.tail_from is None:
        words = "influence was not measured: it needs a recipe that can be retrained, and a held-back tail"
        yield Finding(guard=_GUARD, action=Action.WARN, words=words)
        return
    whole = batch.retrain("", Held())
    for source in suspects[:_TRIED]:
        mine = labels_of(source)
        judges = batch.rows.filter(batch.labelled() & ~mine & (batch.rows[batch.dataset.time] >= batch.tail_from))
        holds = batch.holds(mine, FragmentKind.LABELS)
        without = batch.retrain(source, Held(holds))
        cost, error = _cost(batch, judges, whole(judges), without(judges))
        if not np.isfinite(cost) or not np.isfinite(error):
            words = f"the influence of source {source!r} was not measured: too few days of other sources to judge on"
            yield Finding(guard=_GUARD, action=Action.WARN, words=words, source=source)
        elif cost - _SURE * error > limit:
            words = (
                f"training with the {len(holds):,} new labels of source {source!r} costs {cost:.4f} log loss "
                f"(standard error {error:.4f}) on rows of the others"
            )
            numbers = {"cost": cost, "standard_error": error, "labels": float(len(holds))}
            yield Finding(
                guard=_GUARD, action=Action.QUARANTINE, words=words, numbers=numbers, source=source, holds=holds
            )


def _cost(batch: Batch, judges: pl.DataFrame, with_it: Floats, without: Floats) -> tuple[float, float]:
    """Return how much log loss the source costs, and its standard error over days; NaN where that cannot be read."""
    if not judges.height or not (np.isfinite(with_it).all() and np.isfinite(without).all()):
        return float("nan"), float("nan")
    labels = judges[batch.dataset.label or ""].cast(pl.Float64).to_numpy()
    lost = scores.log_loss_of_rows(labels, with_it) - scores.log_loss_of_rows(labels, without)
    told = pl.DataFrame({"day": judges[batch.dataset.time].dt.date(), "lost": lost})
    days = told.group_by("day").agg(pl.len().alias("rows"), pl.col("lost").sum())
    if days.height < _LEAST_DAYS:
        return float("nan"), float("nan")
    mean = float(lost.mean())
    centred = (days["lost"] - days["rows"] * mean).to_numpy()
    error = float(np.sqrt(np.sum(centred**2) * days.height / (days.height - 1))) / judges.height
    return mean, error
