"""Laws of stumbling: one bad loop stops neither the others nor the worker, and nothing is set aside in silence."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.cli import working
from noria.cli.root import noria
from noria.core.errors import Conflict, Invalid, Stale, Unavailable
from noria.evaluation import gates
from noria.guards.spec import Guard
from noria.ledger.model import FactKind
from noria.loop import watching
from noria.loop.model import LoopState, Outcome

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
RAISED = []
"""What the buggy guard raises, the next one first; nothing when it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buggy(Guard):
    """A guard with a bug that somebody may mend."""

    name = "buggy"

    def findings(self, _batch):
        if RAISED:
            raise RAISED.pop(0)
        return ()


def features(rows):
    return rows.select("x").to_numpy()


@nr.step
def fit(rows: pl.DataFrame) -> nr.Model:
    return nr.Model(LogisticRegression().fit(features(rows), rows["bought"].to_numpy()), preprocess=features)


@nr.pipeline
def train(rows):
    return fit(rows)


def a_loop(name="clicks", *guards):
    evaluate = nr.Evaluation(holdout="3d", min_rows=50)
    return nr.Loop(
        name, dataset=CLICKS, train=train, when=nr.new_labels(300), guards=guards, evaluate=evaluate,
        gate=nr.Gate("log_loss", margin=0.05),
    )  # fmt: skip


BAD, GOOD = a_loop("bad", Buggy()), a_loop("good")


def bugs(count):
    return [KeyError("weather") for _ in range(count)]


class World:
    """A home on a simulated clock into which clicks come day by day, and a worker that endures."""

    def __init__(self, home):
        self.home = home
        self.context = home.context
        self.chance = np.random.default_rng(3)

    def days(self, count, *, per_day=60, labels=True):
        """Advance by some days, and push their rows and labels in one commit each."""
        rows, told = [], []
        for _ in range(count):
            begin = self.home.clock.now()
            self.home.clock.advance_to(begin + DAY)
            x = self.chance.normal(size=per_day)
            moments = [begin + DAY * place / per_day for place in range(per_day)]
            keys = [moment.isoformat() for moment in moments]
            bought = self.chance.random(per_day) < 1 / (1 + np.exp(-2 * x))
            rows.append(pl.DataFrame({"id": keys, "at": moments, "x": x}))
            known = [self.home.clock.now()] * per_day
            told.append(pl.DataFrame({"id": keys, "bought": bought, "known_at": known}))
        self.home.push(CLICKS, pl.concat(rows))
        if labels:
            self.home.land_labels(CLICKS, pl.concat(told))

    def turn(self, *loops):
        with self.home.worker(*loops, endures=True) as worker:
            return worker.run_until_quiet()

    def turn_for(self, loop, *, seconds):
        """Turn the loop, and again whenever its next try is due, until so much time has passed."""
        until = self.home.clock.now() + timedelta(seconds=seconds)
        self.turn(loop)
        while (found := self.stumble()) and found.retry_at is not None and found.retry_at <= until:
            self.home.clock.advance_to(found.retry_at)
            self.turn(loop)

    def stumble(self, name="bad"):
        found = self.home.loops.stumbles(self.context, name)
        assert len(found) <= 1
        return found[0] if found else None

    def outcomes(self, name="bad"):
        return [cycle.outcome for cycle in self.home.loops.cycles(self.context, name)]

    def told(self, kind):
        return [fact for fact in self.home.ledger.after(-1, limit=10_000) if fact.kind is kind]


@pytest.fixture
def world(loop_home, monkeypatch):
    monkeypatch.setenv("NORIA_ACTOR", "ann")
    RAISED.clear()
    return World(loop_home)


def test_one_bad_loop_stops_neither_the_others_nor_the_worker(world):
    world.home.start(BAD)
    world.home.start(GOOD)
    world.days(7)
    RAISED.extend(bugs(1))

    world.turn(BAD, GOOD)

    assert world.outcomes("good") == [Outcome.PROMOTED]
    assert world.outcomes("bad") == [None]
    assert world.stumble().words().startswith("cycle.opened raised once: KeyError: 'weather' (test_stumbles.py:")
    assert "raise RAISED.pop(0)" in world.stumble().trace


@pytest.mark.parametrize("waits", ["paused", "stumbling"])
def test_a_loop_that_waits_holds_up_nobody_however_much_comes_meanwhile(world, waits):
    for loop in (BAD, GOOD):
        world.home.start(loop)
    if waits == "paused":
        world.home.loops.pause(world.context, "bad")
    world.days(6)
    RAISED.extend(bugs(2))
    world.turn(BAD, GOOD)
    told = {"subject": "elsewhere", "payload": {"loop": "elsewhere", "fact": "none", "again": False}}
    world.home.database.write(
        lambda c: [world.home.ledger.record(c, world.context, FactKind.FACT_RETRIED, **told) for _ in range(600)]
    )
    world.days(6)

    world.turn(BAD, GOOD)

    assert world.outcomes("good") == [Outcome.PROMOTED, Outcome.PROMOTED]
    assert world.outcomes() == ([] if waits == "paused" else [None])


@pytest.mark.both_databases
def test_a_fact_is_not_tried_before_its_time_and_what_is_got_over_leaves_nothing(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(2))

    world.turn(BAD)
    world.turn(BAD)
    assert (world.stumble().tries, world.stumble().retry_at) == (1, world.home.clock.now() + timedelta(seconds=5))
    world.turn_for(BAD, seconds=60)

    assert world.outcomes() == [Outcome.PROMOTED]
    assert world.stumble() is None
    assert world.told(FactKind.FACT_SET_ASIDE) == []


@pytest.mark.both_databases
def test_after_its_last_try_a_fact_is_set_aside_in_words_and_its_cycle_has_failed(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(99))

    world.turn_for(BAD, seconds=3600)

    (cycle,) = world.home.loops.cycles(world.context, "bad")
    assert cycle.outcome is Outcome.FAILED
    assert cycle.words.startswith("cycle.opened raised 5 times: KeyError: 'weather'")
    assert (world.stumble().is_set_aside, world.stumble().cycle) == (True, cycle.id)
    (told,) = world.told(FactKind.FACT_SET_ASIDE)
    assert (told.subject, told.payload["kind"], told.payload["words"]) == ("bad", "cycle.opened", cycle.words)
    assert world.home.ledger.audit().holds


@pytest.mark.both_databases
def test_what_was_set_aside_is_tried_again_as_another_cycle_once_somebody_asks(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(5))
    world.turn_for(BAD, seconds=3600)

    world.home.loops.retry(world.context, "bad", reason="the guard is mended")
    world.turn(BAD)

    assert world.outcomes() == [Outcome.FAILED, Outcome.PROMOTED]
    reason = world.home.loops.cycles(world.context, "bad")[1].reasons[0].words
    assert reason.startswith("person:ann asked: the guard is mended; the cycle before failed: cycle.opened raised 5")
    assert world.stumble() is None


def test_a_later_cycle_that_comes_through_ends_the_trouble_of_the_one_before(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(5))
    world.turn_for(BAD, seconds=3600)

    world.days(6)
    world.turn(BAD)

    assert world.outcomes() == [Outcome.FAILED, Outcome.PROMOTED]
    assert world.stumble() is None


def test_news_that_was_set_aside_is_counted_once_somebody_asks_and_opens_no_cycle_before(world, monkeypatch):
    world.home.start(BAD)
    world.days(4)
    world.turn(BAD)
    before = world.home.loops.get(world.context, "bad").standing.rows
    with monkeypatch.context() as patch:
        patch.setattr(watching, "look", lambda _turn: 1 / 0)
        world.days(1, labels=False)
        world.turn_for(BAD, seconds=3600)
    assert world.stumble().is_set_aside
    assert world.stumble().cycle is None
    world.turn(BAD)
    assert world.home.loops.get(world.context, "bad").standing.rows == before

    world.home.loops.retry(world.context, "bad", reason="mended")
    world.turn(BAD)

    assert world.home.loops.get(world.context, "bad").standing.rows == before + 60
    assert world.stumble() is None


def test_what_waits_is_tried_at_once_when_somebody_asks(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(3))
    world.turn_for(BAD, seconds=40)
    assert world.stumble().tries == 3

    world.home.loops.retry(world.context, "bad", reason="mended")
    world.turn(BAD)

    assert world.outcomes() == [Outcome.PROMOTED]
    assert world.stumble() is None
    with pytest.raises(Conflict, match="stumbled over nothing"):
        world.home.loops.retry(world.context, "bad", reason="once more")


def test_why_tells_of_a_candidate_whose_gate_could_not_decide(world, monkeypatch):
    world.home.start(BAD)
    world.days(7)
    monkeypatch.setattr(gates, "judge_plain", lambda *_: 1 / 0)

    world.turn_for(BAD, seconds=3600)

    story = dict(world.home.loops.why(world.context, "bad", 1))
    assert story["outcome"].startswith("failed: model.evaluated raised 5 times: ZeroDivisionError")
    assert story["stumbled"].endswith("(noria doctor --trace shows where; noria loop retry bad)")


def test_a_loop_that_is_overtaken_again_and_again_keeps_nobody_waiting(world):
    world.home.start(BAD)
    world.home.start(GOOD)
    world.days(7)
    RAISED.extend(Stale("somebody else was first") for _ in range(3))

    for _ in range(3):
        world.turn(BAD, GOOD)

    assert world.outcomes("good") == [Outcome.PROMOTED]
    assert world.stumble() is None


def test_an_error_that_passes_by_itself_is_never_set_aside(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(Unavailable("the feature store did not answer") for _ in range(9))

    world.turn_for(BAD, seconds=7200)

    assert world.outcomes() == [Outcome.PROMOTED]
    assert world.told(FactKind.FACT_SET_ASIDE) == []


def test_code_that_asks_the_process_to_exit_does_not_end_the_worker(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.append(SystemExit(3))

    world.turn(BAD)

    assert world.stumble().error.startswith("SystemExit: 3")


def test_a_programming_error_is_loud_where_nobody_asked_to_endure_it(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(1))

    with world.home.worker(BAD) as worker, pytest.raises(KeyError, match="weather"):
        worker.run_until_quiet()

    assert world.stumble() is None


def test_an_endpoint_whose_log_cannot_land_keeps_the_loop_from_nothing_else(world, monkeypatch):
    world.home.start(BAD)
    world.days(7)
    monkeypatch.setattr(world.home.landings, "land", lambda *_: 1 / 0)
    monkeypatch.setattr(world.home.rooms.endpoints, "of_model", lambda *_: 1 / 0)

    world.turn(BAD)

    assert world.outcomes() == [Outcome.PROMOTED]
    found = world.home.loops.stumbles(world.context, "bad")
    assert {(each.what, each.error[:17]) for each in found} == {
        ("landing", "ZeroDivisionError"),
        ("rescoring", "ZeroDivisionError"),
    }


def test_the_doctor_says_what_is_wrong_and_which_command_helps(world):
    world.home.start(BAD)
    world.days(7)
    RAISED.extend(bugs(99))
    world.turn_for(BAD, seconds=3600)
    home = world.home.settings.home

    sick = CliRunner().invoke(noria, ["doctor", "--home", home, "--trace"])
    tried = CliRunner().invoke(noria, ["loop", "retry", "bad", "--home", home])
    better = CliRunner().invoke(noria, ["doctor", "--home", home, "--json"])

    assert sick.exit_code == 1
    assert "set aside, and its cycle has failed" in " ".join(sick.output.split())
    assert "noria loop retry bad" in sick.output
    assert "Traceback (most recent call last)" in sick.output
    assert tried.output.startswith("tried again: cycle.opened raised 5 times")
    assert "noria loop retry" not in better.output
    assert "no worker turns it" in better.output


def test_a_file_that_cannot_be_loaded_does_not_stop_the_loops_of_the_others(tmp_path, monkeypatch):
    (tmp_path / "sound.py").write_text(
        "import noria as nr\n@nr.pipeline\ndef train(rows):\n    return rows\n"
        "loop = nr.Loop('sound', dataset=nr.Dataset('d', key='id', time='at', label='y'), train=train)\n"
    )
    (tmp_path / "broken.py").write_text("raise RuntimeError('the feed is gone')\n")
    told = threading.Event()
    told.set()
    monkeypatch.setattr(working, "on_signals", lambda: told)
    files = [str(tmp_path / name) for name in ("broken.py", "sound.py")]

    both = CliRunner().invoke(noria, ["worker", *files, "--home", str(tmp_path / "home")])
    alone = CliRunner().invoke(noria, ["worker", files[0], "--home", str(tmp_path / "home")])

    assert both.exit_code == 0
    assert "RuntimeError: the feed is gone" in both.output
    assert "loop sound is running" in both.output
    assert isinstance(alone.exception, Invalid)
    assert "broken.py, line 1: RuntimeError: the feed is gone" in str(alone.exception)


def test_a_paused_loop_opens_no_cycle_until_it_is_resumed(world):
    world.home.start(GOOD)
    world.home.loops.pause(world.context, "good")
    world.days(7)

    world.turn(GOOD)
    assert world.outcomes("good") == []
    assert CliRunner().invoke(noria, ["loop", "resume", "good", "--home", world.home.settings.home]).exit_code == 0
    world.turn(GOOD)

    assert world.home.loops.get(world.context, "good").state is LoopState.RUNNING
    assert world.outcomes("good") == [Outcome.PROMOTED]
