"""Laws of `noria data push`: it says what it understood, asks where it is not sure, and history makes a model."""

import json

import pytest
from click.testing import CliRunner

import noria as nr
from noria.cli.data import data
from noria.core.errors import BadData, Conflict

COLUMNS = ("--key", "id", "--time", "at")


@pytest.fixture
def push(tmp_path):
    def run(name, text, *more):
        file = tmp_path / "rows.csv"
        file.write_text(text)
        arguments = ["push", name, str(file), "--home", str(tmp_path / "home"), *COLUMNS, *more]
        return CliRunner().invoke(data, arguments, catch_exceptions=True)

    return run


def read(tmp_path, name):
    with nr.open(tmp_path / "home") as home:
        return home.read(name)


def test_a_first_push_shows_what_each_column_was_taken_for_and_why(push, tmp_path):
    done = push("zips", "id;at;zip;x\n007;2026-01-01T00:00:00Z;02139;1.5\n", "--json")

    told = json.loads(done.stdout)
    assert [(each["column"], each["type"]) for each in told["columns"]] == [
        ("id", "text"), ("at", "time"), ("zip", "text"), ("x", "float"),
    ]  # fmt: skip
    assert "leading zeros" in told["columns"][0]["why"]
    assert told["notes"] == ["fields are separated by semicolons"]
    assert read(tmp_path, "zips").select("id", "zip").to_dicts() == [{"id": "007", "zip": "02139"}]


def test_an_ambiguous_day_is_asked_about_and_read_as_it_is_told(push, tmp_path):
    text = "id,at,x\na,03/04/2026,1\nb,05/04/2026,2\n"

    asked = push("days", text)
    told = push("days", text, "--dates", "%m/%d/%Y", "--zone", "UTC")

    assert isinstance(asked.exception, BadData)
    assert "--dates" in asked.exception.hint
    assert told.exit_code == 0
    assert sorted(read(tmp_path, "days")["at"].dt.month()) == [3, 5]


def test_a_dry_run_commits_nothing(push, tmp_path):
    done = push("dry", "id,at\na,2026-01-01\n", "--dry-run")

    assert "nothing was committed" in done.stdout
    assert "from midnight in UTC" in done.stdout
    with nr.open(tmp_path / "home") as home:
        assert home.datasets.datasets(home.context) == []


def test_an_empty_column_takes_its_kind_from_its_first_values(push, tmp_path):
    push("empty", "id,at,x\na,2026-01-01T00:00:00Z,\n")
    done = push("empty", "id,at,x\nb,2026-01-02T00:00:00Z,1.5\nc,2026-01-03T00:00:00Z,NA\n", "--null", "NA,-")

    assert done.exit_code == 0
    assert read(tmp_path, "empty")["x"].to_list() == [None, 1.5, None]


def test_history_with_labels_is_said_to_be_known_at_its_events(push, tmp_path):
    done = push("visits", "id,at,y\na,2026-01-01T00:00:00Z,1\n", "--label", "y")

    assert "known at its event" in done.stdout
    rows = read(tmp_path, "visits")
    assert rows["known_at"].to_list() == rows["at"].to_list()


def test_a_column_that_is_said_to_be_another_than_declared_is_a_conflict(push):
    push("visits", "id,at,y\na,2026-01-01T00:00:00Z,1\n")
    done = push("visits", "id,at,y\nb,2026-01-01T00:00:00Z,1\n", "--label", "y")

    assert isinstance(done.exception, Conflict)
