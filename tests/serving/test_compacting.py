"""Laws of compaction: whatever was in segments is in a few Parquet files, once, whenever a crash comes."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner
from clicks import CLICKS, HOUR, READS, START, ask, labels, land, opened, rows_of, tell
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.cli.root import noria
from noria.serving.compacted import frame_of
from noria.serving.compacting import Compactor, Tidied
from noria.serving.disk import MachineDisk
from noria.serving.log import ends
from noria.serving.model import Feedback, Landed, Prediction

DAY = timedelta(days=1)


def folder(home):
    return home.log.folder_of("default", "clicks")


def names(home, suffix):
    return sorted(path.name.partition("-")[0] for path in folder(home).glob(f"*{suffix}"))


def tidy(home, **options):
    return home.landings.tidy(home.context, home.endpoints.get(home.context, "clicks"), **options)


def outcomes(home):
    now = home.clock.now()
    return home.endpoints.outcomes(home.context, "clicks", since=START - DAY, until=now + DAY, as_of=now)


def a_day_later(home):
    """Let a day pass, and something be asked on it: what was written before has ended."""
    home.clock.advance_to(home.clock.now() + DAY)
    ask(home, rows_of(1, first=1000 + home.clock.now().day))
    tell(home, label=True, key="c0")


@pytest.fixture
def used(home):
    """A home with two segments of each kind that have ended and landed, and one that is in use."""
    for number in range(3):
        (answer,) = ask(home, rows_of(1, first=number))
        tell(home, label=number % 2 == 0, prediction=answer.prediction)
        tell(home, label=True, key="c0")
        home.clock.advance_to(home.clock.now() + HOUR)
    home.clock.advance_to(START + DAY)
    ask(home, rows_of(1, first=3))
    tell(home, label=False, key="c3")
    land(home)
    return home


def test_after_compaction_everything_reads_as_before(used):
    before = outcomes(used)

    assert tidy(used) == Tidied(segments=6, files=2)

    assert names(used, ".parquet") == ["feedback", "predictions"]
    assert names(used, ".jsonl") == ["feedback", "predictions"]
    assert_frame_equal(outcomes(used), before)
    with opened_again(used) as other:
        assert_frame_equal(outcomes(other), before)
    assert tidy(used) == Tidied()


def opened_again(home):
    return nr.open(settings=home.settings, clock=home.clock)


def test_compacted_predictions_are_scanned_by_polars_with_the_rows_that_were_asked_about(used):
    tidy(used)

    found = pl.scan_parquet(folder(used) / "predictions-2026-01-01-*.parquet").collect()

    assert found["row_key"].to_list() == ["c0", "c1", "c2"]
    assert [row["x"] for row in found["row"].str.json_decode(pl.Struct({"x": pl.Float64}))] == [0.0, 1.0, 2.0]


def test_every_field_of_every_record_comes_through_as_it_was():
    paris = timezone(HOUR)
    shared = {"request": "q", "prediction": "p", "key": "k", "row_key": "r", "version": 2, "latency_ms": 1.5}
    at = datetime(2026, 7, 1, 12, 30, 15, 123457, UTC)
    made = [
        Prediction(**shared, at=at, score=0.5, time=at.astimezone(paris), row=msgspec.Raw(b'{"x": 1.50}')),
        Prediction(
            **shared, at=at - HOUR, score=None, missing=3, is_shadow=True, error="no", time=datetime(1969, 1, 1)
        ),
    ]

    last, first = frame_of("predictions", made).rows(named=True)[::-1]

    assert last == shared | {
        "at": at, "time": at, "is_shadow": False, "score": 0.5, "missing": 0, "error": None, "row": '{"x": 1.50}'
    }  # fmt: skip
    assert first == shared | {
        "at": at - HOUR, "time": datetime(1969, 1, 1, tzinfo=UTC), "is_shadow": True, "score": None, "missing": 3,
        "error": "no", "row": "null",
    }  # fmt: skip


@pytest.mark.parametrize("label", [True, 3, 0.25, "yes, it was"])
def test_labels_of_every_kind_come_through(label):
    told = Feedback(label=label, at=START, key="k", shaped=True)

    (row,) = frame_of("feedback", [told]).rows(named=True)

    assert (msgspec.json.decode(row["label"]), row["key"], row["prediction"], row["shaped"]) == (label, "k", None, True)


def test_with_a_dry_run_nothing_is_changed(used):
    there = sorted(folder(used).iterdir())

    assert tidy(used, dry_run=True) == Tidied(segments=6, files=2)

    assert sorted(path for path in folder(used).iterdir() if path.name != ".lock") == [
        path for path in there if path.name != ".lock"
    ]


def test_what_has_not_landed_or_is_of_today_or_in_use_is_left_alone(home):
    ask(home, rows_of(1))
    land(home)
    assert tidy(home) == Tidied()
    home.clock.advance_to(START + DAY)
    assert tidy(home) == Tidied()

    ask(home, rows_of(1, first=1))
    ask(home, rows_of(1, first=2))
    assert tidy(home) == Tidied(segments=1, files=1)
    a_day_later(home)

    assert tidy(home) == Tidied()


def test_landing_goes_on_and_late_feedback_finds_a_row_that_was_compacted(used):
    (answer,) = ask(used, rows_of(1, first=7))
    land(used)
    a_day_later(used)
    land(used)
    tidy(used)
    tell(used, label=True, prediction=answer.prediction)

    assert land(used) == Landed(labels=1)

    assert labels(used)["c7"] is True
    place = used.database.read(lambda c: positions(c))
    assert set(place) == set(ends(folder(used), "predictions")) | set(ends(folder(used), "feedback"))


def positions(connection):
    from noria.serving import queries

    return queries.landing(connection, "default", "clicks").positions


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class MortalDisk(MachineDisk):
    """A disk whose process dies before, or in the middle of, its n-th change."""

    def __init__(self, lives, die):
        self.lives, self.die = lives, die

    def spend(self):
        self.lives -= 1
        if self.lives < 0:
            self.die()

    def put(self, path, payload):
        self.spend()
        path.with_name(path.name + ".part").write_bytes(payload[: len(payload) // 2])
        self.spend()
        super().put(path, payload)

    def remove(self, paths):
        for path in paths:
            self.spend()
            super().remove([path])


def die():
    raise Killed


def test_a_crash_at_any_change_loses_nothing_and_doubles_nothing(used):
    before = outcomes(used)
    landed = used.database.read(positions)
    crashes = 0
    while True:
        compactor = Compactor(MortalDisk(crashes, die), clock=used.clock, ids=used.ids)
        try:
            compactor.compact(folder(used), landed)
        except Killed:
            crashes += 1
            with opened_again(used) as other:
                assert_frame_equal(outcomes(other), before)
            assert_frame_equal(outcomes(used), before)
            continue
        break

    assert crashes >= 4
    assert names(used, ".jsonl") == names(used, ".parquet") == ["feedback", "predictions"]
    assert not list(folder(used).glob("*.part"))
    assert land(used) == Landed()


_COMPACTS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_compacting import MortalDisk
from noria.core.clock import RealClock
from noria.core.ids import TimedIds
from noria.serving.compacting import Compactor

class Everything(dict):
    def get(self, name, default=None):
        return 2**60

disk = MortalDisk(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))
Compactor(disk, clock=RealClock(), ids=TimedIds(RealClock())).compact(Path(sys.argv[1]), Everything())
"""


@pytest.mark.parametrize("lives", [1, 3])
def test_kill_minus_nine_in_the_middle_of_a_compaction_leaves_it_to_the_next_one(tmp_path, lives):
    with opened(tmp_path) as home:
        for number in range(3):
            ask(home, rows_of(1, first=number))
            home.clock.advance_to(home.clock.now() + HOUR)
        ask(home, rows_of(1, first=3))
        before = outcomes(home)
        words = [sys.executable, "-c", _COMPACTS, str(folder(home)), str(lives), str(Path(__file__).parent)]

        assert subprocess.run(words, check=False).returncode == -9
        assert_frame_equal(outcomes(home), before)
        land(home)
        home.clock.advance_to(START + DAY)
        tidy(home)

        assert_frame_equal(outcomes(home), before)


def test_compacted_files_are_let_go_after_the_days_that_are_kept(tmp_path):
    with opened(tmp_path, log_keep_days=30) as home:
        ask(home, rows_of(1))
        land(home)
        a_day_later(home)
        land(home)
        assert tidy(home) == Tidied(segments=1, files=1)
        home.clock.advance_to(START + timedelta(days=29))
        assert tidy(home).expired == 0
        home.clock.advance_to(START + timedelta(days=31))

        assert tidy(home, dry_run=True).expired == 1
        assert tidy(home).expired == 1

        assert names(home, ".parquet") == []


def test_a_worker_compacts_in_its_round(home):
    @nr.step
    def fit(rows: pl.DataFrame) -> nr.Model:
        return nr.Model(LogisticRegression().fit(READS(rows), rows["bought"].to_numpy()), preprocess=READS)

    @nr.pipeline
    def train(rows):
        return fit(rows)

    loop = nr.Loop("clicks", dataset=CLICKS, train=train, when=nr.manual(), gate=None)
    home.start(loop)
    ask(home, rows_of(1))
    with home.worker(loop) as worker:
        worker.run_until_quiet()
        a_day_later(home)
        worker.run_until_quiet()

    assert names(home, ".parquet") == ["predictions"]


def test_commands_compact_and_show_what_was_put_aside(tmp_path):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1, first=100))
        ask(home, rows_of(1).with_columns(id=pl.lit("c" * 1001)))
        land(home)
        a_day_later(home)
    places = {"HOME": "home", "BLOBS": "blobs", "KEY_FILE": "key", "LOG_FOLDER": "log"}
    environment = {f"NORIA_{name}": str(tmp_path / place) for name, place in places.items()}

    def told(*words):
        return json.loads(CliRunner().invoke(noria, [*words, "--json"], env=environment).output)

    (aside,) = told("data", "aside", "clicks")
    first, done, after = told("gc", "--dry-run"), told("gc"), told("gc")

    assert (aside["kind"], "longer than 1,000 letters" in aside["reason"]) == ("row", True)
    assert json.loads(aside["record"])["row_key"] == "c" * 1001
    assert [each["segments_compacted"] for each in (first, done, after)] == [1, 1, 0]
