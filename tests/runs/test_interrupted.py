"""Laws of runs whose process is gone: they are interrupted wherever one looks, and never while somebody holds them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import noria.pipelines as nr
from noria.cli.root import noria
from noria.core.errors import Conflict, Invalid
from noria.runs.model import RunState
from noria.store.holders import this_process

STEPS = """
import time
from pathlib import Path

import noria as nr


@nr.step
def quick(n: int) -> int:
    return n + 1


@nr.step
def slow(n: int) -> int:
    Path("started").touch()
    if not Path("resumed").exists():
        time.sleep(50)
    return n


@nr.pipeline
def work(n: int = 1):
    return slow(quick(n))
"""


@nr.step
def looks(n: int) -> list[str]:
    return seen(n)


seen = list


@nr.pipeline
def look(n: int = 1):
    return looks(n)


class Killed(KeyboardInterrupt):
    """Ends an engine where it stands, as a killed process ends."""


def run_by(house, ann, holder, *, then):
    """Begin a run under a holder's name, do something in the midst of its step, and end there."""
    runs = house.runs(holder=holder)

    def inside(_n):
        (run,) = runs.list(ann)
        then(run.state)
        raise Killed

    globals()["seen"] = inside
    release = runs._around.holder.release
    runs._around.holder.release = lambda _: None
    try:
        with pytest.raises(Killed):
            runs.run(ann, look)
    finally:
        runs._around.holder.release = release
    (run,) = runs.list(ann)
    return run


def test_a_run_is_interrupted_from_when_its_lease_is_over_and_not_before(any_house, ann):
    states = []
    run = run_by(any_house, ann, "elsewhere/boot/pid/7/1", then=states.append)
    runs = any_house.runs()
    with any_house.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = '2020-01-01 00:00:00'")
    (now,) = runs.list(ann)

    assert states == [RunState.RUNNING]
    assert run.state is RunState.RUNNING  # its lease, of a process elsewhere, still stands
    assert now.state is runs.get(ann, run.id).state is RunState.INTERRUPTED
    assert [each.id for each in runs.list(ann, state="interrupted")] == [run.id]
    assert runs.list(ann, state="running") == ()
    assert runs.list(ann, state=RunState.SUCCEEDED) == ()
    with pytest.raises(Conflict, match="was interrupted") as unfinished:
        assert now.result
    assert unfinished.value.hint == f"let it go on: noria resume {run.id}"


def test_a_run_goes_on_from_being_interrupted_and_is_so_no_more(house, ann):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    machine = this_process().rpartition("/")[0].rpartition("/")[0]
    run = run_by(house, ann, f"{machine}/{gone.pid}/1", then=lambda _: None)
    assert run.state is RunState.INTERRUPTED  # its holder is known to be dead: nobody waits for the lease

    globals()["seen"] = lambda n: ["done"] * n
    runs = house.runs()
    assert runs.resume(ann, run.id, pipeline=look).result == ["done"]
    assert runs.list(ann, state="interrupted") == ()


def test_of_many_runs_in_a_state_the_newest_are_found(house, ann):
    runs = house.runs()
    globals()["seen"] = lambda n: ["done"] * n
    for _ in range(3):
        runs.run(ann, look)
    with house.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET state = 'running'")

    assert len(runs.list(ann, state="interrupted")) == 3
    assert [run.id for run in runs.list(ann, state="interrupted", limit=2)] == [run.id for run in runs.list(ann)[:2]]
    assert runs.list(ann, state="running") == ()
    with pytest.raises(Invalid, match="no run is ever 'interupted'"):
        runs.list(ann, state="interupted")


def test_a_killed_run_is_interrupted_in_every_command_and_the_doctor_says_how_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps_of_killed.py").write_text(STEPS)
    words = [sys.executable, "-m", "noria", "run", "steps_of_killed.py:work"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    (running,) = json.loads(CliRunner().invoke(noria, ["runs", "--state", "running", "--json"]).output)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    (listed,) = json.loads(CliRunner().invoke(noria, ["runs", "--state", "interrupted", "--json"]).output)
    shown = json.loads(CliRunner().invoke(noria, ["runs", "show", listed["run"], "--json"]).output)
    doctor = CliRunner().invoke(noria, ["doctor", "--json"])
    followed = CliRunner().invoke(noria, ["logs", listed["run"], "--follow"])
    assert running["run"] == listed["run"]
    assert listed["state"] == shown["state"] == "interrupted"
    assert doctor.exit_code == 1
    assert [each["do"] for each in json.loads(doctor.output)] == [
        f"noria resume {listed['run']}, or noria cancel {listed['run']}"
    ]
    assert followed.exit_code == 0  # nobody writes any more

    (tmp_path / "resumed").touch()
    assert CliRunner().invoke(noria, ["resume", listed["run"]]).exit_code == 0
    assert CliRunner().invoke(noria, ["doctor"]).exit_code == 0
