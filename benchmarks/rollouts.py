"""2,000 simulated rollouts a row: how often a canary takes back what is as good, lets in what is worse, and how soon.

Every look is the real one: `rules.decide` on sums of keys, in shadow by pairs, then at 5% and 25% of the keys. Beside
it stands what a z-test at 5% says of the same error counts when it is looked at as often.
"""

import math
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from noria.rollouts.model import Next
from noria.rollouts.observing import Sample
from noria.rollouts.rules import Seen, decide
from noria.rollouts.spec import MARGINS, Canary
from noria.stats import sequential
from noria.stats.sequential import Sums

LOOKS, MANY, FEW = 24, 20_000, 2_000
START, HOUR = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
USUAL = {"error_rate": 0.05, "latency": 0.05, "missing_rate": 0.1, "log_loss": 0.45}
CANARY = Canary(shadow="3h", min_time="2h", look_every="1h", abort_on=tuple(USUAL))
ONE_STAGE = replace(CANARY, shadow=None, stages=(0.25, 1.0))
PATIENT = replace(ONE_STAGE, tolerances=MARGINS)
HALF = replace(CANARY, shadow=None, stages=(0.5, 1.0))
WATCHED = replace(CANARY, shadow=None, stages=(0.25, 1.0), min_time="48h")


@dataclass
class Outcome:
    """How one rollout ended after at most 24 looks."""

    ended: Next
    looks: int
    stage: int
    live: int = 0
    aborted_on: tuple[str, ...] = ()
    z_test_cried: bool = False


@dataclass
class Stream:
    """The sums of one stage so far."""

    candidate: dict[str, Sums] = field(default_factory=dict)
    champion: dict[str, Sums] = field(default_factory=dict)
    pairs: dict[str, Sums] = field(default_factory=dict)

    def add(self, side, metric, found):
        known = getattr(self, side).get(metric, Sums())
        total, squares = known.total + found.total, known.squares + found.squares
        getattr(self, side)[metric] = Sums(units=known.units + found.units, total=total, squares=squares)


def drawn(chance, metric, mean, keys):
    """Draw the sums of new keys: events, a few missing features, or losses with a long tail."""
    if metric == "log_loss":
        return sequential.sums(chance.exponential(mean, size=keys))
    if metric == "missing_rate":
        return sequential.sums(chance.poisson(mean, size=keys))
    events = float(chance.binomial(keys, mean))
    return Sums(units=keys, total=events, squares=events)


def drawn_pairs(chance, metric, ours, theirs, keys):
    """Draw the sums of differences: losses share their row, events and missing features do not."""
    if metric == "log_loss":
        return sequential.sums(chance.normal(ours - theirs, 0.15, size=keys))
    if metric == "missing_rate":
        return sequential.sums(chance.poisson(ours, size=keys) - chance.poisson(theirs, size=keys).astype(float))
    chances = [ours * (1 - theirs), theirs * (1 - ours)]
    worse, better, _ = chance.multinomial(keys, [*chances, 1 - sum(chances)])
    return Sums(units=keys, total=float(worse - better), squares=float(worse + better))


def an_hour(chance, stream, stage, means, keys):
    for metric, theirs in USUAL.items():
        if stage.is_shadow:
            found = drawn_pairs(chance, metric, means[metric], theirs, keys)
            for side in ("candidate", "champion"):
                stream.add(side, metric, Sums(units=keys))
            stream.add("pairs", metric, found)
        else:
            ours = round(keys * stage.weight)
            stream.add("candidate", metric, drawn(chance, metric, means[metric], ours))
            stream.add("champion", metric, drawn(chance, metric, theirs, keys - ours))
    return 0 if stage.is_shadow else round(keys * stage.weight)


def z_cries(stream):
    ours, theirs = stream.candidate["error_rate"], stream.champion["error_rate"]
    pooled = (ours.total + theirs.total) / (ours.units + theirs.units)
    error = math.sqrt(pooled * (1 - pooled) * (1 / ours.units + 1 / theirs.units))
    return error > 0 and abs(ours.mean - theirs.mean) / error > 1.959964


def one(chance, canary, means, keys):
    stage, since, stream, shown, at_stage = 0, START, Stream(), (), 0
    found = Outcome(ended=Next.WAIT, looks=LOOKS, stage=0)
    for number in range(1, LOOKS + 1):
        place = canary.plan()[stage]
        live = an_hour(chance, stream, place, means, keys)
        found.live, at_stage = found.live + live, at_stage + (live or keys)
        found.z_test_cried |= not place.is_shadow and z_cries(stream)
        samples = tuple(
            Sample(metric=m, candidate=stream.candidate[m], champion=stream.champion[m], pairs=stream.pairs.get(m))
            for m in USUAL
        )
        seen = Seen(
            stage=stage, since=since, now=START + number * HOUR, samples=samples, requests=at_stage, shown=shown
        )
        look = decide(canary, seen)
        if look.next in (Next.FINISH, Next.ABORT):
            return replace(found, ended=look.next, looks=number, stage=stage, aborted_on=look.aborted_on)
        if look.next is Next.ADVANCE:
            stage, since, stream, shown, at_stage = stage + 1, seen.now, Stream(), look.shown, 0
    return replace(found, stage=stage)


def simulate(rollouts, *, seed, canary=CANARY, keys=MANY, **worse):
    chance = np.random.default_rng(seed)
    means = USUAL | {metric: USUAL[metric] + by for metric, by in worse.items()}
    return [one(chance, canary, means, keys) for _ in range(rollouts)]


SCENARIOS = {
    "equal": {},
    "equal, one stage of 25%": {"canary": ONE_STAGE},
    "equal, watched for all 24 looks": {"canary": WATCHED},
    "equal, watched, a tenth of the keys": {"canary": WATCHED, "keys": FEW},
    **{f"{metric} worse by the margin": {metric: CANARY.margin(metric)} for metric in USUAL},
    **{f"the same at 25%, tolerated: {metric}": {metric: CANARY.margin(metric), "canary": PATIENT} for metric in USUAL},
    "errors 5% to 8%, shadow first": {"error_rate": 0.03, "keys": FEW},
    "errors 5% to 8%, at 5% of the keys": {"error_rate": 0.03, "keys": FEW, "canary": replace(CANARY, shadow=None)},
    "errors 5% to 8%, at half of the keys": {"error_rate": 0.03, "keys": 400, "canary": HALF},
}


def main():
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{rollouts:,} rollouts a row, {LOOKS} hourly looks, {len(USUAL)} metrics, alpha {CANARY.alpha}")
    head = ("taken back", "let in", "waiting", "looks", "live answers", "z-test cries", "s")
    print(f"{'candidate':<40}" + "".join(f"{name:>14}" for name in head))
    for seed, (name, told) in enumerate(SCENARIOS.items()):
        began = time.perf_counter()
        found = simulate(rollouts, seed=seed, **told)
        shares = [sum(one.ended is end for one in found) / rollouts for end in (Next.ABORT, Next.FINISH, Next.WAIT)]
        looks = statistics.median(one.looks for one in found)
        live = statistics.median(one.live for one in found)
        cried = sum(one.z_test_cried for one in found) / rollouts
        figures = [*(f"{share:.2%}" for share in shares), f"{looks:g}", f"{live:,.0f}", f"{cried:.1%}"]
        print(f"{name:<40}" + "".join(f"{figure:>14}" for figure in (*figures, f"{time.perf_counter() - began:.1f}")))


if __name__ == "__main__":
    main()
