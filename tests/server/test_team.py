"""The law of a team: two of each process over one PostgreSQL work together, and nothing is decided twice."""

import os
import signal
import subprocess

import httpx2 as httpx
import pytest
from running import ENVIRONMENT, command, free_port, noria_init, until


@pytest.fixture
def processes():
    started = []
    yield started
    for process in started:
        if process.poll() is None:
            process.terminate()
    for process in started:
        process.wait(30)


def test_two_workers_and_two_control_processes_share_one_database(tmp_path, postgresql_address, processes):
    environment = ENVIRONMENT | {
        "NORIA_HOME": postgresql_address,
        "NORIA_BLOBS": str(tmp_path / "blobs"),
        "NORIA_KEY_FILE": str(tmp_path / "key"),
        "NORIA_LOG_FOLDER": str(tmp_path / "log"),
    }

    def start(*words):
        with (tmp_path / f"{len(processes)}.log").open("w") as said:
            process = subprocess.Popen(
                command(*words), cwd=tmp_path, env=environment, stdout=said, stderr=subprocess.STDOUT
            )
        processes.append(process)
        return process

    ports = [free_port(), free_port()]
    for port in ports:  # both at once, on a database that is empty
        start("server", "--port", str(port))
    for port in ports:
        until(lambda port=port: get(port, "/healthz").status_code == 200, what="control")
    noria_init(tmp_path, environment)
    first, second = start("worker", "loop.py"), start("worker", "loop.py")

    until(lambda: champion(ports[0]) == 2, what="the first champion")
    holder, other = (first, second) if "cycle.settled" in (tmp_path / "2.log").read_text() else (second, first)
    os.kill(holder.pid, signal.SIGKILL)
    post(ports[1], "/api/v1/loops/machines/cycles", {"reason": "asked of the other one"})
    until(lambda: len(settled(ports[0])) == 2, what="the second cycle, turned by whoever is left")
    promoted = post(ports[0], "/api/v1/models/machines/promote", {"version": 1, "reason": "asked of one"}).json()

    assert other.poll() is None, (tmp_path / "3.log").read_text()
    assert promoted["before"] == 2
    assert champion(ports[1]) == 1
    facts = get(ports[1], "/api/v1/facts?limit=500").json()["items"]
    kinds = [fact["kind"] for fact in facts]
    assert [fact["position"] for fact in facts] == list(range(len(facts)))
    assert kinds.count("cycle.opened") == kinds.count("cycle.settled") == 2
    assert kinds.count("model.promoted") == 2


def champion(port):
    return get(port, "/api/v1/loops").json()["items"] and get(port, "/api/v1/loops/machines").json()["champion"]


def settled(port):
    return get(port, "/api/v1/cycles?state=settled").json()["items"]


def get(port, path):
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30)


def post(port, path, body):
    return httpx.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=30)
