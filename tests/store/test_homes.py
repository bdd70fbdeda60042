"""Laws of where a home is: in the folder that was named, whatever its name; and open for reading to whoever may only read."""

import ctypes
import getpass
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import noria as nr
from noria.boot import login_name
from noria.core.errors import Invalid, ReadOnly
from noria.store import migrating, sqlite_files

NAMES = [
    "team?a",
    "team?b",
    "a?mode=memory",
    "job%2Fmain",
    "50%25",
    "a b#c",
    "a&b;c=d",
    'it\'s "quoted"',
    "two\nlines",
    "-leading",
    "file:x",
    ":memory:",
    "~tilde",
    "täglich-漢",
    "trailing/",
    "here/../there",
]


@nr.step
def say(word: str) -> str:
    return word


@nr.pipeline
def words(word: str):
    return say(word)


def test_two_homes_never_share_a_database_whatever_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        with nr.open(name) as home:
            assert home.run(words, params={"word": name * 1000}, key="one").result == name * 1000
        assert (tmp_path / name / "noria.db").exists()

    assert [file for file in tmp_path.iterdir() if file.is_file()] == []


def test_a_home_by_its_link_and_by_the_users_own_folder_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "home")
    (tmp_path / "home").mkdir()
    with nr.open("~/home") as home:
        run = home.run(words, params={"word": "a"}, key="one")
    with nr.open(tmp_path / "link") as again:
        assert again.run(words, params={"word": "a"}, key="one").id == run.id


@pytest.mark.parametrize("place", ["a\0b", "x" * 300, "taken"])
def test_a_place_that_can_be_no_folder_is_refused_in_words(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()

    with pytest.raises(Invalid, match="no home can be in"):
        nr.open(place)


def test_migrations_are_found_where_the_path_of_noria_has_a_percent_sign(monkeypatch):
    monkeypatch.setattr(migrating, "__file__", "/opt/job%2Fmain/migrating.py")

    assert migrating.configuration(None).get_main_option("script_location") == "/opt/job%2Fmain/migrations"


def test_a_user_whose_number_has_no_name_is_named_by_the_number(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(os, "getuid", lambda: 12345)

    assert login_name() == "uid-12345"


LOOKS = """
import json, sys
import noria as nr
from noria.core.errors import ReadOnly

with nr.open(sys.argv[1]) as home:
    runs = home.runs.list(home.context)
    seen = {"read_only": home.is_read_only, "states": [run.state for run in runs], "result": runs[-1].result}
    seen["logs"] = [part.text for part in home.runs.logs(home.context, runs[-1].id)]
    for name, verb in {
        "cancel": lambda: home.runs.cancel(home.context, runs[0].id),
        "write": lambda: home.database.write(lambda connection: None),
        "put": lambda: home.blobs.put(b"new"),
    }.items():
        try:
            verb()
        except ReadOnly as problem:
            seen[name] = problem.hint
print(json.dumps(seen))
"""


def powerless():
    """Take from a process that is about to be started, as root here, what lets it write where its rights say no."""
    for capability in (1, 2, 3):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def looked(home):
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, str(home)], capture_output=True, text=True, preexec_fn=powerless, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rights(home, files, folders):
    for place in [home, *home.rglob("*")]:
        place.chmod(folders if place.is_dir() else files)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="how root is made powerless is known on Linux alone")
@pytest.mark.parametrize("is_open_elsewhere", [False, True])
def test_a_home_that_one_may_only_read_opens_for_reading_and_says_so_when_written_to(tmp_path, is_open_elsewhere):
    place = tmp_path / "home?1"
    home = nr.open(place)
    home.run(words, params={"word": "said" * 2000})
    if not is_open_elsewhere:
        home.close()
    rights(place, 0o444, 0o555)
    try:
        seen = looked(place)
    finally:
        rights(place, 0o644, 0o755)
        home.close()

    assert seen["read_only"] is True
    assert seen["states"] == ["succeeded"]
    assert seen["result"] == "said" * 2000
    assert {"cancel", "write", "put"} <= set(seen)
    assert all("may write" in seen[name] for name in ("cancel", "write", "put"))


def test_the_log_of_a_killed_process_is_not_passed_over_by_who_may_only_read(tmp_path):
    (tmp_path / "noria.db").touch()
    (tmp_path / "noria.db-wal").write_bytes(b"not yet in the database")

    with pytest.raises(ReadOnly, match="left by a process that was killed"):
        sqlite_files.connector(tmp_path / "noria.db", read_only=True, busy_seconds=1.0)()
