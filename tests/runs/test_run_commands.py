"""Laws of the commands about runs, on a script as a person would have it."""

import json
import threading

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
