"""Laws of a loop's rollouts: let in by stages, taken back in words, crash-safe, and the champion moves only at the end."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.core.errors import Conflict
from noria.ledger.model import FactKind
from noria.loop.model import CycleState, Outcome
from noria.loop.removal_model import Kind, Thing
from noria.loop.tables import loops
from noria.rollouts.model import RolloutState

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
CANARY = nr.Canary(
    shadow="2d",
    stages=(0.5, 1.0),
    abort_on=("error_rate", "missing_rate", "log_loss"),
    margins={"error_rate": 0.2, "missing_rate": 0.2, "log_loss": 0.2},
    min_time="1d",
    min_requests=50,
    patience="5d",
    look_every="1d",
)


def features(rows):
    return rows.select(pl.col("x", "y").fill_null(0.0)).to_numpy()


def picky(rows):
    if rows["y"].null_count():
        raise ValueError("y is needed")
    return features(rows)


@nr.step(cache=True)
def fit(rows: pl.DataFrame, needs_y: bool = False) -> nr.Model:
    model = LogisticRegression().fit(features(rows), rows["bought"].to_numpy())
    return nr.Model(model, preprocess=picky if needs_y else features)


@nr.pipeline
def train(rows, needs_y=False):
    return fit(rows, needs_y=needs_y)


def a_loop(**changes):
    told = {"dataset": CLICKS, "train": train, "when": nr.manual(), "rollout": CANARY} | changes
    evaluate = nr.Evaluation(holdout="5d", min_rows=50, refit=told.pop("refit", True))
    return nr.Loop("clicks", gate=nr.Gate("log_loss", margin=0.05), evaluate=evaluate, **told)


class World:
    """A home on a simulated clock, in which clicks come day by day and are asked about at the endpoint."""

    def __init__(self, home):
        self.home = home
        self.chance = np.random.default_rng(3)
        self.answers = []
        self.broken = False

    @property
    def context(self):
        return self.home.context

    def day(self, *loops, per_day=200, together=1):
        """Advance by a day, or by several at once; each day's labels are known at its end."""
        begin, many = self.home.clock.now(), per_day * together
        self.home.clock.advance_to(begin + DAY * together)
        x, y = self.chance.normal(size=(2, many))
        bought = self.chance.random(many) < 1 / (1 + np.exp(-2 * x - y))
        moments = [begin + DAY * place / per_day for place in range(many)]
        keys = [moment.isoformat() for moment in moments]
        rows = pl.DataFrame({"id": keys, "at": moments, "x": x, "y": y})
        self.home.push(CLICKS, rows, source="site")
        if self.champion() is not None:
            asked = rows.with_columns(y=pl.lit(None, pl.Float64)) if self.broken else rows
            self.answers += self.home.endpoints.predict(self.context, "clicks", asked, key="id")
        known = [begin + DAY * (1 + place // per_day) for place in range(many)]
        self.home.land_labels(CLICKS, pl.DataFrame({"id": keys, "bought": bought, "known_at": known}), source="shop")
        if loops:
            self.turn(*loops)

    def days(self, count, *loops):
        if loops or self.champion() is not None:
            for _ in range(count):
                self.day(*loops)
        else:
            self.day(together=count)

    def turn(self, *loops):
        with self.home.worker(*loops) as worker:
            return worker.run_until_quiet()

    def ask(self, loop, reason):
        self.home.loops.request(self.context, "clicks", reason=reason)
        self.turn(loop)

    def cycles(self):
        return self.home.loops.cycles(self.context, "clicks")

    def champion(self):
        return self.home.registry.alias(self.context, "clicks").version

    def route(self):
        found = self.home.endpoints.route(self.context, "clicks")
        return {variant.version: variant.weight for variant in found.variants}, found.shadows

    def rollout(self):
        return self.home.rollouts.all(self.context, "clicks")[-1]

    def told(self, kind):
        return [fact for fact in self.home.ledger.after(-1, limit=10_000) if fact.kind is kind]


@pytest.fixture
def world(loop_home):
    return World(loop_home)


def on_its_way(world, loop):
    """Bring a first champion, and let a second candidate begin its way in."""
    world.home.start(loop)
    world.days(10)
    world.ask(loop, "first")
    world.days(8)
    world.ask(loop, "second")
    assert world.rollout().state is RolloutState.OPEN


def test_the_first_champion_goes_live_at_once_and_answers_everything(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(10)

    world.ask(loop, "first")

    assert world.cycles()[0].outcome is Outcome.PROMOTED
    assert world.home.rollouts.all(world.context) == []
    assert world.route() == ({world.champion(): 1.0}, ())


@pytest.mark.both_databases
def test_a_candidate_passes_shadow_and_its_stage_and_becomes_champion_only_at_the_end(world):
    loop = a_loop()
    on_its_way(world, loop)
    refit = world.rollout().candidate
    assert world.home.registry.version(world.context, "clicks", refit).parent == world.cycles()[1].candidate
    assert world.cycles()[1].state is CycleState.ROLLING_OUT
    assert (world.champion(), world.route()) == (2, ({2: 1.0}, (refit,)))

    world.days(2, loop)
    assert (world.champion(), world.route()) == (2, ({refit: 0.5, 2: 0.5}, ()))
    world.day(loop)

    assert (world.champion(), world.route()) == (refit, ({refit: 1.0}, ()))
    settled = world.cycles()[1]
    assert (settled.outcome, settled.promoted) == (Outcome.PROMOTED, refit)
    assert "against the champion's" in settled.words
    assert 80 <= world.rollout().exposed <= 120
    assert [one["stage"] for one in world.rollout().passed] == ["shadow"]
    assert world.home.ledger.audit().holds


def test_a_candidate_that_fails_live_is_taken_back_and_nobody_has_missed_an_answer(world):
    first = a_loop(refit=False)
    world.home.start(first)
    world.days(10)
    world.ask(first, "first")
    world.days(8)
    loop = a_loop(refit=False, params={"needs_y": True})
    world.home.start(loop)
    world.ask(loop, "second")
    world.days(2, loop)
    assert world.route() == ({2: 0.5, 1: 0.5}, ())
    world.broken = True
    world.answers.clear()

    world.day(loop)

    assert {answer.version for answer in world.answers} == {1}
    assert all(answer.score is not None for answer in world.answers)
    assert world.rollout().look["aborted_on"] == ["error_rate"]
    assert world.cycles()[1].outcome is Outcome.ROLLED_BACK
    assert "error_rate 1.0000 against the champion's 0.0000" in world.cycles()[1].words
    assert (world.champion(), world.route()) == (1, ({1: 1.0}, ()))


def test_time_alone_brings_the_next_look_and_the_worker_says_when(world):
    loop = a_loop()
    on_its_way(world, loop)

    with world.home.worker(loop) as worker:
        due = worker.next_due()
        world.home.clock.advance_to(due)
        worker.run_until_quiet()

        assert due == world.rollout().began_at + DAY
        assert worker.next_due() == due + DAY
    assert world.rollout().looks == 1


def test_without_requests_a_stage_is_never_passed_and_its_deadline_takes_the_candidate_back(world):
    loop = a_loop()
    on_its_way(world, loop)

    world.home.clock.advance_to(world.rollout().began_at + 7 * DAY)
    world.turn(loop)

    settled = world.cycles()[1]
    assert settled.outcome is Outcome.ROLLED_BACK
    assert settled.words.startswith("shadow has waited 5d for its evidence in vain")
    assert "log_loss cannot be read" in settled.words
    assert (world.champion(), world.route()) == (2, ({2: 1.0}, ()))


def test_a_rollback_by_hand_undoes_the_last_step_the_candidate_first_then_the_champion(world):
    loop = a_loop()
    on_its_way(world, loop)
    world.days(2, loop)

    world.home.rollouts.rollback(world.context, "clicks", reason="customers complain")
    world.turn(loop)

    assert (world.champion(), world.route()) == (2, ({2: 1.0}, ()))
    assert world.cycles()[1].outcome is Outcome.ROLLED_BACK
    assert "person:ann rolled back: customers complain" in world.cycles()[1].words


def test_a_candidate_promoted_by_hand_on_its_way_settles_its_cycle_as_promoted(world):
    loop = a_loop()
    on_its_way(world, loop)
    candidate = world.rollout().candidate

    world.home.rollouts.promote(world.context, "clicks", candidate, reason="good enough")
    world.turn(loop)

    assert (world.champion(), world.route()) == (candidate, ({candidate: 1.0}, ()))
    assert (world.cycles()[1].outcome, world.cycles()[1].promoted) == (Outcome.PROMOTED, candidate)


def test_another_version_promoted_by_hand_ends_the_way_in_and_the_cycle_says_so(world):
    loop = a_loop()
    on_its_way(world, loop)

    world.home.rollouts.promote(world.context, "clicks", 1, reason="back to the start")
    world.turn(loop)

    assert (world.champion(), world.route()) == (1, ({1: 1.0}, ()))
    assert world.cycles()[1].outcome is Outcome.ROLLED_BACK
    assert "clicks@1 was promoted: back to the start" in world.cycles()[1].words


def test_a_champion_moved_past_the_rollout_is_found_at_the_next_look(world):
    loop = a_loop()
    on_its_way(world, loop)
    world.home.registry.rollback(world.context, "clicks", to=1, reason="straight at the registry")

    world.day(loop)

    assert world.cycles()[1].outcome is Outcome.ROLLED_BACK
    assert world.cycles()[1].words == "the champion was moved from version 2 to 1 meanwhile"
    assert world.route() == ({1: 1.0}, ())


def test_a_second_loop_of_the_same_model_serves_the_champion_and_cannot_overtake_a_candidate(world):
    loop = a_loop()
    on_its_way(world, loop)

    other = nr.Loop(
        "clicks-too", dataset=CLICKS, train=train, when=nr.manual(), model="clicks", gate=None, rollout=CANARY
    )
    world.home.start(other)
    world.home.loops.request(world.context, "clicks-too", reason="me too")
    world.turn(other)

    assert world.home.endpoints.route(world.context, "clicks-too").variants[0].version == 2
    last = world.home.loops.cycles(world.context, "clicks-too")[-1]
    assert last.outcome is Outcome.REJECTED
    assert "is on its way in: one candidate at a time" in last.words


def test_without_a_canary_alias_and_route_move_together(world):
    loop = a_loop(rollout=None)
    world.home.start(loop)
    world.days(10)
    world.ask(loop, "first")
    world.days(8)

    world.ask(loop, "second")

    assert [cycle.outcome for cycle in world.cycles()] == [Outcome.PROMOTED, Outcome.PROMOTED]
    assert world.route() == ({world.champion(): 1.0}, ())


@pytest.mark.both_databases
def test_a_look_that_was_cut_short_is_made_again_and_decides_once(world):
    loop = a_loop()
    on_its_way(world, loop)
    written = world.home.database.write
    world.home.clock.advance_to(world.rollout().look_due)

    class Died(Exception):
        pass

    def dies(work, **options):
        if world.rollout().looks == 0:
            raise Died
        return written(work, **options)

    world.home.database.write = dies
    with pytest.raises(Died):
        world.home.rollouts.look(world.context, world.rollout())
    world.home.database.write = written
    world.turn(loop)

    assert world.rollout().looks == 1
    assert len(world.told(FactKind.ROLLOUT_STARTED)) == 1


def test_why_tells_of_a_candidate_that_was_taken_back(world):
    loop = a_loop()
    on_its_way(world, loop)
    candidate = world.rollout().candidate
    world.home.rollouts.abort(world.context, "clicks", reason="not today")
    world.turn(loop)

    story = dict(world.home.loops.why(world.context, "clicks", candidate))

    assert story["outcome"] == "rolled_back: person:ann took it back: not today"
    assert story["rollout"].startswith("aborted after 0 looks, at shadow")


def test_a_paused_loop_still_looks_at_its_candidate_and_takes_it_back_but_opens_no_cycle(world):
    loop = a_loop()
    on_its_way(world, loop)
    world.home.loops.pause(world.context, "clicks")
    world.home.loops.request(world.context, "clicks", reason="while it is paused")

    for day in (1, 7):
        world.home.clock.advance_to(world.rollout().began_at + day * DAY)
        world.turn(loop)

    assert world.rollout().looks == 2
    assert world.rollout().state is RolloutState.ABORTED
    assert world.route() == ({2: 1.0}, ())
    assert len(world.cycles()) == 2
    world.home.loops.resume(world.context, "clicks")
    world.turn(loop)
    assert [cycle.outcome for cycle in world.cycles()][:2] == [Outcome.PROMOTED, Outcome.ROLLED_BACK]
    assert len(world.cycles()) == 3


def test_a_candidate_that_cannot_be_looked_at_is_taken_back_within_minutes(world, monkeypatch):
    loop = a_loop()
    on_its_way(world, loop)
    world.home.clock.advance_to(world.rollout().look_due)
    monkeypatch.setattr(world.home.rollouts, "observe", lambda *_: 1 / 0)

    with world.home.worker(loop, endures=True) as worker:
        for seconds in (0, 5, 30, 120):
            world.home.clock.advance_to(world.home.clock.now() + timedelta(seconds=seconds))
            worker.run_until_quiet()

    assert world.rollout().state is RolloutState.ABORTED
    assert world.route() == ({2: 1.0}, ())
    words = "it could not be looked at: look raised 3 times: ZeroDivisionError: division by zero"
    assert world.cycles()[1].words.startswith(words)
    assert world.home.loops.stumbles(world.context) == []


@pytest.mark.both_databases
@pytest.mark.parametrize("verb", ["retire", "remove"])
def test_an_endpoint_with_a_candidate_on_its_way_in_stays(world, verb):
    loop = a_loop()
    world.home.start(loop)
    world.days(12)
    world.ask(loop, "the first")
    world.days(8)
    world.ask(loop, "the second")
    world.home.removals.remove(world.context, Thing(kind=Kind.LOOP, name="clicks"), reason="a trial", dry_run=True)
    world.home.database.write(lambda c: c.execute(loops.delete()))

    with pytest.raises(Conflict, match="on its way in at clicks: noria rollout abort clicks"):
        getattr(world.home.removals, verb)(world.context, Thing(kind=Kind.ENDPOINT, name="clicks"), reason="a trial")
