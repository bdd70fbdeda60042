"""A replay that is killed with -9 again and again ends like one that was left alone, and its ledger holds."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from noria.boot import open_home
from noria.cli.demo import flights
from noria.loop.model import CycleState, Outcome

SCRIPT = Path(__file__).with_name("replay_and_die.py")
STATES = [state.value for state in CycleState]
OUTSIDE = 2  # kills from outside, at moments that nobody chose
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}


def run(*words):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, words)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )


def ended(process):
    _, problem = process.communicate(timeout=600)
    assert process.returncode in (0, -signal.SIGKILL), problem
    return process.returncode == 0


def january(folder, *, every):
    """Rows of January, each `every`-th of them, in a file that a replay reads fast."""
    rows = flights.load(flights.folder()).filter(pl.col("scheduled_at") < pl.datetime(2013, 2, 3, time_zone="UTC"))
    file = folder / "january.parquet"
    rows.gather_every(every).write_parquet(file)
    return file


def replay_with_kills(folder, rows, *, days, kills, seed):
    """Kill at each state, at random commits, and at random moments from outside; then let it end."""
    chance = random.Random(seed)
    home, answer = folder / "killed", folder / "killed.json"
    planned = [*STATES, *(str(chance.randint(3, 20)) for _ in range(kills - len(STATES) - OUTSIDE))]
    chance.shuffle(planned)
    killed = sum(not ended(run(home, rows, answer, days, wanted)) for wanted in planned)
    for _ in range(OUTSIDE):
        process = run(home, rows, answer, days)
        time.sleep(chance.uniform(0.5, 1.5))
        process.kill()
        killed += not ended(process)
    assert ended(run(home, rows, answer, days))
    deaths = [state for line in Path(f"{answer}.deaths").read_text().splitlines() for state in json.loads(line)]
    return home, json.loads(answer.read_text()), killed, set(deaths)


@pytest.mark.parametrize(
    ("days", "every", "kills"),
    [
        pytest.param(16, 16, 10, id="sixteen days, ten kills"),
        pytest.param(30, 1, 25, id="thirty days, all flights, twenty-five kills", marks=pytest.mark.soak),
    ],
)
def test_a_replay_that_is_killed_at_every_state_decides_what_an_undisturbed_one_decides(tmp_path, days, every, kills):
    rows = january(tmp_path, every=every)
    undisturbed = run(tmp_path / "left alone", rows, tmp_path / "left alone.json", days)
    assert ended(undisturbed)
    expected = json.loads((tmp_path / "left alone.json").read_text())

    home, found, killed, deaths = replay_with_kills(tmp_path, rows, days=days, kills=kills, seed=days)

    assert found == expected
    assert killed == kills
    assert deaths >= set(STATES)
    with open_home(home) as platform:
        assert platform.ledger.audit().holds
        for name in found:
            cycles = platform.loops.cycles(platform.context, name)
            assert [cycle.number for cycle in cycles] == list(range(1, len(cycles) + 1))
            assert sum(cycle.is_open for cycle in cycles) <= 1
            champion = platform.registry.alias(platform.context, name).version
            made = [cycle for cycle in cycles if cycle.promoted == champion and champion is not None]
            assert all(cycle.outcome is Outcome.PROMOTED and cycle.verdict["outcome"] == "passed" for cycle in made)
            assert len(made) == (champion is not None)
