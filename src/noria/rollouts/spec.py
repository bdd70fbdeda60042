"""What a team decides about letting a candidate in: shadow, stages, what is watched, and how sure to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from noria.core.durations import as_duration, spell_duration
from noria.core.errors import Invalid, NotFound
from noria.rollouts.model import Stage

ERROR_RATE, LATENCY, MISSING_RATE = "error_rate", "latency", "missing_rate"
OPERATIONAL = (ERROR_RATE, LATENCY, MISSING_RATE)
"""What is known with the answer itself; the losses wait for labels."""
LOSSES = ("log_loss", "brier")
ERRORS = ("absolute_error", "squared_error")
"""What is known with the label of a number: shares of the worst error that counts."""

MARGINS: Mapping[str, float] = {
    ERROR_RATE: 0.01,
    LATENCY: 0.02,
    MISSING_RATE: 0.05,
    "log_loss": 0.01,
    "brier": 0.005,
    "absolute_error": 0.01,
    "squared_error": 0.005,
}
"""How much worse a candidate may be, unless a team says otherwise: in events, features, nats or worst errors, a request."""

UNKNOWN_SLOW_MS = 100.0
"""When an answer is slow, where the champion has given too few answers to say it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """How a candidate is let in: it first sees every request in shadow, then answers a growing share of the keys.

    `shadow` is how long ("3d"; None for none), `stages` are the shares of the keys; at the last, 1.0, the candidate
    becomes the champion. Each of `abort_on` is compared with the champion at the same time, again and again, by bounds
    that hold at all looks at once:

    - `error_rate`: requests without a score; `missing_rate`: how many of a version's own features are missing;
    - `latency`: the share of requests answered in more than `slow_ms`. Where that is not given it is fixed when the
      rollout begins: the champion's 95th percentile over the week before, but at least 20 ms (100 ms before the champion
      has given 200 answers). So the champion has about 0.05;
    - `log_loss`, `brier`: of the requests whose label is known by then, scores kept 0.001 away from 0 and 1;
    - `absolute_error`, `squared_error`: for numbers, in shares of `worst_error` (of its square): an error that large or
      larger counts 1, so that no single row decides. With `worst_error=60` minutes, 0.1 is a mean absolute error of 6.

    The candidate is taken back at once when it is surely worse than the champion by more than the metric's tolerance
    (`tolerances`, 0 where not given). A stage is passed when it has lasted (`shadow`, then `min_time`), the candidate
    has answered `min_requests`, and every metric is surely within its margin (`margins`): those known with the answer
    at each stage, a loss, whose labels come late, once. One that is still not passed `patience` later is taken back.

    `alpha` is the chance that a candidate as good as the champion is ever taken back as worse, and that one worse by a
    margin is let in: over all looks, stages and metrics. Looks are `look_every` apart. Raises `Invalid` for values
    that cannot be meant.
    """

    shadow: timedelta | str | None = "3d"
    stages: tuple[float, ...] | list[float] = (0.05, 0.25, 1.0)
    abort_on: tuple[str, ...] | list[str] = (*OPERATIONAL, "log_loss")
    margins: Mapping[str, float] = field(default_factory=dict[str, float])
    tolerances: Mapping[str, float] = field(default_factory=dict[str, float])
    slow_ms: float | None = None
    worst_error: float | None = None
    alpha: float = 0.05
    min_time: timedelta | str = "1h"
    min_requests: int = 200
    patience: timedelta | str = "14d"
    look_every: timedelta | str = "5m"

    def __post_init__(self) -> None:
        for name in (*self.abort_on, *self.margins, *self.tolerances):
            if name not in MARGINS:
                raise NotFound("metric of a rollout", name, known=MARGINS)
        _refuse_stages(self.stages)
        shadow = None if self.shadow is None else as_duration(self.shadow)
        durations = {name: as_duration(getattr(self, name)) for name in ("min_time", "patience", "look_every")}
        kept = {"shadow": shadow or None, "stages": tuple(self.stages), "abort_on": tuple(dict.fromkeys(self.abort_on))}
        for name, value in (kept | durations).items():
            object.__setattr__(self, name, value)
        self._refuse_what_cannot_be_meant()

    def _refuse_what_cannot_be_meant(self) -> None:
        if not self.abort_on:
            raise Invalid("a canary that watches nothing judges nothing", hint=f"abort_on: {', '.join(MARGINS)}")
        if not self.plan():
            raise Invalid("without shadow and with the one stage 1.0 there is nothing to watch", hint="rollout=None")
        if not 0 < self.alpha < 0.5:  # noqa: PLR2004 - a chance of error, below a coin's
            raise Invalid(f"alpha is {self.alpha}, not a chance of error", hint="0.05 is usual")
        if any(bar is not None and not 0 < bar < float("inf") for bar in (self.slow_ms, self.worst_error)):
            raise Invalid("slow_ms and worst_error are above 0", hint="Canary(slow_ms=100, worst_error=60)")
        if self.worst_error is None and any(name in ERRORS for name in self.abort_on):
            raise Invalid(
                "an error of numbers is judged in shares of the worst one that counts",
                hint="give it in the label's units: Canary(worst_error=60)",
            )
        if any(self.margin(name) <= 0 or self.tolerance(name) < 0 for name in self.abort_on):
            raise Invalid(
                "a margin is above 0, and a tolerance is not below", hint="both are how much worse is accepted"
            )
        if as_duration(self.look_every) <= timedelta(0):
            raise Invalid("looks have to be some time apart", hint="look_every='5m'")

    def margin(self, metric: str) -> float:
        """Return how much worse the candidate may be, in the metric's own units."""
        return self.margins.get(metric, MARGINS[metric])

    def tolerance(self, metric: str) -> float:
        """Return how much worse it has to be, surely, to be taken back."""
        return self.tolerances.get(metric, 0.0)

    def plan(self) -> tuple[Stage, ...]:
        """Return the stages at which candidate and champion are compared; after the last the candidate is champion."""
        shadow = () if self.shadow is None else (Stage(weight=0.0, lasts=as_duration(self.shadow)),)
        shares = (Stage(weight=weight, lasts=as_duration(self.min_time)) for weight in self.stages if weight < 1)
        return (*shadow, *shares)

    @property
    def alpha_to_pass(self) -> float:
        """Return the chance of error of one metric's upper bound at one stage: any stage might let it pass."""
        return self.alpha / len(self.plan())

    @property
    def alpha_to_abort(self) -> float:
        """Return the chance of error of one metric's lower bound at one stage: any metric might take it back."""
        return self.alpha_to_pass / len(self.abort_on)

    @property
    def waits(self) -> timedelta:
        """Return how long a stage that has lasted may still wait for its evidence."""
        return as_duration(self.patience)

    @property
    def pause(self) -> timedelta:
        """Return the time between two looks."""
        return as_duration(self.look_every)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "shadow": None if self.shadow is None else spell_duration(as_duration(self.shadow)),
            "stages": list(self.stages),
            "abort_on": list(self.abort_on),
            "margins": {name: self.margin(name) for name in self.abort_on},
            "tolerances": {name: self.tolerance(name) for name in self.abort_on},
            "slow_ms": self.slow_ms,
            "worst_error": self.worst_error,
            "alpha": self.alpha,
            "min_time": spell_duration(as_duration(self.min_time)),
            "min_requests": self.min_requests,
            "patience": spell_duration(self.waits),
            "look_every": spell_duration(self.pause),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Canary":
        """Read it back."""
        return cls(**plain)


def _refuse_stages(stages: tuple[float, ...] | list[float]) -> None:
    given = list(stages)
    rises = all(before < after for before, after in pairwise(given))
    if not given or given[-1] != 1.0 or given[0] <= 0 or not rises:
        raise Invalid(
            f"stages {given} are no way in", hint="shares that grow and end with 1.0, such as (0.05, 0.25, 1.0)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that is to be let in at an endpoint, beside the champion that it was judged against.

    `told` is what the rollout's facts say beside: whose it is.
    """

    endpoint: str
    model: str
    version: int
    champion: int
    canary: Canary
    reason: str
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])
