"""A replay that kills itself: `python replay_and_die.py HOME ROWS REPORT DAYS [COMMIT|STATE]`.

Run without a last argument it goes through to the end and writes its report. With a number it sends itself kill -9
around that commit; with the name of a cycle's state, as soon as a cycle is in it. Which state the open cycles were in
when it died is appended to REPORT.deaths.
"""

import json
import os
import signal
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from rich.console import Console

import noria as nr
from noria.boot import open_home
from noria.cli.demo import results
from noria.cli.demo.recipe import FLIGHTS, train
from noria.cli.demo.replay import Plan, replay
from noria.cli.demo.view import Screen
from noria.core.clock import SimulatedClock

DECIDED = (
    "number", "opened_at", "settled_at", "state", "outcome", "reasons", "words",
    "candidate", "champion", "promoted", "looks", "evidence", "verdict",
)  # fmt: skip
BEGINS = datetime(2013, 1, 1, 8, tzinfo=UTC)


def loops(days):
    """Policies as in the demonstration, turned more often, so that thirty days see many cycles."""
    often = {"dataset": FLIGHTS, "train": train, "min_rows": 50}
    unheld = nr.Evaluation(holdout=None)
    judged = nr.Evaluation(slices=["origin"], holdout="3d", min_rows=50)
    gate = nr.Gate("log_loss", margin=0.05, guards=[("auc", 0.05)], min_gain=0.0)
    return [
        nr.Loop("weekly", when=nr.schedule("0 8 * * 1"), evaluate=unheld, gate=None, **often),
        nr.Loop(
            "noria", when=nr.any_of(nr.schedule("0 8 * * */2"), nr.drift(psi=0.3)), evaluate=judged, gate=gate, **often
        ),
        nr.Loop(
            "patient",
            when=nr.new_labels(400),
            evaluate=judged,
            gate=nr.Gate("auc", margin=0.002, patience="4d"),
            **often,
        ),
        nr.Loop(
            "reviewed",
            when=nr.schedule("0 8 * * 4"),
            evaluate=unheld,
            gate=None,
            review=nr.Review(within="1d"),
            **often,
        ),
    ]


def report(platform, declared, plan):
    """Return everything that was decided, without what may differ: ids, and how long it took."""
    told = {}
    for loop in declared:
        cycles = platform.loops.cycles(platform.context, loop.name)
        told[loop.name] = {
            "cycles": [{name: getattr(cycle, name) for name in DECIDED} for cycle in cycles],
            "moves": [
                [m.before, m.to, m.at.isoformat(), m.reason]
                for m in platform.registry.moves(platform.context, loop.name)
            ],
            "versions": [
                [v.number, v.parent, v.trained_through.isoformat(), v.artifact.digest]
                for v in platform.registry.versions(platform.context, loop.name)
            ],
            "weeks": [
                [w.begins.isoformat(), w.auc, w.log_loss, w.rows]
                for w in results.weekly(platform, loop, since=plan.scored_from, until=plan.ends, as_of=plan.ends)
            ],
        }
    return told


def die_when(platform, wanted, log):
    """Arrange for kill -9 at the wanted commit (half of the times just before it), or state."""
    written = platform.database.write
    commits = 0

    def states():
        with closing(platform.database.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT state FROM cycles WHERE state != 'settled'")
            return [row[0] for row in cursor.fetchall()]

    def die(found):
        with log.open("a") as file:
            file.write(json.dumps(found) + "\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def write(work, **options):
        nonlocal commits
        commits += 1
        if wanted == str(commits) and commits % 2:
            die(states())
        before = states() if not wanted.isdigit() else []
        answer = written(work, **options)
        now = states()
        if wanted == str(commits):
            die(now)
        if wanted in now or (wanted == "settled" and len(now) < len(before)):
            die([wanted])
        return answer

    platform.database.write = write


def main():
    home, rows, answer, days = sys.argv[1:5]
    plan = Plan(
        begins=BEGINS,
        starts=BEGINS + timedelta(days=10),
        scored_from=BEGINS + timedelta(days=max(10, int(days) - 14)),
        ends=BEGINS + timedelta(days=int(days)),
    )
    declared = loops(int(days))
    with open_home(home, clock=SimulatedClock(BEGINS)) as platform:
        if len(sys.argv) > 5:
            die_when(platform, sys.argv[5], Path(answer + ".deaths"))
        console = Console(quiet=True)
        with Screen(console, [loop.name for loop in declared], begins=plan.begins, ends=plan.ends) as screen:
            replay(platform, pl.read_parquet(rows), declared, plan=plan, screen=screen)
        Path(answer).write_text(json.dumps(report(platform, declared, plan), default=str))


if __name__ == "__main__":
    main()
