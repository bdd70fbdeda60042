"""How often the poisoning check finds flipped labels, and how often the guards touch clean data: `python benchmarks/poisoning.py`.

Each week of 2013 from March on is judged by a champion that was trained on the eight weeks before it. Bars were chosen
on January to April; the tables are of May to December, the clean year is of March to December. Each carrier's labels
come through a feed of its own. Clean days are judged each night: all rows since the week's champion was trained.
"""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

import noria as nr
from noria.cli.demo import flights as demo
from noria.cli.demo.recipe import FLIGHTS, TICK_HOUR, features
from noria.core.clock import MachineStopwatch
from noria.datasets.model import LABEL_SOURCE, ROW_SOURCE
from noria.guards import rules
from noria.guards.model import Action
from noria.guards.spec import Batch

WEEK, DAY = timedelta(days=7), timedelta(days=1)
FIRST, TESTED, LAST = (datetime(2013, *day, TICK_HOUR, tzinfo=UTC) for day in ((3, 4), (5, 6), (12, 24)))
REACH = 8 * WEEK
CARRIERS = ("UA", "EV", "B6", "DL", "AA", "MQ", "US", "9E", "WN")
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
GUARDS = (nr.check_schema(), nr.check_quality(), nr.check_poisoning(), nr.check_feedback_loop())


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A week of flights with the scores of the champion before it, and the eight weeks that it learned from."""

    number: int
    begin: datetime
    rows: pl.DataFrame
    scores: np.ndarray
    trusted: pl.DataFrame


def week(flights: pl.DataFrame, begin: datetime) -> Judged:
    """Train the champion of a week on the weeks before, and let it score the week."""
    when = pl.col("scheduled_at")
    trusted = flights.filter((when >= begin - REACH) & (when < begin) & (pl.col("known_at") <= begin))
    boosting = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=15, min_samples_leaf=100, categorical_features=[0, 1], early_stopping=False,
        random_state=0,
    )  # fmt: skip
    boosting.fit(features(trusted), trusted["late"].to_numpy())
    rows = flights.filter((when >= begin) & (when < begin + WEEK)).with_columns(
        pl.lit("departures").alias(ROW_SOURCE), pl.format("arrivals/{}", "carrier").alias(LABEL_SOURCE)
    )
    scores = boosting.predict_proba(features(rows))[:, 1]
    number = 1 + (begin - FIRST) // WEEK
    return Judged(number=number, begin=begin, rows=rows, scores=scores, trusted=trusted)


def judge(one: Judged, until: datetime, *, flipped: str = "", share: float = 0.0, seed: int = 0):
    """Judge the rows of a week through a moment, some of one carrier's labels flipped."""
    there = (one.rows["scheduled_at"] < until).to_numpy()
    known = pl.when(pl.col("known_at") <= until)
    hit = pl.Series(np.random.default_rng([seed, one.number]).random(one.rows.height) < share)
    told = pl.col("late") ^ ((pl.col("carrier") == flipped) & hit)
    rows = one.rows.with_columns(known.then(told).alias("late")).filter(there)
    batch = Batch(
        dataset=FLIGHTS, rows=rows, until=until, through=1, number=one.number, trusted=one.trusted,
        scores=one.scores[there],
    )  # fmt: skip
    return rules.judge(batch, GUARDS)


def table(weeks: list[Judged]) -> None:
    """Print how often each carrier's flips are found, by share, and how often another carrier is held instead."""
    print(f"\nweeks judged: {len(weeks)}, one at a time, May to December; found (and others held) by share flipped\n")
    print("carrier  labels/week  " + "  ".join(f"{share:>10.0%}" for share in SHARES))
    for carrier in CARRIERS:
        told = []
        for share in SHARES:
            found = [judge(one, one.begin + WEEK + DAY / 2, flipped=carrier, share=share) for one in weeks]
            held = [{finding.source for finding in each.findings if finding.holds} for each in found]
            hit = sum(f"arrivals/{carrier}" in sources for sources in held)
            others = sum(bool(sources - {f"arrivals/{carrier}"}) for sources in held)
            told.append(f"{hit:>3}/{len(weeks)} ({others})")
        size = int(np.mean([one.rows.filter(pl.col("carrier") == carrier).height for one in weeks]))
        print(f"{carrier:<7}  {size:>11,}  " + "  ".join(f"{cell:>10}" for cell in told), flush=True)


def clean_days(weeks: list[Judged]) -> tuple[int, list[tuple[datetime, str]]]:
    """Return how many clean days were judged, and those with a row held or the cycle stopped, with the reason."""
    touched, days = [], 0
    for one in weeks:
        for day in range(1, 8):
            until = one.begin + day * DAY
            found = judge(one, until)
            days += 1
            grave = [finding.words for finding in found.findings if finding.action.gravity >= Action.QUARANTINE.gravity]
            if grave:
                touched.append((until, "; ".join(grave)))
    return days, touched


def begins(first: datetime, *, every: int = 1) -> list[datetime]:
    """Return the beginnings of the weeks from one on."""
    return [first + WEEK * number for number in range(0, (LAST - first) // WEEK + 1, every)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=8, help="judge every so many weeks in the table")
    parser.add_argument("--clean", action="store_true", help="judge all clean days of March to December as well")
    chosen = parser.parse_args()
    watch = MachineStopwatch()
    flights = demo.load(demo.folder())
    with threadpool_limits(1, user_api="openmp"):
        table([week(flights, begin) for begin in begins(TESTED, every=chosen.every)])
        if chosen.clean:
            days, touched = clean_days([week(flights, begin) for begin in begins(FIRST)])
            print(f"\nclean days judged: {days}; with a row held or the cycle stopped: {len(touched)}")
            for until, words in touched:
                print(f"  {until:%Y-%m-%d}  {words}")
    print(f"\n{watch.cpu():.0f} s CPU")


if __name__ == "__main__":
    main()
