"""Laws of the commands about runs, on a script as a person would have it."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from noria.cli.root import noria

SCRIPT = """
import noria as nr

@nr.step
def load(rows):
    print(f"loading {rows}")
    return list(range(rows))

@nr.step
def fit(rows, rate):
    nr.progress(1, 1, "epochs")
    if rate < 0:
        raise ValueError("a negative rate")
    return len(rows) * rate

@nr.pipeline
def train(rows=3, rate=1):
    return fit(load(rows), rate)
"""


@pytest.fixture
def noria_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("NORIA_HOME", "NORIA_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "script_of_commands.py").write_text(SCRIPT)

    def call(*words, status=0):
        done = CliRunner().invoke(noria, words)
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    return call


def told(output):
    return json.loads(output)


def test_a_run_is_listed_followed_and_its_words_are_kept(noria_here):
    shown = noria_here("run", "script_of_commands.py", "--watch")
    assert "succeeded  load" in shown
    assert "fit  1 of 1 epochs" in shown

    (row,) = told(noria_here("runs", "--json"))
    assert (row["pipeline"], row["state"]) == ("train", "succeeded")
    assert "train" in noria_here("runs", "--state", "succeeded")
    assert "no such runs yet" in noria_here("runs", "--state", "failed")
    assert noria_here("logs", row["run"]) == "--- load, attempt 1\nloading 3\n"
    assert noria_here("logs", row["run"], "fit") == "nothing was written\n"


def test_a_failed_run_is_run_again_with_another_parameter(noria_here):
    noria_here("run", "script_of_commands.py", "-p", "rate=-1", status=1)
    (row,) = told(noria_here("runs", "--json"))
    assert row["error"] == "step 'fit' raised ValueError: a negative rate"

    again = noria_here("rerun", row["run"], "-p", "rate=2")

    assert "loading" not in again
    assert "result       6" in again
    assert told(noria_here("runs", "--json"))[0]["parent"] == row["run"]


def test_a_run_that_failed_is_resumed_and_one_that_ended_cannot_be_stopped(noria_here):
    noria_here("run", "script_of_commands.py", "-p", "rate=-1", status=1)
    (row,) = told(noria_here("runs", "--json"))

    assert "a negative rate" in noria_here("resume", row["run"], status=1)
    assert "is failed" in noria_here("cancel", row["run"])
    assert "is failed" in noria_here("pause", row["run"])


def test_garbage_is_counted_and_nothing_young_is_taken(noria_here):
    noria_here("run", "script_of_commands.py", "-p", "rows=3000")
    home = told(noria_here("gc", "--dry-run", "--json"))

    assert home["garbage"] == 0
    assert home["kept"] >= 1
    assert told(noria_here("gc", "--older-than", "0s", "--json"))["garbage"] == 0


def test_a_run_is_shown_with_what_its_steps_used_and_cost(noria_here, monkeypatch):
    monkeypatch.setenv("NORIA_USD_PER_CPU_HOUR", "3600")
    noria_here("run", "script_of_commands.py")
    (row,) = told(noria_here("runs", "--json"))
    run = row["run"]

    shown = told(noria_here("runs", "show", run, "--json"))

    assert [attempt["step"] for attempt in shown["attempts"]] == ["load", "fit"]
    assert shown["usd"] == pytest.approx(shown["cpu_seconds"])
    assert sum(attempt["usd"] for attempt in shown["attempts"]) == pytest.approx(shown["usd"])
    assert "usd" in noria_here("runs", "show", run)


def test_of_very_many_attempts_the_failed_ones_are_shown(noria_here, tmp_path):
    (tmp_path / "broad.py").write_text(BROAD)
    noria_here("run", "broad.py")
    (row,) = told(noria_here("runs", "--json"))

    shown = noria_here("runs", "show", row["run"])

    assert "ZeroDivisionError" in shown
    assert shown.endswith("and 50 more: --json has them all\n")


def test_what_is_submitted_waits_for_a_worker(noria_here, monkeypatch):
    monkeypatch.setattr("noria.cli.queue.on_signals", lambda _hurry: threading.Event())
    waiting = told(noria_here("submit", "script_of_commands.py", "--priority", "2", "--tag", "eu", "--json"))
    assert (waiting["state"], waiting["priority"], waiting["needs"]) == ("queued", 2, "tag 'eu'")
    (listed,) = told(noria_here("runs", "--state", "queued", "--json"))
    assert (listed["run"], listed["waits"]) == (waiting["run"], "waits for a worker with tag 'eu'")
    assert noria_here("work", "--once") == ""
    assert "waits for a worker with tag 'eu'" in noria_here("doctor", status=1)

    monkeypatch.setenv("NORIA_WORKER_TAGS", "eu")
    said = noria_here("work", "--once")

    assert said == f"run {waiting['run']} of train succeeded\n"
    assert "nothing is wrong" in noria_here("doctor")
    assert told(noria_here("runs", "show", waiting["run"], "--json"))["state"] == "succeeded"
    assert noria_here("logs", waiting["run"]) == "--- load, attempt 1\nloading 3\n"
    assert noria_here("work", "--once") == ""


BROAD = """
import noria as nr

@nr.step
def shares(x):
    return 1 / (x - 240)

@nr.pipeline
def broad():
    return shares.map(range(250), on_failure="continue")
"""

LOUD = """
import os, time
from pathlib import Path
import noria as nr

print("imported")

@nr.step
def loud(x):
    print("printed")
    os.system("echo from another process")
    return [x, None]

@nr.step
def waits(x):
    Path("begun").touch()
    print("one")
    while not Path("go").exists():
        nr.progress(x)
        time.sleep(0.02)
    print("two")
    return x

@nr.pipeline
def shouts():
    return loud(1)

@nr.step
def stands(x):
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return x

@nr.pipeline
def many():
    return waits.map(list(range(100)), concurrency=2)

@nr.pipeline
def standing():
    return stands.map(list(range(4)), concurrency=2)
"""


@pytest.fixture
def loud_here(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}

    @contextmanager
    def start(*words):
        words = [sys.executable, "-m", "noria", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(words, cwd=tmp_path, env=environment, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    return start


def test_json_stands_alone_on_standard_output_whatever_steps_print(loud_here):
    with loud_here("run", "loud.py:shouts", "--json", "--watch") as process:
        out, err = process.communicate(timeout=60)

    assert told(out)["result"] == [1, None]
    assert {"imported", "printed", "from another process"} < set(err.splitlines())
    assert "succeeded  loud" in err


def test_ctrl_c_ends_a_run_at_once_and_says_how_it_goes_on(loud_here, tmp_path):
    with loud_here("run", "loud.py:many", "--watch") as process:
        process.stdout.readline()
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
        (tmp_path / "go").touch()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    run = err.split("run ")[1].split()[0]
    assert f"is given back: what is finished stays, and noria resume {run} goes on" in err
    with loud_here("resume", run, "--json") as process:
        assert told(process.communicate(timeout=60)[0])["result"] == list(range(100))


def test_ctrl_c_does_not_wait_for_items_that_hear_nothing(loud_here, tmp_path):
    with loud_here("run", "loud.py:standing") as process:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "is given back" in err


def test_words_are_followed_until_the_run_ends(loud_here, tmp_path, noria_here):
    with loud_here("run", "loud.py:many") as running:
        while not (tmp_path / "begun").exists():
            assert running.poll() is None
        (row,) = told(noria_here("runs", "--json"))
        with loud_here("logs", row["run"], "waits", "--follow") as following:
            assert [following.stdout.readline() for _ in range(2)][1] == "one\n"
            (tmp_path / "go").touch()
            rest, _ = following.communicate(timeout=60)
        running.communicate(timeout=60)

    assert rest.count("two") == 100
    assert told(noria_here("runs", "--json"))[0]["state"] == "succeeded"


def test_what_a_step_raised_is_shown_from_its_own_function_on(noria_here, tmp_path):
    failed = noria_here("run", "script_of_commands.py", "-p", "rate=-1", status=1)
    (row,) = told(noria_here("runs", "--json"))
    words = noria_here("logs", row["run"], "fit")

    for shown in (failed, words):
        assert "Traceback (most recent call last):\n  File" in shown
        assert 'in fit\n    raise ValueError("a negative rate")' in shown
        assert "noria/runs" not in shown
    unknown = CliRunner().invoke(noria, ["logs", row["run"], "fitt"])
    assert unknown.exception.hint == "did you mean 'fit'?"


def test_a_watched_rerun_shows_what_it_reuses(noria_here):
    noria_here("run", "script_of_commands.py")
    (row,) = told(noria_here("runs", "--json"))

    shown = noria_here("rerun", row["run"], "-p", "rate=2", "--watch")

    assert f"reused     load  of {row['run']}" in shown
    assert "succeeded  fit" in shown


BAD = """
import noria as nr

@nr.step
def one(x):
    return 1

@nr.step
def odd():
    return object()

@nr.pipeline
def asks(x=1):
    return 1 if one(x) else 2

@nr.pipeline
def makes():
    return odd()

@nr.pipeline
def over_nothing():
    return one.map([])

@nr.pipeline
def given(x=1):
    return one(x)
"""


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (["bad.py:asks"], "is not known yet and cannot be used as a condition", "use nr.branch("),
        (["bad.py:makes"], "returned what cannot be kept: no codec carries a builtins.object", "return plain values"),
        (["bad.py:given", "-p", "x=2", "--key", "k"], "of pipeline 'given' with other arguments", "use another key"),
        (["bad.py:givn"], "no pipeline named 'givn'", "did you mean 'given'?"),
        (["lambda.py"], "a lambda cannot be a step", "write a def with @step above it"),
    ],
)
def test_bad_input_is_told_in_a_sentence_with_a_way_out(noria_here, tmp_path, words, sentence, hint):
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "lambda.py").write_text("import noria as nr\nsquare = nr.step(lambda x: x * x)\n")
    noria_here("run", "bad.py:given", "--key", "k")

    done = CliRunner().invoke(noria, ["run", *words])

    said = done.output + (f"{done.exception.sentence} {done.exception.hint}" if hasattr(done.exception, "hint") else "")
    assert done.exit_code == 1
    assert sentence in said
    assert hint in said


def test_a_map_over_nothing_is_an_empty_list_and_no_step_needs_annotations(noria_here, tmp_path):
    (tmp_path / "bad.py").write_text(BAD)

    assert "result       []" in noria_here("run", "bad.py:over_nothing")
