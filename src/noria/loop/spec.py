"""The central noun: everything that a team must decide about continuous training stands in one object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from noria.core import digests
from noria.core.durations import as_duration, spell_duration
from noria.core.errors import Invalid
from noria.datasets.model import Dataset
from noria.evaluation.spec import Evaluation, Gate
from noria.guards.quality import check_quality
from noria.guards.schemas import check_schema
from noria.guards.spec import Guard
from noria.loop.declaring import Expected, must_be_measured, must_be_of_kind, must_take
from noria.loop.triggers import Trigger, new_labels, to_plain
from noria.pipelines import Pipeline, Secret, code_digest
from noria.rollouts.spec import LOSSES, Canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Whether a person looks at a candidate that has passed its gate, and how long it waits for one.

    A candidate that nobody has approved when `within` has passed is declined. Whoever reviews needs the permission to.
    """

    required: bool = True
    within: timedelta | str = "7d"

    def __post_init__(self) -> None:
        object.__setattr__(self, "within", as_duration(self.within))
        if self.waits <= timedelta(0):
            raise Invalid("a review needs time", hint="for example Review(within='7d')")

    @property
    def waits(self) -> timedelta:
        """Return how long a candidate waits."""
        return as_duration(self.within)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"required": self.required, "within": spell_duration(self.waits)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a loop may spend on training in a calendar month (UTC); a cycle that would go over is skipped, in words.

    Each training is counted in full, also where the cache has spared it. `usd_per_cpu_hour` is the price by which
    seconds become money. The next training is expected to cost what the last one did.
    """

    cpu_seconds_per_month: float | None = None
    usd_per_month: float | None = None
    usd_per_cpu_hour: float = 0.05

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.cpu_seconds_per_month, self.usd_per_month) if limit is not None]
        if not limits:
            raise Invalid(
                "a budget needs a limit", hint="Budget(usd_per_month=200) or Budget(cpu_seconds_per_month=3600)"
            )
        if min(*limits, self.usd_per_cpu_hour) <= 0:
            raise Invalid("limits and prices of a budget are above 0")

    def usd(self, cpu_seconds: float) -> float:
        """Return what so much computing costs."""
        return cpu_seconds / 3600 * self.usd_per_cpu_hour

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "cpu_seconds_per_month": self.cpu_seconds_per_month,
            "usd_per_month": self.usd_per_month,
            "usd_per_cpu_hour": self.usd_per_cpu_hour,
        }


_OURS: Mapping[str, Expected] = {
    "review": ((Review,), "a review", "review=nr.Review(within='7d')"),
    "budget": ((Budget, type(None)), "a budget", "budget=nr.Budget(usd_per_month=200), or None"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Continuous training of one model on one dataset: when to train, how to judge, what to promote.

    `train` is a pipeline whose first parameter takes the training rows (a Polars frame with the dataset's columns and
    its label) and which returns a `Model`; `params` are its other arguments. `guards` judge what is new before anything
    learns from it. `window` is how far back training rows reach, None for all. `gate=None` lets every candidate pass
    unjudged. `review` asks for a person's word. `rollout` lets in what has passed step by step, beside the champion, at
    the endpoint named like the loop; None promotes it at once. `budget` is what training may cost a month. `cooldown` is the shortest time between the
    openings of two cycles. `model` is the registry's name for what is trained; the loop's name if not given.

    Raises `Invalid` for a name, a duration or a combination that cannot work.
    """

    name: str = field(kw_only=False)
    dataset: Dataset
    train: Pipeline[..., Any]
    when: Trigger = field(default_factory=lambda: new_labels(1000))
    guards: Sequence[Guard] = field(default_factory=lambda: (check_schema(), check_quality()))
    evaluate: Evaluation = field(default_factory=Evaluation)
    gate: Gate | None = field(default_factory=Gate)
    review: Review = field(default_factory=lambda: Review(required=False))
    rollout: Canary | None = None
    budget: Budget | None = None
    window: timedelta | str | None = None
    cooldown: timedelta | str = timedelta(0)
    min_rows: int = 100
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: str = ""

    def __post_init__(self) -> None:
        must_be_of_kind(self, _OURS)
        must_take(self.train, self.params)
        must_be_measured(self.when, self.evaluate, self.gate)
        if not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise Invalid(f"{self.name!r} is no name for a loop", hint="use letters, digits, '-', '_' and '.'")
        if self.gate is not None and self.evaluate.holdout is None:
            raise Invalid(
                "a gate needs rows to judge on, and this evaluation holds none back",
                hint="give Evaluation(holdout='7d'), or gate=None to promote unjudged",
            )
        if self.rollout is not None and self.judges_numbers and set(self.rollout.abort_on) & set(LOSSES):
            raise Invalid(
                "the loop judges numbers, and its canary waits for the loss of probabilities",
                hint='Canary(abort_on=["error_rate", "latency", "missing_rate", "absolute_error"], worst_error=60)',
            )
        object.__setattr__(self, "model", self.model or self.name)
        object.__setattr__(self, "guards", tuple(self.guards))
        object.__setattr__(self, "cooldown", as_duration(self.cooldown))
        object.__setattr__(self, "window", None if self.window is None else as_duration(self.window))

    @property
    def judges_numbers(self) -> bool:
        """Say whether all metrics are those of numbers, not of classes."""
        return set(self.evaluate.metrics) <= {"mae", "rmse"}

    @property
    def reach(self) -> timedelta | None:
        """Return how far back training rows reach."""
        return None if self.window is None else as_duration(self.window)

    @property
    def pause(self) -> timedelta:
        """Return the shortest time between the openings of two cycles."""
        return as_duration(self.cooldown)

    def to_plain(self) -> dict[str, Any]:
        """Return the declaration as plain values: what the record keeps of it."""
        return {
            "name": self.name,
            "dataset": self.dataset.name,
            "train": self.train.name,
            "code": code_digest(self.train.function),
            "when": to_plain(self.when),
            "guards": [guard.to_plain() for guard in self.guards],
            "evaluate": self.evaluate.to_plain(),
            "gate": None if self.gate is None else self.gate.to_plain(),
            "review": self.review.to_plain(),
            "budget": None if self.budget is None else self.budget.to_plain(),
            "rollout": None if self.rollout is None else self.rollout.to_plain(),
            "window": None if self.reach is None else spell_duration(self.reach),
            "cooldown": spell_duration(self.pause),
            "min_rows": self.min_rows,
            "params": self.plain_params(),
            "model": self.model,
        }

    def plain_params(self) -> dict[str, Any]:
        """Return the params as JSON has them: of a secret it is where that stands."""
        return {name: each.reference if isinstance(each, Secret) else each for name, each in self.params.items()}

    def digest(self) -> str:
        """Return the digest of the declaration, its code included."""
        return digests.of_json(self.to_plain())
