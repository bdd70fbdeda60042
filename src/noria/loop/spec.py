"""The central noun: everything that a team must decide about continuous training stands in one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from noria.core import digests
from noria.core.durations import as_duration, spell_duration
from noria.core.errors import Invalid
from noria.datasets.model import Dataset
from noria.evaluation.spec import Evaluation, Gate
from noria.loop.triggers import Trigger, new_labels, to_plain
from noria.pipelines import Pipeline, code_digest
from noria.rollouts.spec import Canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Continuous training of one model on one dataset: when to train, how to judge, what to promote.

    `train` is a pipeline whose first parameter takes the training rows (a Polars frame with the dataset's columns and
    its label) and which returns a `Model`; `params` are its other arguments. `window` is how far back training rows
    reach, None for all. `gate=None` lets every candidate pass unjudged. `rollout` lets in what has passed step by step,
    beside the champion, at the endpoint named like the loop; None promotes it at once. `cooldown` is the shortest time between the
    openings of two cycles. `model` is the registry's name for what is trained; the loop's name if not given.

    Raises `Invalid` for a name, a duration or a combination that cannot work.
    """

    name: str = field(kw_only=False)
    dataset: Dataset
    train: Pipeline[..., Any]
    when: Trigger = field(default_factory=lambda: new_labels(1000))
    evaluate: Evaluation = field(default_factory=Evaluation)
    gate: Gate | None = field(default_factory=Gate)
    rollout: Canary | None = None
    window: timedelta | str | None = None
    cooldown: timedelta | str = timedelta(0)
    min_rows: int = 100
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: str = ""

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise Invalid(f"{self.name!r} is no name for a loop", hint="use letters, digits, '-', '_' and '.'")
        if self.gate is not None and self.evaluate.holdout is None:
            raise Invalid(
                "a gate needs rows to judge on, and this evaluation holds none back",
                hint="give Evaluation(holdout='7d'), or gate=None to promote unjudged",
            )
        object.__setattr__(self, "model", self.model or self.name)
        object.__setattr__(self, "cooldown", as_duration(self.cooldown))
        object.__setattr__(self, "window", None if self.window is None else as_duration(self.window))

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
            "evaluate": self.evaluate.to_plain(),
            "gate": None if self.gate is None else self.gate.to_plain(),
            "rollout": None if self.rollout is None else self.rollout.to_plain(),
            "window": None if self.reach is None else spell_duration(self.reach),
            "cooldown": spell_duration(self.pause),
            "min_rows": self.min_rows,
            "params": dict(self.params),
            "model": self.model,
        }

    def digest(self) -> str:
        """Return the digest of the declaration, its code included."""
        return digests.of_json(self.to_plain())
