"""What a team decides about judging: which rows, which metrics, which slices, and how high the bar is."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from noria.core.durations import as_duration, spell_duration
from noria.core.errors import Invalid
from noria.evaluation import metrics

Test = Literal["non_inferiority", "superiority"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Which rows judge a candidate, by which metrics and slices.

    `holdout` is how long a tail is held back from the candidate's training ("7d"); None holds nothing back, and then
    only a loop without a gate can promote. With `refit`, an accepted recipe is trained once more through now.
    `block` says what is resampled as a whole: "day", or a column (rows of one patient, of one route). `min_rows` is
    how few labelled rows are too few to judge.
    """

    metrics: tuple[str, ...] | list[str] = ("auc", "log_loss")
    slices: tuple[str, ...] | list[str] = ()
    holdout: timedelta | str | None = "7d"
    refit: bool = True
    block: str = "day"
    min_rows: int = 200

    def __post_init__(self) -> None:
        for name in self.metrics:
            metrics.named(name)
        if not self.metrics:
            raise Invalid("an evaluation needs a metric", hint=f"one of {', '.join(metrics.NAMES)}")
        object.__setattr__(self, "metrics", tuple(self.metrics))
        object.__setattr__(self, "slices", tuple(self.slices))
        object.__setattr__(self, "holdout", None if self.holdout is None else as_duration(self.holdout))

    @property
    def tail(self) -> timedelta | None:
        """Return how long a tail is held back."""
        return None if self.holdout is None else as_duration(self.holdout)

    @property
    def refits(self) -> bool:
        """Say whether an accepted recipe is trained once more: only where a tail was held back."""
        return self.refit and self.holdout is not None

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "metrics": list(self.metrics),
            "slices": list(self.slices),
            "holdout": None if self.tail is None else spell_duration(self.tail),
            "refit": self.refit,
            "block": self.block,
            "min_rows": self.min_rows,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The bar that a candidate must clear beside the champion, on the same rows.

    `metric` is what is tested, and `guards` are further metrics that must not be worse by more than their margin.
    `test="non_inferiority"` asks that the candidate is not worse by `margin`; "superiority" that it is better. Both
    hold the chance of a wrong promotion under `alpha` (one-sided): at a true difference of minus the margin, or of
    nothing. `min_gain` is the least estimated gain in `metric` that is worth a promotion; None asks for none.
    `max_slice_drop` is how much worse a slice of at least `min_slice_rows` rows may be. `anchor_margin` is how much
    worse than the anchor version a candidate may be. An unsure gate waits `patience` for the labels that it names and
    looks once more, at half of alpha each time; without patience an unsure candidate is rejected.

    All margins are in the units of their metric. Raises `Invalid` for values that cannot be meant.
    """

    metric: str = field(default="log_loss", kw_only=False)
    test: Test = "non_inferiority"
    margin: float = 0.01
    alpha: float = 0.05
    min_gain: float | None = None
    guards: tuple[tuple[str, float], ...] | list[tuple[str, float]] = ()
    max_slice_drop: float | None = None
    min_slice_rows: int = 500
    anchor_margin: float | None = None
    patience: timedelta | str = timedelta(0)

    def __post_init__(self) -> None:
        if self.test not in ("non_inferiority", "superiority"):
            raise Invalid(f"{self.test!r} is no test", hint="'non_inferiority' or 'superiority'")
        for name in self.watched:
            metrics.named(name)
        if not 0 < self.alpha < 0.5:  # noqa: PLR2004 - a chance of error, below a coin's
            raise Invalid(f"alpha is {self.alpha}, not a chance of error", hint="0.05 is usual")
        if self.margin < 0 or any(margin < 0 for _, margin in self.guards):
            raise Invalid("a margin is how much worse is still accepted, and cannot be negative")
        object.__setattr__(self, "guards", tuple(self.guards))
        object.__setattr__(self, "patience", as_duration(self.patience))

    @property
    def waits(self) -> timedelta:
        """Return how long an unsure gate waits."""
        return as_duration(self.patience)

    @property
    def alpha_per_look(self) -> float:
        """Return the chance of error that one look may use: half where the gate may look twice (Bonferroni)."""
        return self.alpha / 2 if self.waits else self.alpha

    @property
    def watched(self) -> tuple[str, ...]:
        """Return all metrics that the gate looks at."""
        return (self.metric, *(name for name, _ in self.guards))

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "metric": self.metric,
            "test": self.test,
            "margin": self.margin,
            "alpha": self.alpha,
            "min_gain": self.min_gain,
            "guards": [list(guard) for guard in self.guards],
            "max_slice_drop": self.max_slice_drop,
            "min_slice_rows": self.min_slice_rows,
            "anchor_margin": self.anchor_margin,
            "patience": spell_duration(self.waits),
        }
