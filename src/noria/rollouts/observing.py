"""Turns what was answered at a stage into one sample a metric: the unit is the sticky key, never the request.

Requests of one key stand and fall together (one customer, one carrier), and a key is answered by one version. So each
key counts once, by the mean of its requests. In shadow both versions see the same requests, and a key counts by the
mean of their differences.
"""

from dataclasses import dataclass, field

import polars as pl

from noria.core.errors import Invalid
from noria.rollouts.model import Stage
from noria.rollouts.spec import ERROR_RATE, ERRORS, LATENCY, MISSING_RATE, UNKNOWN_SLOW_MS, Canary
from noria.stats import scores, sequential
from noria.stats.sequential import Sums

_FURTHEST = 0.001
"""How near to 0 or 1 a score counts in a loss: one row costs at most 6.9 nats, so that no single one decides."""

_LOSSES = {"log_loss": scores.log_loss_of_rows, "brier": scores.brier_of_rows}

_SLOW_QUANTILE, _LEAST_SLOW_MS, _FEWEST_ANSWERS = 0.95, 20.0, 200
"""An answer is slow past this quantile of the champion's; nobody notices less than so many milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One metric at one stage: the keys of both versions, in shadow also their differences, or why it is unread."""

    metric: str
    candidate: Sums = field(default_factory=Sums)
    champion: Sums = field(default_factory=Sums)
    pairs: Sums | None = None
    unread: str = ""


def samples(
    outcomes: pl.DataFrame, *, canary: Canary, stage: Stage, champion: int, candidate: int
) -> tuple[Sample, ...]:
    """Return a sample for each metric that the canary watches; see `Endpoints.outcomes` for the columns."""
    ours, theirs = _sides(outcomes, stage=stage, champion=champion, candidate=candidate)
    return tuple(_sample(name, ours, theirs, canary=canary, stage=stage) for name in canary.abort_on)


def requests_of(outcomes: pl.DataFrame, *, stage: Stage, candidate: int) -> int:
    """Return how many requests the candidate has answered, or seen in shadow."""
    mine = (pl.col("version") == candidate) & (pl.col("is_shadow") == stage.is_shadow)
    return outcomes.filter(mine)["request"].n_unique()


def slow_ms(answers: pl.DataFrame, *, champion: int) -> float:
    """Return when an answer is slow, by the champion's own requests before a rollout begins.

    Any bar does that is fixed before what it is used on: candidate and champion are then held against the same one.
    """
    mine = answers.filter((pl.col("version") == champion) & ~pl.col("is_shadow")).drop_nulls("latency_ms")
    latencies = mine.group_by("request").agg(pl.col("latency_ms").mean())["latency_ms"]
    if latencies.len() < _FEWEST_ANSWERS:
        return UNKNOWN_SLOW_MS
    bar = latencies.quantile(_SLOW_QUANTILE)
    assert bar is not None
    return max(bar, _LEAST_SLOW_MS)


def _sides(outcomes: pl.DataFrame, *, stage: Stage, champion: int, candidate: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = outcomes.with_columns(pl.col("key").cast(pl.String).fill_null(pl.col("request").cast(pl.String)))
    shadow, version = pl.col("is_shadow"), pl.col("version")
    ours = rows.filter((version == candidate) & (shadow == stage.is_shadow))
    theirs = rows.filter((version == champion) & ~shadow)
    # In a canary the champion stands in where the candidate has failed: that answer is not of the champion's keys.
    return ours, theirs if stage.is_shadow else theirs.join(ours, on="request", how="anti")


def _sample(metric: str, ours: pl.DataFrame, theirs: pl.DataFrame, *, canary: Canary, stage: Stage) -> Sample:
    try:
        first, second = (_requests(_values(metric, side, canary)) for side in (ours, theirs))
    except Invalid as problem:
        return Sample(metric=metric, unread=problem.sentence)
    if not first.height or not second.height:
        whose = "candidate" if not first.height else "champion"
        return Sample(metric=metric, unread=f"no answers of the {whose} that tell it")
    if not stage.is_shadow:
        return Sample(metric=metric, candidate=_keys(first, "value"), champion=_keys(second, "value"))
    both = first.join(second.rename({"value": "other"}).drop("key"), on="request")
    both = both.with_columns((pl.col("value") - pl.col("other")).alias("difference"))
    return Sample(
        metric=metric,
        candidate=_keys(both, "value"),
        champion=_keys(both, "other"),
        pairs=_keys(both, "difference"),
    )


def _values(metric: str, rows: pl.DataFrame, canary: Canary) -> pl.DataFrame:
    """Return `key`, `request` and the metric's `value` of each answer that tells it; more is worse."""
    readable = pl.col("score").cast(pl.Float64).is_finite().fill_null(value=False)
    if metric == ERROR_RATE:
        value = (pl.col("error").is_not_null() | ~readable).cast(pl.Float64)
    elif metric == LATENCY:
        value = (pl.col("latency_ms") > (canary.slow_ms or UNKNOWN_SLOW_MS)).cast(pl.Float64)
    elif metric == MISSING_RATE:
        value = pl.col("missing").cast(pl.Float64)
    elif metric in ERRORS:
        value = _error(metric, canary)
        rows = rows.filter(readable & pl.col("label").is_finite().fill_null(value=False))
    else:
        return _losses(metric, rows.filter(readable & pl.col("label").is_not_null()))
    return rows.select("key", "request", value.alias("value")).drop_nulls("value")


def _error(metric: str, canary: Canary) -> pl.Expr:
    """Return how far a score is from its label, as a share of the worst error that counts."""
    assert canary.worst_error is not None
    share = ((pl.col("score") - pl.col("label")).abs() / canary.worst_error).clip(0, 1)
    return share**2 if metric == "squared_error" else share


def _losses(metric: str, rows: pl.DataFrame) -> pl.DataFrame:
    if not rows.height:
        return rows.select("key", "request", pl.lit(0.0).alias("value"))
    labels = rows["label"].cast(pl.Float64, strict=False).to_numpy()
    said = rows["score"].cast(pl.Float64).to_numpy()
    if ((said < 0) | (said > 1)).any():  # looked at before they are bounded, which would hide it
        raise Invalid("scores are not probabilities")
    losses = _LOSSES[metric](labels, said.clip(_FURTHEST, 1 - _FURTHEST))
    return rows.select("key", "request").with_columns(pl.Series("value", losses))


def _requests(values: pl.DataFrame) -> pl.DataFrame:
    return values.group_by("request").agg(pl.col("key").first(), pl.col("value").mean())


def _keys(requests: pl.DataFrame, column: str) -> Sums:
    return sequential.sums(requests.group_by("key").agg(pl.col(column).mean())[column].to_numpy())
