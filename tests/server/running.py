"""Runs `noria up` and its parts as real processes on free ports, and talks to them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2 as httpx

import noria

PATIENCE = 120.0
ROW = {"site": "north", "temperature": 80.5, "vibration": 5.5, "age_days": 900, "load": 0.7}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("NORIA_")} | {
    "PYTHONPATH": str(Path(noria.__file__).parents[1]),
    "OMP_NUM_THREADS": "1",
}


def command(*words):
    return [sys.executable, "-u", "-m", "noria", *words]


def noria_init(folder):
    subprocess.run(command("init"), cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(ask, *, what):
    """Ask again and again until there is an answer that is true; its wait is no synchronisation, only politeness."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError, ConnectionError):
            if found := ask():
                return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {what}")


def is_alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children_of(process):
    """Return the ids of all processes below one, children's children too."""
    found, parents = [], [process]
    listed = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            listed.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    while parents:
        below = listed.get(parents.pop(), [])
        found += below
        parents += below
    return found


class Up:
    """A running `noria up` in a folder."""

    def __init__(self, folder, *words):
        self.folder = folder
        self.port, self.gateway_port = free_port(), free_port()
        self.lines = []
        ports = ["--port", str(self.port), "--gateway-port", str(self.gateway_port)]
        self.process = subprocess.Popen(
            command("up", "--json", *ports, *words),
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})

    def events(self, kind):
        return [line for line in list(self.lines) if line["event"] == kind]

    def ready(self):
        return until(lambda: self.events("ready") or self.process.poll() is not None, what="ready") and self

    def control(self, path, **options):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, **options)

    def predict(self, *rows, key=None):
        asked = {"rows": list(rows)} if key is None else {"rows": list(rows), "key": key}
        return httpx.post(f"http://127.0.0.1:{self.gateway_port}/endpoints/machines/predict", json=asked, timeout=10)

    def answers(self):
        return until(lambda: self.predict({"id": "m1", **ROW}).status_code == 200, what="a prediction") and self

    def child(self, name):
        """Return the process id of one part, as it is now."""
        for process in children_of(self.process.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
                if "--supervised" in words and name in words:
                    return process
        return None

    def kill(self, name):
        """Kill a part as nothing can be caught, and wait until another one has its place."""
        before = until(lambda: self.child(name), what=f"{name} runs")
        os.kill(before, signal.SIGKILL)
        until(lambda: self.child(name) not in {None, before}, what=f"{name} was started again")

    def end(self):
        """Ask it to end, and return the status it ended with and how many seconds it took."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(30)
        self.reader.join(5)
        return status, time.monotonic() - begun

    def close(self):
        if self.process.poll() is None:
            below = children_of(self.process.pid)
            self.process.kill()
            self.process.wait()
            until(lambda: not any(is_alive(process) for process in below), what="all children ended")
        self.process.stdout.close()
