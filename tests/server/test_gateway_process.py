"""Laws of the gateway as a process: what was acknowledged survives its death, what was begun is answered, swaps fail nobody."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from serving_home import route


class Process:
    """A gateway that listens on a free port."""

    def __init__(self, home):
        command = [sys.executable, "-u", "-m", "noria", "gateway", "--home", home.settings.home, "--port", "0"]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.popen.stdout.readline()
        found = re.search(r"http://127.0.0.1:(\d+)", line)
        assert found, line + self.popen.stdout.read()
        self.port = int(found[1])
        self.said = None

    def client(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def end(self, number=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        if self.said is None:
            self.said = self.popen.stdout.read().strip()
            self.popen.stdout.close()
        self.popen.wait(timeout=60)
        return self.said


@contextlib.contextmanager
def running(home):
    process = Process(home)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)


def post(client, path, body):
    client.request("POST", path, body=json.dumps(body), headers={"content-type": "application/json"})
    answer = client.getresponse()
    return answer.status, json.loads(answer.read())


def ask(client, number=0):
    return post(client, "/endpoints/clicks/predict", {"row": {"id": f"c{number}", "x": float(number), "y": 0.0}})


def outcomes(home):
    now = home.clock.now()
    window = {"since": now - timedelta(hours=1), "until": now + timedelta(hours=1), "as_of": now + timedelta(hours=1)}
    return home.endpoints.outcomes(home.context, "clicks", **window)


def loads(process, count, work):
    """Let clients work until told to stop; return a function that stops them and gives back what they kept."""
    ending, kept, problems = threading.Event(), [], []

    def client(number):
        connection = process.client()
        try:
            while not ending.is_set():
                kept.append(work(connection, number))
        except Exception as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()

    def stop():
        ending.set()
        for thread in threads:
            thread.join()
        return kept, problems

    return stop


def test_swaps_under_load_fail_nobody_and_only_versions_with_traffic_answer(home):
    routes = {1: {1}}
    route(home, (1, 1.0))
    with running(home) as process:
        stop = loads(process, 3, lambda client, number: ask(client, number))
        for turn in range(9):
            versions = ((3, 1.0),) if turn == 4 else ((2, 0.25), (1, 0.75)) if turn % 2 else ((1, 1.0),)
            after = route(home, *versions)
            routes[after.epoch] = {version for version, _ in versions}
            wait_for(process, after.epoch)
        kept, problems = stop()

        assert problems == []
        assert {status for status, _ in kept} == {200}
        assert all(told["version"] in routes[told["epoch"]] for _, told in kept)
        assert all(round(told["score"]) == told["version"] for _, told in kept)
        assert len({told["epoch"] for _, told in kept}) > 3
        assert process.end() == "the gateway has ended"


def wait_for(process, epoch):
    client = process.client()
    while True:
        client.request("GET", "/healthz")
        if json.loads(client.getresponse().read())["endpoints"]["clicks"]["epoch"] == epoch:
            client.close()
            return
        time.sleep(0.02)


@pytest.mark.parametrize("lives", [2, pytest.param(10, marks=pytest.mark.soak)])
def test_what_was_acknowledged_is_there_after_kill_minus_nine(home, lives):
    route(home, (1, 1.0))
    predicted, told = set(), set()

    def work(client, number):
        prediction = ask(client, number)[1]["prediction"]
        predicted.add(prediction)
        status, _ = post(client, "/feedback", {"prediction": prediction, "label": True})
        assert status == 200
        told.add(prediction)

    for _ in range(lives):
        with running(home) as process:
            before = len(told)
            stop = loads(process, 4, work)
            while len(told) < before + 40:
                time.sleep(0.01)
            process.popen.kill()
            stop()

    found = outcomes(home)
    assert predicted <= set(found["prediction"])
    assert told <= set(found.filter(found["label"] == 1.0)["prediction"])
    assert len(told) >= 40 * lives


def test_on_sigterm_what_was_begun_is_answered_and_nothing_new_is_taken(home):
    route(home, (1, 1.0))
    with running(home) as process:
        body = json.dumps({"row": {"x": 1.0, "y": 1.0}}).encode()
        begun = socket.create_connection(("127.0.0.1", process.port), timeout=60)
        head = f"POST /endpoints/clicks/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        begun.sendall(head + body[:10])
        client = process.client()
        assert ask(client)[0] == 200  # the half of the other request was read before this one

        os.kill(process.popen.pid, signal.SIGTERM)
        while is_open(process.port):
            time.sleep(0.01)
        begun.sendall(body[10:])

        assert begun.recv(1000).startswith(b"HTTP/1.1 200")
        begun.close()
        client.close()
        assert process.end() == "the gateway has ended"
        assert process.popen.returncode == 0
    assert outcomes(home).height == 2


def is_open(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


def test_fifty_megabytes_are_refused_at_once_and_the_gateway_goes_on(home):
    route(home, (1, 1.0))
    with running(home) as process:
        large = socket.create_connection(("127.0.0.1", process.port), timeout=60)
        large.sendall(b"POST /feedback HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50000000\r\n\r\n" + b" " * 1000)

        answer = b""
        while part := large.recv(65536):
            answer += part
        large.close()

        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"code":"too-large"' in answer
        client = process.client()
        assert ask(client)[0] == 200
        client.close()


def test_a_model_process_that_is_killed_costs_no_request(home):
    route(home, (3, 1.0))
    with running(home) as process:
        answered = []
        stop = loads(process, 4, lambda client, number: answered.append(number) or ask(client, number))
        for _ in range(2):
            (server,) = children(process.popen.pid)  # the fork server
            (child,) = children(server)
            os.kill(child, signal.SIGKILL)
            after = len(answered) + 12  # each client has had answers of the new process
            while len(answered) < after:
                time.sleep(0.01)
        kept, problems = stop()

    assert problems == []
    assert {status for status, _ in kept} == {200}
    assert {told["version"] for _, told in kept} == {3}


def children(parent):
    found = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "Z" not in line.split()[1]]


@pytest.mark.soak
def test_fifty_promotions_and_rollbacks_in_a_minute_fail_nobody(home):
    routes = {1: {1}}
    route(home, (1, 1.0))
    with running(home) as process:
        stop = loads(process, 16, lambda client, number: ask(client, number))
        begun = time.monotonic()
        for turn in range(50):
            version = (2, 1, 3, 1)[turn % 4]
            after = route(home, (version, 1.0))
            routes[after.epoch] = {version}
            time.sleep(max(0.0, (turn + 1) * 1.2 - (time.monotonic() - begun)))
        kept, problems = stop()

    assert problems == []
    assert {status for status, _ in kept} == {200}
    assert all(told["version"] in routes[told["epoch"]] for _, told in kept)
    print(f"{len(kept):,} requests over {len({told['epoch'] for _, told in kept})} routes, none failed")
