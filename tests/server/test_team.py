"""The law of a team: two of each process over one PostgreSQL and one bucket work together, and nothing is decided or kept twice."""

import os
import signal
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from running import ENVIRONMENT, ROW, command, free_port, noria_init, until

from noria.boot import open_home
from noria.settings import Settings


class Team:
    """Processes that share a database, blobs in S3 and a log, and nothing else."""

    def __init__(self, folder, address, blobs):
        self.folder = folder
        self.places = {
            "home": address,
            "blobs": blobs,
            "key_file": str(folder / "key"),
            "log_folder": str(folder / "log"),
        }
        self.environment = ENVIRONMENT | {f"NORIA_{name.upper()}": place for name, place in self.places.items()}
        self.environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self.processes = []

    def start(self, *words):
        with self.said(len(self.processes)).open("w") as said:
            process = subprocess.Popen(
                command(*words), cwd=self.folder, env=self.environment, stdout=said, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def serve(self, name):
        """Start two of a server at once, and return them with their ports once both answer."""
        ports = [free_port(), free_port()]
        started = [self.start(name, "--port", str(port)) for port in ports]
        for port in ports:
            until(lambda port=port: get(port, "/healthz").status_code == 200, what=name)
        return started, ports

    def said(self, number):
        return self.folder / f"{number}.log"

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait(30)


@pytest.fixture
def team(tmp_path, postgresql_address, s3):
    made = Team(tmp_path, postgresql_address, s3)
    yield made
    made.end()


def test_two_of_each_process_share_one_database(team):
    begun = datetime.now(UTC)
    _, controls = team.serve("server")  # on a database that is empty
    noria_init(team.folder, team.environment)
    workers = [team.start("worker", "loop.py"), team.start("worker", "loop.py")]
    gateways, doors = team.serve("gateway")

    until(lambda: champion(controls[0]) == 2, what="the first champion")
    holder, other = workers if "cycle.settled" in team.said(2).read_text() else reversed(workers)
    os.kill(holder.pid, signal.SIGKILL)
    post(controls[1], "/api/v1/loops/machines/cycles", {"reason": "asked of the other one"})
    until(lambda: len(settled(controls[0])) == 2, what="the second cycle, turned by whoever is left")
    until(lambda: versions(doors) == [2, 2], what="both gateways answer by the first champion")
    promoted = post(controls[0], "/api/v1/models/machines/promote", {"version": 1, "reason": "asked of one"}).json()
    until(lambda: versions(doors) == [1, 1], what="the promotion reached both gateways")

    assert other.poll() is None, team.said(3).read_text()
    assert promoted["before"] == 2
    assert champion(controls[1]) == 1
    must_be_told_once(controls[1])
    kept = acknowledged(doors, gateways)
    team.end()
    must_be_logged_once(team, kept, since=begun)


def acknowledged(doors, gateways):
    """Predict at each gateway and tell at the other one, kill the first in the midst, and return what was acknowledged."""
    kept = []
    for number in range(40):
        if number == 20:
            os.kill(gateways[0].pid, signal.SIGKILL)
            gateways[0].wait(30)
        asked, told = (doors[number % 2], doors[1 - number % 2]) if number < 20 else (doors[1], doors[1])
        prediction = predict(asked, f"k{number}").json()["prediction"]
        assert post(told, "/feedback", {"prediction": prediction, "label": number % 3 == 0}).json() == {"accepted": 1}
        kept.append(prediction)
    return kept


def must_be_told_once(port):
    """Hold the ledger against itself: gapless, and no decision twice."""
    facts = get(port, "/api/v1/facts?limit=500").json()["items"]
    kinds = Counter(fact["kind"] for fact in facts)
    assert [fact["position"] for fact in facts] == list(range(len(facts)))
    assert kinds["cycle.opened"] == kinds["cycle.settled"] == kinds["model.promoted"] == 2


def must_be_logged_once(team, kept, *, since):
    """Hold the log against what was acknowledged: each prediction once, each with what was told about it."""
    with open_home(settings=Settings(**team.places)) as home:
        now = home.clock.now() + timedelta(minutes=1)
        found = home.endpoints.outcomes(home.context, "machines", since=since, until=now, as_of=now)
    mine = found.filter(found["prediction"].is_in(kept))
    assert sorted(mine["prediction"]) == sorted(kept)
    labels = dict(zip(mine["prediction"], mine["label"], strict=True))
    assert [labels[prediction] for prediction in kept] == [float(number % 3 == 0) for number in range(len(kept))]


def champion(port):
    return get(port, "/api/v1/loops").json()["items"] and get(port, "/api/v1/loops/machines").json()["champion"]


def settled(port):
    return get(port, "/api/v1/cycles?state=settled").json()["items"]


def versions(doors):
    return [predict(door, "k").json().get("version") for door in doors]


def predict(port, key):
    return post(port, "/endpoints/machines/predict", {"row": {"id": key, **ROW}})


def get(port, path):
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30)


def post(port, path, body):
    return httpx.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=30)
