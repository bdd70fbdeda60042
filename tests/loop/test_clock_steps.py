"""Laws of a clock that was ahead: what it wrote stops nothing once the clock is right again."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria import boot
from noria.boot import open_home
from noria.cli.root import noria
from noria.core.clock import RealClock
from noria.core.ids import TimedIds, moment_of
from noria.ledger.model import FactKind
from noria.loop import rules
from noria.loop.model import CycleState, Outcome
from noria.loop.removal_model import Kind, Thing
from noria.runs.rules import is_reused
from noria.settings import Settings
from noria.store import leases

START = datetime(2026, 3, 10, 10, tzinfo=UTC)
AHEAD = datetime(2031, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
VISITS = nr.Dataset("visits", key="id", time="at", label="y")
FEATURES = nr.columns("x")


class SettableClock:
    """A clock that goes where it is set, as a machine's does."""

    def __init__(self, moment):
        self.moment = moment

    def now(self):
        return self.moment


@nr.step
def fit(rows: pl.DataFrame) -> nr.Model:
    return nr.Model(LogisticRegression().fit(FEATURES(rows), rows["y"].to_numpy()), preprocess=FEATURES)


@nr.pipeline
def train(rows):
    return fit(rows)


def a_loop(when, **decided):
    evaluate = nr.Evaluation(metrics=["auc"], holdout="1d", min_rows=5)
    more = {"guards": [], "min_rows": 10, "gate": nr.Gate("auc", margin=0.5)} | decided
    return nr.Loop("visits", dataset=VISITS, train=train, when=when, evaluate=evaluate, **more)


def rows_of(day):
    chance = np.random.default_rng(day.day)
    at = [day + timedelta(minutes=20 * place) for place in range(60)]
    x = chance.normal(size=60)
    known = [moment + timedelta(minutes=5) for moment in at]
    keys = [f"{moment:%y%m%d%H%M}" for moment in at]
    return pl.DataFrame({"id": keys, "at": at, "x": x, "y": x + chance.normal(size=60) > 0, "known_at": known})


class World:
    """A home whose clock is set by hand; each turn is a new worker, as after a restart, unless one is kept."""

    def __init__(self, home, clock):
        self.home, self.clock, self.context = home, clock, home.context

    def turn(self, loop, *, at=None):
        self.clock.moment = self.clock.moment if at is None else at
        with self.home.worker(loop) as worker:
            worker.run_until_quiet()

    def push(self, day):
        self.home.push(VISITS, rows_of(day), source="files")

    def cycles(self):
        return self.home.loops.cycles(self.context, "visits")

    def told(self, kind):
        return [fact for fact in self.home.ledger.after(-1, limit=10_000) if fact.kind is kind]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = SettableClock(START)
    with open_home(settings=Settings(home=str(tmp_path / "home")), clock=clock) as home:
        yield World(home, clock)


@pytest.mark.parametrize("ahead", [AHEAD, START + DAY])
@pytest.mark.parametrize("when", [nr.schedule("0 3 * * *"), nr.data_arrival()])
def test_a_loop_goes_on_after_its_worker_has_looked_at_a_clock_that_was_ahead(world, when, ahead):
    loop = a_loop(when)
    world.home.start(loop)
    world.push(START - 2 * DAY)
    world.turn(loop)
    world.clock.moment = ahead
    world.push(START - 5 * DAY)
    world.turn(loop)
    world.turn(loop, at=START + timedelta(hours=1))
    before = len(world.cycles())
    for day in (1, 2, 3):
        world.clock.moment = START + day * DAY
        world.push(world.clock.moment - DAY)
        world.turn(loop)

    assert len(world.cycles()) == before + 3


def test_one_worker_that_lives_through_the_jump_goes_on_too(world):
    loop = a_loop(nr.schedule("0 3 * * *"))
    world.home.start(loop)
    world.push(START - 2 * DAY)
    with world.home.worker(loop) as worker:
        for moment in (START, AHEAD, START + timedelta(hours=1), START + DAY):
            world.clock.moment = moment
            worker.run_until_quiet()

    assert [cycle.opened_at for cycle in world.cycles()][-1] == START + DAY


def test_a_clock_that_was_set_back_is_told_once_with_what_lay_ahead(world):
    loop = a_loop(nr.data_arrival())
    world.home.start(loop)
    world.clock.moment = AHEAD
    world.push(START - 2 * DAY)
    world.turn(loop)
    for _ in range(3):
        world.turn(loop, at=START)

    (told,) = world.told(FactKind.CLOCK_SET_BACK)
    assert told.payload["by_seconds"] == (AHEAD - START).total_seconds()
    assert "the clock was set back by" in told.payload["words"]
    assert world.cycles()[0].opened_at == START
    assert world.home.loops.get(world.context, "visits").set_back_at == START


def test_a_clock_that_only_trembles_is_not_set_back(world):
    loop = a_loop(nr.data_arrival())
    world.home.start(loop)
    world.push(START - 2 * DAY)
    world.turn(loop)
    world.turn(loop, at=START - timedelta(seconds=30))

    assert world.told(FactKind.CLOCK_SET_BACK) == []


def test_a_cooldown_does_not_last_until_the_clock_gets_there(world):
    loop = a_loop(nr.data_arrival(), cooldown="6h")
    world.home.start(loop)
    world.clock.moment = AHEAD
    world.push(START - 2 * DAY)
    world.turn(loop)
    world.turn(loop, at=START)
    world.push(START - DAY)
    world.turn(loop, at=START + timedelta(hours=5))
    rested = len(world.cycles())
    world.turn(loop, at=START + timedelta(hours=7))

    assert rested == 1
    assert len(world.cycles()) == 2


def test_a_review_that_was_asked_for_on_a_clock_ahead_waits_as_long_as_it_was_given(world):
    loop = a_loop(nr.data_arrival(), review=nr.Review(within="2d"), gate=None)
    world.home.start(loop)
    world.push(START - 2 * DAY)
    world.turn(loop, at=START + 400 * DAY)
    (asked,) = world.cycles()
    world.turn(loop, at=START)
    (waits,) = world.cycles()
    world.turn(loop, at=START + 3 * DAY)

    assert (asked.state, asked.deadline) == (CycleState.REVIEWING, START + 402 * DAY)
    assert waits.deadline == START + 2 * DAY
    assert world.cycles()[0].outcome is Outcome.DECLINED


def test_a_shorter_patience_is_no_clock_that_was_set_back(world):
    world.home.start(a_loop(nr.data_arrival(), review=nr.Review(within="7d"), gate=None))
    world.push(START - 2 * DAY)
    world.turn(a_loop(nr.data_arrival(), review=nr.Review(within="7d"), gate=None))
    world.turn(a_loop(nr.data_arrival(), review=nr.Review(within="1d"), gate=None))

    assert world.told(FactKind.CLOCK_SET_BACK) == []


def test_rows_that_come_after_the_clock_was_right_again_are_new_to_its_champion(world):
    loop = a_loop(nr.data_arrival())
    world.home.start(loop)
    world.clock.moment = START + 400 * DAY
    world.push(START - 2 * DAY)
    world.push(START + 399 * DAY)
    world.turn(loop)
    first = world.home.registry.alias(world.context, "visits").version
    world.clock.moment = START
    world.turn(loop)
    for day in (1, 2, 3, 4):
        world.clock.moment = START + day * DAY
        world.push(world.clock.moment - DAY)
        world.turn(loop)

    assert first is not None
    assert Outcome.SKIPPED is not world.cycles()[-1].outcome
    assert world.cycles()[-1].candidate is not None


def test_a_budget_counts_what_was_spent_on_a_clock_ahead_in_the_month_it_was_set_right(world):
    loop = a_loop(nr.data_arrival(), budget=nr.Budget(cpu_seconds_per_month=1e-9))
    world.home.start(loop)
    world.clock.moment = AHEAD
    world.push(START - 2 * DAY)
    world.turn(loop)
    for day in (0, 40):
        world.clock.moment = START + day * DAY
        world.push(world.clock.moment - DAY)
        world.turn(loop)

    words = [cycle.words for cycle in world.cycles()]
    assert "over the budget" in words[1]
    assert "training has cost 0.0 CPU seconds" in words[2]


@pytest.mark.parametrize("pause_days", [0, 3])
def test_the_end_of_a_pause_makes_no_missed_time_up(world, pause_days):
    loop = a_loop(nr.schedule("0 3 * * *"))
    world.home.start(loop)
    world.push(START - 2 * DAY)
    world.home.loops.pause(world.context, "visits")
    world.turn(loop, at=START + pause_days * DAY)
    world.home.loops.resume(world.context, "visits")
    world.turn(loop)
    resumed = len(world.cycles())
    world.turn(loop, at=START + (pause_days + 1) * DAY)

    assert resumed == 0
    assert len(world.cycles()) == 1


def test_starting_a_paused_loop_anew_makes_no_missed_time_up_either(world):
    loop = a_loop(nr.schedule("0 3 * * *"))
    world.home.start(loop)
    world.push(START - 2 * DAY)
    world.home.loops.pause(world.context, "visits")
    world.clock.moment = START + 3 * DAY
    world.home.start(loop)
    world.turn(loop)

    assert world.cycles() == []


@pytest.mark.parametrize(
    "edited",
    [
        nr.schedule("0 9 * * *"),
        nr.schedule("0 3 * * *", zone="Asia/Tokyo"),
        nr.any_of(nr.schedule("*/5 * * * *"), nr.manual()),
    ],
)
def test_an_edited_schedule_counts_from_the_edit(world, edited):
    world.home.start(a_loop(nr.schedule("0 3 * * *")))
    world.push(START - 2 * DAY)
    world.clock.moment = START + timedelta(hours=13)
    world.home.start(a_loop(edited))
    world.turn(a_loop(edited))
    at_once = len(world.cycles())
    world.turn(a_loop(edited), at=START + 2 * DAY)

    assert at_once == 0
    assert len(world.cycles()) == 1


def test_a_schedule_that_is_declared_as_it_was_is_due_once_for_all_that_it_missed(world):
    loop = a_loop(nr.any_of(nr.schedule("0 3 * * *"), nr.schedule("0 4 * * *")))
    world.home.start(loop)
    world.push(START - 2 * DAY)
    changed = a_loop(nr.any_of(nr.schedule("0 3 * * *"), nr.schedule("0 5 * * *")))
    world.clock.moment = START + 5 * DAY
    world.home.start(changed)
    world.turn(changed)

    (cycle,) = world.cycles()
    assert [reason.words for reason in cycle.reasons] == ["schedule '0 3 * * *' was due"]


def test_a_schedule_that_was_taken_out_and_put_in_again_counts_from_then(world):
    nightly = a_loop(nr.schedule("0 3 * * *"))
    world.home.start(nightly)
    world.push(START - 2 * DAY)
    world.home.start(a_loop(nr.manual()))
    world.clock.moment = START + 5 * DAY
    world.home.start(nightly)
    world.turn(nightly)

    assert world.cycles() == []


@pytest.mark.parametrize("resumed_ahead", [True, False])
def test_a_loop_that_was_paused_during_the_jump_goes_on_when_it_is_resumed(world, resumed_ahead):
    loop = a_loop(nr.schedule("0 3 * * *"))
    world.home.start(loop)
    world.push(START - 2 * DAY)
    world.home.loops.pause(world.context, "visits")
    world.turn(loop, at=AHEAD)
    if resumed_ahead:
        world.home.loops.resume(world.context, "visits")
    world.turn(loop, at=START + timedelta(hours=1))
    world.home.loops.resume(world.context, "visits")
    world.turn(loop)
    at_once = [cycle.opened_at for cycle in world.cycles() if cycle.opened_at < AHEAD]
    world.turn(loop, at=START + DAY)

    assert at_once == []
    assert world.cycles()[-1].opened_at == START + DAY


def doctor(world):
    done = CliRunner().invoke(noria, ["doctor", "--json", "--home", str(world.home.settings.home)])
    return [line for line in json.loads(done.output) if "clock" in line["words"] or "label" in line["words"]]


def test_the_doctor_tells_for_a_week_that_the_clock_was_set_back(world, monkeypatch):
    loop = a_loop(nr.data_arrival())
    world.home.start(loop)
    world.clock.moment = AHEAD
    world.push(START - 2 * DAY)
    world.turn(loop)
    world.turn(loop, at=START)
    monkeypatch.setattr(boot, "RealClock", lambda: world.clock)
    told = doctor(world)
    world.clock.moment = START + 8 * DAY
    later = doctor(world)
    world.clock.moment = START
    world.home.removals.retire(world.context, Thing(kind=Kind.LOOP, name="visits"), reason="a trial")

    assert [(line["about"], line["wrong"]) for line in told] == [("loop visits", False)]
    assert told[0]["words"].startswith("the clock was set back by")
    assert later == []
    assert doctor(world) == []


def test_the_doctor_names_labels_that_count_only_when_the_clock_gets_there(world, monkeypatch):
    world.clock.moment = AHEAD
    world.home.push(VISITS, rows_of(START - 2 * DAY).drop("y", "known_at"))
    labels = rows_of(START - 2 * DAY).select("id", "y", known_at=pl.lit(AHEAD))
    world.home.land_labels(VISITS, labels)
    world.clock.moment = START
    monkeypatch.setattr(boot, "RealClock", lambda: world.clock)

    (line,) = doctor(world)

    assert (line["about"], line["wrong"]) == ("dataset visits", True)
    assert "60" in line["words"]


# --- clocks, ids, leases, caches


def real_clock(moments, seconds):
    return RealClock(machine=iter(moments).__next__, steady=iter(seconds).__next__)


def test_the_machines_clock_stands_still_while_it_is_behind_and_never_goes_back_by_a_little():
    clock = real_clock([START, START + DAY, START, START + DAY, START + 2 * DAY], [0.0, 1.0])

    assert [clock.now() for _ in range(4)] == [START + DAY, START + DAY, START + DAY, START + 2 * DAY]


def test_a_machines_clock_that_stays_behind_for_a_minute_was_set_right_and_is_followed(caplog):
    clock = real_clock([AHEAD, START, START, START + DAY], [0.0, 61.0])

    assert [clock.now() for _ in range(3)] == [AHEAD, START, START + DAY]
    assert "set back" in caplog.text


def test_an_id_says_when_it_was_made_also_after_the_clock_was_set_back():
    clock = SettableClock(AHEAD)
    ids = TimedIds(clock)
    first = ids.new("q")
    clock.moment = START
    second, third = ids.new("q"), ids.new("q")

    assert (moment_of(first), moment_of(second)) == (AHEAD, START)
    assert second < third


def test_a_lease_that_ends_years_ahead_is_free(any_database):
    def take(holder, now):
        return any_database.write(lambda c: leases.acquire(c, now, name="work", holder=holder, seconds=30.0))

    assert take("somewhere/1/2/3", AHEAD) is not None
    assert any_database.read(lambda c: leases.is_held(c, START, name="work", holder="other")) is False
    assert take("elsewhere/1/2/3", START) is not None
    assert take("somewhere/1/2/3", START) is None


def test_a_result_that_was_cached_on_a_clock_ahead_is_not_fresh_until_then():
    assert is_reused(DAY, None, made_at=AHEAD, now=START) is False
    assert is_reused(DAY, None, made_at=START, now=START + timedelta(hours=1)) is True


def test_a_version_of_a_clock_ahead_has_learned_through_when_it_was_set_back(world):
    world.home.start(a_loop(nr.manual()))
    row = world.home.loops.get(world.context, "visits")

    assert rules.on_this_clock(AHEAD, row, now=START) == AHEAD
