"""The crash certificate: a run that meets a fault at any of its commits ends as if nothing had been.

Each moment is a process that sends itself SIGKILL inside (before) or right after a commit; another one, or three at
once, then go on with the run. On PostgreSQL it is, besides, a process whose connection is cut before a commit was sent,
or before its answer came; it goes on by itself, alone or among three. The short version takes a sample of moments by
`CRASH_SEED`, the long one takes every moment and prints how many there were.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from crash_house import EXPECTED
from tests_runs_house import ANN, house_on

from noria.core.clock import RealClock
from noria.core.ids import TimedIds
from noria.store.blobs import open_blobs
from noria.store.opening import open_database
from noria.store.tables import metadata

SCRIPT = Path(__file__).with_name("crash_house.py")
SLACK = 3
"""Items of a map are committed by how long they took, so that a run may have this many commits fewer than another."""
SEED = int(os.environ.get("CRASH_SEED", "20260101"))
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path])}


def begin(address, folder, key, *how):
    words = [sys.executable, str(SCRIPT), address, str(folder), key, *map(str, how)]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    told, problem = process.communicate(timeout=120)
    assert process.returncode in (0, -9), problem
    return told.split() if process.returncode == 0 else None


def address_of(kind, folder, request):
    return f"sqlite:///{folder / 'noria.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql_address")


def certify(address, folder, key, expected_attempts):
    """Say what must hold after a recovery, whatever happened before."""
    clock = RealClock()
    with closing(open_database(address)) as database:
        house = house_on(database, open_blobs(str(folder / "blobs")), clock, TimedIds(clock), ANN, folder)
        runs = house.runs()
        (run,) = [run for run in runs.list(ANN, limit=1000) if run.key == key]
        assert (run.state.value, run.result) == ("succeeded", EXPECTED)
        succeeded = Counter(a.step for a in runs.attempts(ANN, run.id) if a.state == "succeeded")
        hits = {hit.step for hit in runs.hits(ANN, run.id)}
        assert set(succeeded.values()) == {1}
        assert set(succeeded) | hits == expected_attempts
        assert not set(succeeded) & hits
        told = [kind for kind, payload in house.facts() if payload["run"] == run.id]
        assert told == ["run.succeeded"]
        assert house.ledger.audit().holds


def commits_of(address, folder):
    """Run once without dying: how many commits there are, and which steps end."""
    told = ended(begin(address, folder, "undisturbed"))
    assert told is not None
    clock = RealClock()
    with closing(open_database(address)) as database:
        house = house_on(database, open_blobs(str(folder / "blobs")), clock, TimedIds(clock), ANN, folder)
        runs = house.runs()
        steps = {a.step for a in runs.attempts(ANN, told[0])} | {hit.step for hit in runs.hits(ANN, told[0])}
    return int(told[3]), steps


def moments(commits, kind, *, sample):
    every = [(number, kind, when) for number in range(1, commits + 1) for when in ("before", "after")]
    sure = [moment for moment in every if moment[0] <= commits - SLACK]
    return every if sample is None else random.Random(SEED).sample(sure, sample)


def try_all(place, kind, workers, *, sample):
    address, folder = place
    house = folder / "house"
    house.mkdir()
    prepare(address, house)
    commits, steps = commits_of(address, house)
    assert commits > 8
    tried = moments(commits, kind, sample=sample)
    for moment in tried:
        key = " ".join(map(str, moment))
        (house / "flaky has failed").unlink(missing_ok=True)
        forget_cache(address)
        {"kill": try_kill, "cut": try_cut}[kind](address, house, key, moment, workers, commits)
        certify(address, house, key, steps)
    print(f"{kind} on {address.partition(':')[0]}, workers: {workers}, moments: {len(tried)}")


def try_kill(address, house, key, moment, workers, commits):
    killed = ended(begin(address, house, key, *moment)) is None
    assert killed or moment[0] > commits - SLACK, key
    assert_all_saw_the_same([begin(address, house, key) for _ in range(workers)], key)


def try_cut(address, house, key, moment, workers, _):
    assert_all_saw_the_same(
        [begin(address, house, key, *moment), *(begin(address, house, key) for _ in range(workers - 1))], key
    )


def assert_all_saw_the_same(processes, key):
    told = [ended(process) for process in processes]
    assert None not in told, key
    assert len({tuple(one[:3]) for one in told}) == 1, key


def prepare(address, folder):
    clock = RealClock()
    with closing(open_database(address)) as database:
        house_on(database, open_blobs(str(folder / "blobs")), clock, TimedIds(clock), ANN, folder)


def forget_cache(address):
    with closing(open_database(address)) as database:
        database.write(lambda connection: connection.execute(metadata.tables["cached_results"].delete()))


FAULTS = [("sqlite", "kill"), ("postgresql", "kill"), ("postgresql", "cut")]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("database", "kind"), FAULTS)
def test_a_run_that_meets_a_fault_at_a_commit_ends_as_if_nothing_had_been(database, kind, workers, tmp_path, request):
    sample = 3 if workers == 1 and kind == "kill" else 1

    try_all((address_of(database, tmp_path, request), tmp_path), kind, workers, sample=sample)


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("database", "kind"), FAULTS)
def test_a_run_that_meets_a_fault_at_every_commit_ends_as_if_nothing_had_been(
    database, kind, workers, tmp_path, request
):
    try_all((address_of(database, tmp_path, request), tmp_path), kind, workers, sample=None)


FROZEN = """
import os, sys, time
from pathlib import Path
import noria.pipelines as nr
from noria.core.errors import LeaseLost
from tests_runs_house import open_house, ANN

FOLDER = Path(sys.argv[1])

@nr.step
def slow(x):
    me = os.environ["ME"]  # not a constant of the module, which would be part of the code
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{me} {x}\\n")
    while me == "frozen" and x == 1 and not (FOLDER / "may end").exists():
        time.sleep(0.01)
    return f"{me} {x}"

@nr.pipeline
def chain():
    return [slow(x) for x in range(3)]

if __name__ == "__main__":
    try:
        run = open_house(FOLDER).runs(sleep=time.sleep, lease_seconds=1.0).run(ANN, chain, key="once")
        print("result", run.result)
    except LeaseLost as problem:
        print("lost", problem.sentence)
"""


def until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def test_a_process_that_was_frozen_and_comes_back_after_its_lease_commits_nothing(tmp_path):
    prepare(f"sqlite:///{tmp_path / 'noria.db'}", tmp_path)
    script = tmp_path / "frozen.py"
    script.write_text(FROZEN)

    def start(name):
        words = [sys.executable, str(script), str(tmp_path)]
        return subprocess.Popen(words, env=ENVIRONMENT | {"ME": name}, stdout=subprocess.PIPE, text=True)

    calls = tmp_path / "calls"
    frozen = start("frozen")
    until(lambda: calls.exists() and "frozen 1" in calls.read_text())
    frozen.send_signal(signal.SIGSTOP)
    other, _ = start("other").communicate(timeout=120)  # it waits until the lease has run out
    (tmp_path / "may end").touch()
    frozen.send_signal(signal.SIGCONT)
    late, _ = frozen.communicate(timeout=120)

    assert other == "result ['frozen 0', 'other 1', 'other 2']\n"
    assert late.startswith("lost the lease on")
    assert calls.read_text().split("\n")[:-1] == ["frozen 0", "frozen 1", "other 1", "other 2"]
    with closing(open_database(f"sqlite:///{tmp_path / 'noria.db'}")) as database:
        clock = RealClock()
        house = house_on(database, open_blobs(str(tmp_path / "blobs")), clock, TimedIds(clock), ANN, tmp_path)
        (run,) = house.runs().list(ANN)
        assert [a.step for a in house.runs().attempts(ANN, run.id)] == ["slow", "slow#2", "slow#3"]
        assert [kind for kind, _ in house.facts()] == ["run.succeeded"]
