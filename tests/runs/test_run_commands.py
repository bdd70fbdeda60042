"""Laws of the commands about runs, on a script as a person would have it."""

import json

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
