"""Laws of `noria up`: a loop that answers, parts that are started again, and nothing left behind however it ends."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2 as httpx
import pytest
from running import ENVIRONMENT, ROW, Up, children_of, command, is_alive, noria_init, until

from noria.cli.supervising import Program, Supervisor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    noria_init(folder)
    return folder


@pytest.fixture
def up(shop):
    running = Up(shop)
    yield running
    running.close()


def test_an_empty_folder_becomes_a_loop_with_an_endpoint_and_ends_in_order(up):
    up.ready().answers()

    (answered,) = up.predict({"id": "m1", **ROW}).json()["answers"]
    loop = up.control("/api/v1/loops/machines").json()
    assert 0 < answered["score"] < 1
    assert answered["version"] == loop["champion"]
    assert "machines" in up.control("/").text

    below = children_of(up.process.pid)
    status, seconds = up.end()
    assert status == 0
    assert seconds < 15
    assert [process for process in below if is_alive(process)] == []
    assert up.events("ended")


def test_every_curl_of_the_readme_works_as_it_stands(up):
    block = next(block for block in blocks("README.md") if "curl" in block)
    asked = [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("curl ")]
    up.ready().answers()

    answers = {line: curl(line, up) for line in asked}

    assert {line: answer.text for line, answer in answers.items() if answer.status_code not in {200, 202}} == {}
    champions = [
        answer.json()["version"] for line, answer in answers.items() if line.endswith("\"}'") and "models" in line
    ]
    assert champions == [1, 2]
    assert len(answers) == 11


def blocks(page):
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def curl(line, up):
    """Do what a line of curl does, at the ports of a running `noria up`."""
    words = shlex.split(line)[1:]
    options = {"-X": [], "-H": [], "-d": []}
    while words[:1] and words[0] in options:
        options[words[0]].append(words[1])
        words = words[2:]
    address, *rest = words
    while rest:
        options[rest[0]].append(rest[1])
        rest = rest[2:]
    for port, ours in ((7878, up.port), (7879, up.gateway_port)):
        address = address.replace(f"localhost:{port}", f"http://127.0.0.1:{ours}")
    return httpx.request(
        (options["-X"] or ["GET"])[0],
        address,
        headers=dict(header.split(": ") for header in options["-H"]),
        content=(options["-d"] or [None])[0],
        timeout=30,
    )


def test_a_part_that_is_killed_is_started_again_and_the_circle_goes_on(up):
    up.ready().answers()

    for part, word in (("control", "server"), ("gateway", "gateway"), ("worker", "worker")):
        up.kill(word)
        until(lambda: up.control("/healthz").status_code == 200, what="control")
        up.answers()
        ended = [line for line in up.events("line") if line["process"] == part and "killed by SIGKILL" in line["text"]]
        assert len(ended) == 1


def test_when_up_itself_is_killed_its_parts_notice_and_end(up):
    up.ready().answers()
    below = children_of(up.process.pid)
    assert len(below) >= 3

    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()

    until(lambda: not any(is_alive(process) for process in below), what="no orphans")


def test_a_part_that_cannot_be_kept_running_ends_all_in_words(tmp_path):
    (tmp_path / "loop.py").write_text("raise RuntimeError('this file is broken')\n")
    running = Up(tmp_path)

    status = running.process.wait(120)
    running.reader.join(5)

    said = [line["text"] for line in running.lines if "text" in line]
    assert status == 1
    assert any("this file is broken" in text for text in said)
    assert any("worker ended 5 times in a row right after its start" in text for text in said)
    running.close()


class Counted:
    """A stopwatch on which the first life lasts a minute, and every later one no time at all."""

    def __init__(self):
        self.readings = iter([0.0, 60.0])

    def wall(self):
        return next(self.readings, 60.0)


def test_a_part_that_has_run_before_is_started_again_for_ever_so_that_the_others_go_on():
    ending, said, enough = threading.Event(), [], threading.Event()

    def hear(_name, line):
        said.append(line)
        if len(said) == 6:
            enough.set()

    program = Program(name="worker", command=[sys.executable, "-S", "-c", "raise SystemExit(3)"])
    supervisor = Supervisor([program], said=hear, ending=ending, stopwatch=Counted())
    supervisor.start()

    assert enough.wait(60)
    supervisor.end()
    assert supervisor.failure is None
    assert all("(status 3)" in line and line.endswith("starts again") for line in said)


@pytest.mark.parametrize("option", ["--port", "--gateway-port"])
def test_a_port_in_use_is_said_before_anything_starts(tmp_path, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = subprocess.run(
            command("up", option, str(port)), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"error: port {port} of 127.0.0.1 is in use",
        f"hint: end what listens there, or choose another: {option} PORT",
    ]
    assert not (tmp_path / ".noria").exists()


def test_a_file_that_is_not_there_is_said_before_anything_starts(tmp_path):
    ended = subprocess.run(
        command("up", "other.py"), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr.splitlines()[0]) == (1, "error: no file named 'other.py'")
