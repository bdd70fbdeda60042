"""Laws of `noria up`: a loop that answers, parts that are started again, and nothing left behind however it ends."""

import os
import signal
import socket
import subprocess

import pytest
from running import ENVIRONMENT, ROW, Up, children_of, command, is_alive, noria_init, until


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
