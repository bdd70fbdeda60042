"""Laws of the guards' place in the circle: what they hold nothing learns from, what they stop ends in words."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.guards.model import SchemaState
from noria.guards.rules import Choice
from noria.ledger.model import FactKind
from noria.loop import training
from noria.loop.model import CycleState, Outcome

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
SHOPS = ("north", "east", "south")


def features(rows):
    return rows.select(pl.col("x", "y").fill_null(0.0)).to_numpy()


@nr.step(cache=True)
def fit(rows: pl.DataFrame) -> nr.Model:
    return nr.Model(LogisticRegression().fit(features(rows), rows["bought"].to_numpy()), preprocess=features)


@nr.pipeline
def train(rows):
    return fit(rows)


def a_loop(*guards, **changes):
    told = {"when": nr.manual(), "evaluate": nr.Evaluation(holdout=None), "gate": None} | changes
    return nr.Loop("clicks", dataset=CLICKS, train=train, guards=guards, **told)


class Stopped(Exception):
    """The worker ends here, as if its process had."""


def stop(*_args, **_options):
    raise Stopped


class World:
    """A home in which clicks come day by day, and their labels from three shops, each by its own feed."""

    def __init__(self, home):
        self.home = home
        self.context = home.context
        self.chance = np.random.default_rng(3)
        self.truth = {}

    def days(self, count, *, per_day=120, flipped=None, missing=None):
        begin, many = self.home.clock.now(), count * per_day
        self.home.clock.advance_to(begin + DAY * count)
        x, y = self.chance.normal(size=(2, many))
        bought = self.chance.random(many) < 1 / (1 + np.exp(-2 * x - y))
        moments = [begin + DAY * place / per_day for place in range(many)]
        keys = [moment.isoformat() for moment in moments]
        rows = pl.DataFrame({"id": keys, "at": moments, "x": x, "y": y})
        if missing is not None:
            rows = rows.with_columns(pl.lit(None, pl.Float64).alias(missing))
        self.home.push(CLICKS, rows, source="site")
        self.truth |= dict(zip(keys, bought.tolist(), strict=True))
        for place, shop in enumerate(SHOPS):
            told = ~bought[place::3] if shop == flipped else bought[place::3]
            self.land(keys[place::3], told, source=shop, known=moments[place::3])

    def land(self, keys, bought, *, source, known=None):
        known = known or [self.home.clock.now()] * len(keys)
        self.home.land_labels(CLICKS, pl.DataFrame({"id": keys, "bought": bought, "known_at": known}), source=source)

    def turn(self, loop, *, on_turn=None):
        self.home.start(loop)
        self.home.loops.request(self.context, loop.name, reason="asked")
        with self.home.worker(loop, on_turn=on_turn) as worker:
            worker.run_until_quiet()
        return self.home.loops.cycles(self.context, loop.name)[-1]

    def held(self):
        return self.home.guards.entries(self.context, "clicks", Choice())

    def read(self, **options):
        return self.home.read("clicks", **options)

    def facts(self, kind):
        self.home.ledger.seal()
        return [fact for fact in self.home.ledger.after(-1, limit=10_000) if fact.kind is kind]


@pytest.fixture
def world(loop_home):
    return World(loop_home)


def poisoned(world, *guards):
    """Train a first champion on honest labels, then let one shop flip all of its labels for a week."""
    loop = a_loop(*(guards or (nr.check_poisoning(min_labels=50),)))
    world.days(10)
    assert world.turn(loop).outcome is Outcome.PROMOTED
    world.days(7, flipped="east")
    return loop


@pytest.mark.both_databases
def test_the_labels_of_a_flipped_source_are_held_and_nothing_learns_from_them(world):
    loop = poisoned(world)

    cycle = world.turn(loop)

    assert cycle.outcome is Outcome.PROMOTED
    assert {entry.source for entry in world.held()} == {"east"}
    assert len(world.held()) == 7 * 40
    learned = learning_rows(world, loop, cycle)
    assert all(world.truth[key] == bought for key, bought in learned.select("id", "bought").iter_rows())
    assert learned.height == 10 * 120 + 7 * 80


def learning_rows(world, loop, cycle):
    held = world.home.guards.held(world.context, "clicks", change=cycle.guarded["change"])
    return world.read(as_of=cycle.opened_at, labelled=True, without=held)


def test_honest_sources_are_left_alone(world):
    loop = a_loop(nr.check_poisoning(min_labels=50))
    world.days(10)
    world.turn(loop)
    world.days(7)

    cycle = world.turn(loop)

    assert (cycle.guarded["action"], world.held()) == ("pass", [])


def test_what_was_held_is_a_fact_evidence_of_the_cycle_and_told_by_why(world):
    loop = poisoned(world)
    cycle = world.turn(loop)

    fact = world.facts(FactKind.ROWS_QUARANTINED)[0]
    assert (fact.payload["source"], fact.payload["count"], fact.payload["cycle"]) == ("east", 280, "clicks/2")
    assert cycle.guarded["findings"][0]["numbers"]["share"] > 0.8
    told = dict(world.home.loops.why(world.context, "clicks", 2))
    assert told["guards"] == "quarantine, 840 new rows judged, 280 held"
    assert "labels of source 'east' are flipped" in told["poisoning"]


def test_released_labels_come_back_and_are_not_judged_again(world):
    loop = poisoned(world)
    world.turn(loop)
    count = world.home.guards.release(world.context, "clicks", Choice(source="east"), reason="they were right")
    world.days(1)

    cycle = world.turn(loop)

    assert count == 280
    assert world.held() == []
    assert learning_rows(world, loop, cycle).height == 18 * 120
    assert world.facts(FactKind.ROWS_RELEASED)[0].payload["reason"] == "they were right"


def test_a_corrected_feed_lifts_the_hold_without_a_word(world):
    loop = poisoned(world)
    world.turn(loop)
    keys = [entry.key for entry in world.held()]
    world.land(keys, [world.truth[key] for key in keys], source="east corrected")
    world.days(1)

    cycle = world.turn(loop)

    learned = learning_rows(world, loop, cycle)
    assert learned.height == 18 * 120
    assert all(world.truth[key] == bought for key, bought in learned.select("id", "bought").iter_rows())


@pytest.mark.both_databases
def test_erased_labels_are_gone_from_every_snapshot_and_nobody_reads_their_keys_again(world):
    loop = poisoned(world)
    world.turn(loop)
    keys = {entry.key for entry in world.held()}

    erased = world.home.guards.erase(world.context, "clicks", Choice(source="east"), reason="flipped")

    assert (erased.rows, erased.labels) == (0, 280)
    for snapshot in world.home.datasets.snapshots(world.context, "clicks"):
        labelled = world.read(snapshot=snapshot.id, labelled=True) if snapshot.number > 3 else pl.DataFrame({"id": []})
        assert keys.isdisjoint(labelled["id"].to_list())
    fact = world.facts(FactKind.ROWS_ERASED)[0]
    assert fact.payload["labels"] == 280
    assert not any(key in str(fact.payload) for key in keys)
    after = world.home.guards.entries(world.context, "clicks", Choice(state=None))
    assert keys.isdisjoint({entry.key for entry in after})
    world.days(1)
    assert world.turn(loop).outcome is Outcome.PROMOTED


def test_a_cycle_learns_what_its_guards_let_pass_even_if_somebody_releases_meanwhile(world):
    loop = poisoned(world)

    def release(turn):
        if turn.fact.kind is FactKind.CYCLE_OPENED:
            world.home.guards.release(world.context, "clicks", Choice(source="east"), reason="in a hurry")

    cycle = world.turn(loop, on_turn=release)

    assert world.held() == []
    assert learning_rows(world, loop, cycle).height == 10 * 120 + 7 * 80


@pytest.mark.both_databases
@pytest.mark.parametrize("kind", [FactKind.CYCLE_OPENED, FactKind.DATA_PASSED])
def test_a_worker_that_dies_around_the_guards_holds_nothing_twice_and_goes_on(world, kind):
    loop = poisoned(world)

    def die(turn):
        if turn.fact.kind is kind:
            raise Stopped

    with pytest.raises(Stopped):
        world.turn(loop, on_turn=die)
    with world.home.worker(loop) as worker:
        worker.run_until_quiet()

    cycle = world.home.loops.cycles(world.context, "clicks")[-1]
    assert cycle.outcome is Outcome.PROMOTED
    assert len(world.held()) == 280
    assert len(world.facts(FactKind.ROWS_QUARANTINED)) == 1


def test_a_guard_that_was_cut_short_before_it_decided_has_left_nothing(world, monkeypatch):
    loop = poisoned(world)

    with monkeypatch.context() as patch:
        patch.setattr(training, "rows", stop)
        with pytest.raises(Stopped):
            world.turn(loop)
    assert world.held() == []
    assert world.home.loops.open_cycle(world.context, "clicks").state is CycleState.GUARDING

    with world.home.worker(loop) as worker:
        worker.run_until_quiet()

    assert len(world.held()) == 280


def test_the_first_cycle_proposes_a_schema_and_says_what_it_could_not_judge(world):
    loop = a_loop(nr.check_schema(), nr.check_quality(), nr.check_poisoning())
    world.days(3)

    cycle = world.turn(loop)

    schema = world.home.guards.schema(world.context, "clicks")
    assert (schema.version, schema.state, schema.column("x").kind) == (1, SchemaState.PROPOSED, "float")
    assert cycle.outcome is Outcome.PROMOTED
    assert [finding["guard"] for finding in cycle.guarded["findings"]] == ["quality", "poisoning"]
    assert cycle.guarded["action"] == "warn"


def test_a_schema_that_nobody_has_approved_only_warns_and_an_approved_one_is_enforced(world):
    loop = a_loop(nr.check_schema())
    world.days(3)
    world.turn(loop)
    world.days(3, missing="x")

    warned = world.turn(loop)
    world.home.guards.approve(world.context, "clicks")
    world.days(3, missing="x")
    stopped = world.turn(loop)

    assert (warned.outcome, warned.guarded["action"]) == (Outcome.PROMOTED, "warn")
    assert (stopped.outcome, stopped.guarded["action"]) == (Outcome.QUARANTINED, "stop")
    assert stopped.words == "360 of 360 rows have 'x' missing, more than 50%"


def test_a_feature_that_goes_missing_stops_the_cycle_by_default(world):
    loop = a_loop(nr.check_schema(), nr.check_quality())
    world.days(10)
    world.turn(loop)
    world.days(3, missing="y")

    cycle = world.turn(loop)

    assert cycle.outcome is Outcome.QUARANTINED
    assert "'y' is missing in 100% of rows, 0% before" in cycle.words


def test_clean_data_passes_the_default_guards(world):
    loop = nr.Loop(
        "clicks", dataset=CLICKS, train=train, when=nr.manual(), evaluate=nr.Evaluation(holdout=None), gate=None
    )
    for _ in range(4):
        world.days(5)
        assert world.turn(loop).outcome is Outcome.PROMOTED

    assert world.held() == []


def test_a_champion_that_cannot_score_the_new_rows_stops_the_cycle(world, monkeypatch):
    loop = poisoned(world)
    monkeypatch.setattr(nr.Model, "predict", stop)

    cycle = world.turn(loop)

    assert cycle.outcome is Outcome.QUARANTINED
    assert cycle.words.startswith("the champion cannot score the new rows: Stopped")


def test_a_source_that_makes_the_model_worse_is_found_by_retraining_without_it(world):
    check = nr.check_poisoning(min_labels=50, least=0.49, influence=0.005)
    loop = a_loop(check, evaluate=nr.Evaluation(holdout="5d", min_rows=50))
    world.days(15)
    world.turn(loop)
    world.days(14, flipped="east")

    cycle = world.turn(loop)

    found = [finding["words"] for finding in cycle.guarded["findings"]]
    assert any(words.startswith("training with the") and "source 'east' costs" in words for words in found), found
