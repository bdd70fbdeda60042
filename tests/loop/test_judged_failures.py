"""Laws of candidates that cannot be judged: whatever their code does, the cycle settles with the reason in words."""

import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.boot import open_home
from noria.cli import loops
from noria.cli.root import noria
from noria.core.clock import SimulatedClock
from noria.loop.model import Outcome
from noria.loop.streaks import Ended, streak
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
VISITS = nr.Dataset("visits", key="id", time="at", label="y")
HOW = {"preprocess": None, "estimator": None}
"""What the model's own code does when it judges; nothing of it while it is trained."""


def features(rows):
    table = rows.select("x").to_numpy()
    return table if HOW["preprocess"] is None else HOW["preprocess"](rows, table)


@dataclass
class Odd:
    """An estimator that answers as the test wants."""

    inner: object

    def predict_proba(self, table):
        chances = self.inner.predict_proba(table)
        return chances if HOW["estimator"] is None else HOW["estimator"](chances)


@nr.step
def fit(rows: pl.DataFrame) -> nr.Model:
    fitted = LogisticRegression().fit(rows.select("x").to_numpy(), rows["y"].to_numpy())
    return nr.Model(fitted, preprocess=features)


@nr.pipeline
def train(rows):
    return fit(rows)


def raises(raised):
    def act(*_):
        raise raised

    return act


def on_some(rows, table):
    if rows["x"].max() > 0:
        raise ValueError("x is above 0")
    return table


def a_loop(**decided):
    evaluate = decided.pop("evaluate", nr.Evaluation(metrics=["auc"], holdout="2d", min_rows=5, refit=False))
    return nr.Loop(
        "visits", dataset=VISITS, train=train, when=nr.data_arrival(), evaluate=evaluate, min_rows=10,
        **({"guards": [], "gate": nr.Gate("auc", margin=0.5)} | decided),
    )  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(HOW, "preprocess", None)
    monkeypatch.setitem(HOW, "estimator", None)
    clock = SimulatedClock(START)
    with open_home(settings=Settings(home=str(tmp_path / "home")), clock=clock) as opened:
        clock.advance_to(START + timedelta(days=6))
        yield opened


def rows_with(labels=lambda x: x > 0):
    at = [START + timedelta(hours=place) for place in range(140)]
    x = np.random.default_rng(3).normal(size=140)
    y = labels(x)
    return pl.DataFrame({"id": [str(moment) for moment in at], "at": at, "x": x, "y": y, "known_at": at})


def turned(home, loop, rows):
    home.start(loop)
    home.push(VISITS, rows)
    with home.worker(loop) as worker:
        worker.run_until_quiet()
    return home.loops.cycles(home.context, "visits")[-1]


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (
            raises(KeyError("price")),
            "the candidate could not score the rows: KeyError: 'price' (test_judged_failures.py",
        ),
        (raises(SystemExit(3)), "SystemExit: 3"),
        (raises(MemoryError()), "MemoryError"),
        (raises(nr.NoriaError("no column named 'price'")), "no column named 'price'"),
        (on_some, "ValueError: x is above 0"),
        (lambda _, __: None, "the candidate could not score the rows"),
        (lambda _, table: table[:-1], "it gave scores of shape"),
        (lambda _, table: table[:0], "could not score the rows"),
        (lambda _, table: np.hstack([table, table]), "X has 2 features"),
        (lambda _, table: table.ravel(), "could not score the rows"),
        (lambda _, table: table * np.nan, "contains NaN"),
        (lambda _, table: table.astype(object).astype(str) + "x", "could not score the rows"),
    ],
)
def test_a_preprocess_that_fails_while_it_is_judged_ends_its_cycle_with_the_reason(home, does, words):
    HOW["preprocess"] = does

    cycle = turned(home, a_loop(), rows_with())

    assert cycle.outcome is Outcome.FAILED
    assert words in cycle.words


def test_text_labels_end_the_cycle_in_words_with_a_way_out(home):
    cycle = turned(home, a_loop(), rows_with(lambda x: np.where(x > 0, "yes", "no")))

    assert cycle.outcome is Outcome.FAILED
    assert "the labels 'y' are not numbers but String, such as 'no', 'yes'" in cycle.words
    assert "push them as true and false" in cycle.words


@pytest.mark.parametrize(
    ("labels", "outcome", "words"),
    [
        (lambda x: np.digitize(x, [-0.5, 0.5]), Outcome.FAILED, "chances of shape"),
        (lambda x: x < 99, Outcome.QUARANTINED, "all 96 labels in the training window are True"),
        (lambda x: [None] * len(x), Outcome.QUARANTINED, "0 labelled rows"),
        (lambda x: np.where(np.arange(len(x)) < 96, x > 0, True), Outcome.REJECTED, "unsure"),
    ],
)
def test_labels_that_cannot_be_judged_settle_the_cycle(home, labels, outcome, words):
    cycle = turned(home, a_loop(), rows_with(labels))

    assert cycle.outcome is outcome
    assert words in cycle.words


def test_a_slice_and_a_block_of_no_column_settle_the_cycle(home):
    for word, evaluate in {
        "nowhere": nr.Evaluation(metrics=["auc"], block="nowhere", holdout="2d", min_rows=5),
    }.items():
        cycle = turned(home, a_loop(evaluate=evaluate), rows_with())

        assert cycle.outcome is Outcome.FAILED
        assert f"no column named {word!r}" in cycle.words


LOOP_FILE = """
import noria as nr, polars as pl
from dataclasses import dataclass
from noria.guards.spec import Guard
from sklearn.linear_model import LogisticRegression
visits = nr.Dataset("visits", key="id", time="at", label="y")
@dataclass(frozen=True, slots=True, kw_only=True)
class Buggy(Guard):
    name = "buggy"
    def findings(self, batch): raise KeyError("weather")
@nr.step
def fit(rows: pl.DataFrame): return nr.Model(LogisticRegression().fit(rows.select("x").to_numpy(), rows["y"].to_numpy()))
@nr.pipeline
def train(rows): return fit(rows)
loop = nr.Loop("visits", dataset=visits, train=train, when=nr.data_arrival(), guards=[Buggy()], min_rows=10)
"""


def test_once_settles_the_cycle_of_a_guard_that_raises_and_exits_1_without_a_traceback(home, tmp_path):
    home.push(VISITS, rows_with())
    (tmp_path / "guarded.py").write_text(LOOP_FILE)
    command = [sys.executable, "-m", "noria", "loop", "start", "guarded.py", "--once", "--home", "home"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    (cycle,) = home.loops.cycles(home.context, "visits")
    assert done.returncode == 1
    assert "KeyError: 'weather' (guarded.py:10)" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert cycle.outcome is Outcome.FAILED


# --- cycles that come to nothing


def ended(*outcomes):
    """Return cycles as they ended, given oldest first, newest first."""
    found = [
        Ended(
            number=number, outcome=Outcome.REJECTED if outcome == "unsure" else outcome, words=f"because {number}",
            is_unsure=outcome == "unsure", at=START + timedelta(days=number),
        )
        for number, outcome in enumerate(outcomes, start=1)
    ]  # fmt: skip
    return found[::-1]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([], None),
        ([Outcome.PROMOTED], None),
        ([Outcome.FAILED], "cycle 1 failed: because 1"),
        ([Outcome.FAILED, Outcome.PROMOTED], None),
        ([Outcome.QUARANTINED] * 2, None),
        ([Outcome.PROMOTED, *[Outcome.QUARANTINED] * 24], "its last 24 cycles came to nothing (24 stopped); the last one, 25: because 25"),
        (["unsure", "unsure", "unsure"], "its last 3 cycles came to nothing (3 unsure); the last one, 3: because 3"),
        ([Outcome.REJECTED, "unsure", "unsure"], None),
        ([Outcome.QUARANTINED, Outcome.SKIPPED, Outcome.FAILED], "its last 2 cycles came to nothing (1 failed, 1 stopped); the last one, 3: because 3"),
        ([Outcome.SKIPPED] * 9, None),
    ],
)  # fmt: skip
def test_a_loop_whose_cycles_come_to_nothing_is_named(outcomes, words):
    found = streak("visits", ended(*outcomes))

    assert (None if found is None else found.words()) == words


def test_the_page_the_status_and_the_doctor_say_that_cycles_come_to_nothing(home):
    from noria.cli.doctor import _in_vain
    from noria.server.control.pages import seeing

    loop = a_loop()
    home.start(loop)
    for part in range(3):
        home.push(VISITS, rows_with(lambda x: x < 99).with_columns(pl.col("id") + f"-{part}"))
        with home.worker(loop) as worker:
            worker.run_until_quiet()

    (shown,) = seeing.loops(home, home.context)
    (trouble,) = _in_vain(home)
    assert shown.state == "in vain"
    assert "its last 3 cycles came to nothing (3 stopped)" in shown.words
    assert trouble.is_wrong
    assert "its last 3 cycles" in trouble.words


def test_loop_start_exits_1_when_it_is_told_to_rest_after_a_training_that_failed(home, tmp_path, monkeypatch):
    home.push(VISITS, rows_with())
    (tmp_path / "failing_loop.py").write_text(
        LOOP_FILE.replace("guards=[Buggy()]", "guards=[]").replace(
            "return nr.Model", "raise KeyError('price'); nr.Model"
        )
    )
    told = threading.Event()
    monkeypatch.setattr(loops, "on_signals", lambda: told)
    monkeypatch.setattr(loops, "tell", lambda turn: told.set() if "settled" in turn.fact.kind.value else None)

    done = CliRunner().invoke(noria, ["loop", "start", "failing_loop.py", "--home", "home"])

    assert done.exit_code == 1
    assert "cycle 1 of loop visits failed" in str(done.exception)
    assert "KeyError: 'price'" in str(done.exception)
