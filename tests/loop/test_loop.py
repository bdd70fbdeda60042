"""Laws of the loop: what a fact starts, what each verdict leads to, that nothing is lost and nothing decided twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.core.errors import Conflict, Denied, Invalid, NotFound, Stale
from noria.ledger.model import FactKind
from noria.loop import queries, rules
from noria.loop.model import CycleState, Outcome

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
ALL = nr.Evaluation(holdout="5d", min_rows=50)


def features(rows):
    return rows.select("x", "y").to_numpy()


@nr.step(cache=True)
def fit(rows: pl.DataFrame, flip: bool = False) -> nr.Model:
    labels = rows["bought"].to_numpy()
    return nr.Model(LogisticRegression().fit(features(rows), ~labels if flip else labels), preprocess=features)


@nr.pipeline
def train(rows, flip=False):
    return fit(rows, flip=flip)


@nr.step
def explode(rows: pl.DataFrame) -> nr.Model:
    raise ValueError("the feed has no weather today")


@nr.pipeline
def broken(rows):
    return explode(rows)


@nr.step
def count(rows: pl.DataFrame) -> int:
    return rows.height


@nr.pipeline
def no_model(rows):
    return count(rows)


def a_loop(**changes):
    gate = nr.Gate("log_loss", margin=0.02)
    told = {"dataset": CLICKS, "train": train, "when": nr.new_labels(500), "evaluate": ALL, "gate": gate} | changes
    return nr.Loop(told.pop("name", "clicks"), **told)


class Stopped(Exception):
    """The worker ends here, as if its process had."""


def stop_at(kind):
    def on_turn(turn):
        if turn.fact.kind is kind:
            raise Stopped

    return on_turn


class World:
    """A home on a simulated clock, in which clicks come day by day."""

    def __init__(self, home):
        self.home = home
        self.chance = np.random.default_rng(3)

    def days(self, count, *, turned_by=None, per_day=60, weight=2.0):
        """Advance by some days: one by one with a turn after each if a loop is named, else with one push for all."""
        for _ in range(1 if turned_by is None else count):
            self._come(count if turned_by is None else 1, per_day=per_day, weight=weight)
            if turned_by is not None:
                self.turn(turned_by)

    def _come(self, days, *, per_day, weight):
        rows, labels = [], []
        for _ in range(days):
            begin = self.home.clock.now()
            self.home.clock.advance_to(begin + DAY)
            x, y = self.chance.normal(size=(2, per_day))
            bought = self.chance.random(per_day) < 1 / (1 + np.exp(-weight * x - y))
            moments = [begin + DAY * place / per_day for place in range(per_day)]
            keys = [f"{moment.isoformat()}" for moment in moments]
            rows.append(pl.DataFrame({"id": keys, "at": moments, "x": x, "y": y}))
            known = [self.home.clock.now()] * per_day
            labels.append(pl.DataFrame({"id": keys, "bought": bought, "known_at": known}))
        self.home.push(CLICKS, pl.concat(rows), source="site")
        self.home.land_labels(CLICKS, pl.concat(labels), source="shop")

    def turn(self, *loops):
        with self.home.worker(*loops) as worker:
            return worker.run_until_quiet()

    def cycles(self, name="clicks"):
        return self.home.loops.cycles(self.home.context, name)

    def champion(self, name="clicks"):
        return self.home.registry.alias(self.home.context, name).version

    def facts(self, kind):
        return [fact for fact in self.home.ledger.after(-1, limit=10_000) if fact.kind is kind]


@pytest.fixture
def world(loop_home):
    return World(loop_home)


@pytest.mark.both_databases
def test_the_wheel_turns_from_new_labels_to_a_champion_and_on_to_the_next(world):
    loop = a_loop()
    world.home.start(loop)

    world.days(22, turned_by=loop)

    outcomes = [cycle.outcome for cycle in world.cycles()]
    assert outcomes == [Outcome.PROMOTED, Outcome.PROMOTED]
    first, second = world.cycles()
    assert first.reasons[0].words == "540 new labels since the last cycle, 500 wanted"
    assert (first.candidate, first.promoted) == (1, 2)
    assert world.champion() == second.promoted == 4
    refit = world.home.registry.version(world.home.context, "clicks", 2)
    assert (refit.parent, refit.trained_through) == (1, first.opened_at)


def test_candidate_and_champion_are_judged_only_on_rows_after_both(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(22, turned_by=loop)

    evidence = world.cycles()[1].evidence

    candidate = world.home.registry.version(world.home.context, "clicks", 3)
    champion = world.home.registry.version(world.home.context, "clicks", 2)
    later = max(candidate.trained_through, champion.trained_through)
    assert datetime.fromisoformat(evidence["since"]) == later
    assert evidence["rows"] == 60 * 5


def test_a_worse_candidate_is_refused_in_words_and_the_champion_stays(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(10, turned_by=loop)
    before = world.champion()

    worse = a_loop(params={"flip": True})
    world.home.start(worse)
    world.days(10, turned_by=worse)

    refused = world.cycles()[-1]
    assert refused.outcome is Outcome.REJECTED
    assert "against the champion's" in refused.words
    assert world.champion() == before


def test_a_pipeline_that_raises_settles_the_cycle_as_failed_and_the_next_one_is_opened(world):
    loop = a_loop(train=broken)
    world.home.start(loop)

    world.days(20, turned_by=loop)

    assert [cycle.outcome for cycle in world.cycles()] == [Outcome.FAILED, Outcome.FAILED]
    assert "the feed has no weather today" in world.cycles()[0].words


def test_a_pipeline_that_returns_no_model_settles_as_failed_and_says_so(world):
    loop = a_loop(train=no_model)
    world.home.start(loop)

    world.days(10, turned_by=loop)

    assert world.cycles()[0].outcome is Outcome.FAILED
    assert "returned no model" in world.cycles()[0].words


def test_too_few_labelled_rows_stop_the_cycle_before_it_trains(world):
    loop = a_loop(when=nr.data_arrival(), min_rows=1000)
    world.home.start(loop)

    world.days(6, turned_by=loop)

    assert {cycle.outcome for cycle in world.cycles()} == {Outcome.QUARANTINED}
    assert world.cycles()[-1].words == "60 labelled rows in the training window, 1,000 wanted"
    assert world.facts(FactKind.RUN_SUCCEEDED) == []


def test_a_holdout_shorter_than_labels_take_is_unsure_and_says_what_to_change(world):
    loop = a_loop(when=nr.manual(), evaluate=nr.Evaluation(holdout="10m", min_rows=5))
    world.home.start(loop)
    world.days(12)
    world.home.clock.advance_to(world.home.clock.now() + timedelta(minutes=30))
    late = [world.home.clock.now() - timedelta(minutes=minute) for minute in range(1, 6)]
    world.home.push(CLICKS, pl.DataFrame({"id": list("abcde"), "at": late, "x": 0.0, "y": 0.0}), source="site")

    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)

    assert "5 rows wait for theirs; hold back longer than labels take to come" in world.cycles()[0].words


@pytest.mark.both_databases
def test_what_comes_while_a_cycle_turns_is_coalesced_never_lost(world):
    loop = a_loop(when=nr.new_labels(300), cooldown="30d")
    world.home.start(loop)
    world.days(8, turned_by=loop)
    world.days(22, turned_by=loop)
    assert len(world.cycles()) == 1

    world.days(8, turned_by=loop)

    assert len(world.cycles()) == 2
    assert world.cycles()[1].opened_at == world.cycles()[0].opened_at + 30 * DAY
    assert world.cycles()[1].reasons[0].words.startswith("1,740 new labels")


def test_a_rest_that_is_over_is_noticed_without_any_data(world):
    loop = a_loop(when=nr.new_labels(300), cooldown="30d")
    world.home.start(loop)
    world.days(20, turned_by=loop)

    world.home.clock.advance_to(world.cycles()[0].opened_at + 30 * DAY)
    world.turn(loop)

    assert len(world.cycles()) == 2
    assert len(world.facts(FactKind.LOOP_RESTED)) == 1


@pytest.mark.both_databases
def test_a_schedule_that_was_missed_many_times_is_due_once(world):
    loop = a_loop(when=nr.schedule("0 3 * * *"))
    world.home.start(loop)

    world.days(12)
    world.turn(loop)
    world.turn(loop)

    assert [cycle.reasons[0].words for cycle in world.cycles()] == ["schedule '0 3 * * *' was due"]
    assert len(world.facts(FactKind.SCHEDULE_DUE)) == 1


def test_a_request_by_hand_opens_a_cycle_with_its_reason(world):
    loop = a_loop(when=nr.manual())
    world.home.start(loop)
    world.days(12, turned_by=loop)
    assert world.cycles() == []

    world.home.loops.request(world.home.context, "clicks", reason="new catalogue")
    world.turn(loop)

    assert world.cycles()[0].reasons[0].words == "person:ann asked: new catalogue"
    assert world.cycles()[0].outcome is Outcome.PROMOTED


def test_a_new_loop_hears_of_all_data_there_is(world):
    world.days(12)
    loop = a_loop()
    world.home.start(loop)

    world.turn(loop)

    assert world.cycles()[0].outcome is Outcome.PROMOTED


def test_a_candidate_that_would_learn_nothing_new_is_skipped(world):
    loop = a_loop(when=nr.manual())
    world.home.start(loop)
    world.days(12)
    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)
    world.days(2)

    world.home.loops.request(world.home.context, "clicks", reason="again")
    world.turn(loop)

    assert [cycle.outcome for cycle in world.cycles()] == [Outcome.PROMOTED, Outcome.SKIPPED]
    assert "nothing new" in world.cycles()[1].words


def test_an_unsure_gate_waits_for_the_labels_it_names_and_looks_once_more(world):
    loop = a_loop(when=nr.manual(), gate=nr.Gate("log_loss", margin=0.004, patience="40d"))
    world.home.start(loop)
    world.days(12)
    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)
    world.days(8)
    world.home.loops.request(world.home.context, "clicks", reason="second")
    world.turn(loop)
    waiting = world.cycles()[1]
    assert (waiting.state, waiting.verdict["outcome"]) == (CycleState.GATING, "unsure")

    world.days(30, turned_by=loop)

    settled = world.cycles()[1]
    assert settled.looks == 2
    assert settled.state is CycleState.SETTLED
    assert len(world.facts(FactKind.GATE_REOPENED)) == 1


def test_an_unsure_gate_rejects_at_its_deadline(world):
    loop = a_loop(when=nr.manual(), gate=nr.Gate("log_loss", margin=0.0005, patience="3d"))
    world.home.start(loop)
    world.days(12)
    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)
    world.days(8)
    world.home.loops.request(world.home.context, "clicks", reason="second")
    world.turn(loop)
    assert world.cycles()[1].deadline == world.home.clock.now() + 3 * DAY

    world.home.clock.advance_to(world.home.clock.now() + 3 * DAY)
    world.turn(loop)

    assert world.cycles()[1].outcome is Outcome.REJECTED
    assert "had not landed" in world.cycles()[1].words


@pytest.mark.parametrize("measure", [{"psi": 0.5}, {"wasserstein": 1.5}])
def test_drift_raises_one_signal_and_turns_the_wheel(world, measure):
    loop = a_loop(when=nr.any_of(nr.manual(), nr.drift(over="3d", **measure)))
    world.home.start(loop)
    world.days(12)
    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)
    world.chance = np.random.default_rng(9)
    usual = world.chance.normal

    class Moved:
        normal = staticmethod(lambda size: usual(size=size) + 2.0)
        random = world.chance.random

    world.chance = Moved()
    world.days(4, turned_by=loop)

    signals = world.home.monitors.signals(world.home.context, "clicks")
    assert [raised.signal.kind for raised in signals] == [f"drift:{name}" for name in measure]
    assert "drifted by" in world.cycles()[1].reasons[0].words


def test_a_drop_of_the_measured_metric_turns_the_wheel(world):
    loop = a_loop(when=nr.any_of(nr.manual(), nr.metric_drop("log_loss", by=0.2, over="3d")))
    world.home.start(loop)
    world.days(12)
    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)

    world.days(6, turned_by=loop, weight=-2.0)

    assert "log_loss" in world.cycles()[1].reasons[0].words
    assert world.facts(FactKind.SIGNAL_RAISED)[0].payload["kind"] == "metric:log_loss"


def test_a_champion_that_was_moved_by_hand_is_not_overrun_by_a_decision_about_the_one_before(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(10, turned_by=loop)
    world.days(8)
    with world.home.worker(loop, on_turn=stop_at(FactKind.MODEL_EVALUATED)) as worker, pytest.raises(Stopped):
        worker.run_until_quiet()
    assert world.cycles()[-1].state is CycleState.GATING
    world.home.registry.rollback(world.home.context, "clicks", to=1, reason="customers complain")

    world.turn(loop)

    assert world.cycles()[-1].outcome is Outcome.REJECTED
    assert "was moved from version 2 to 1" in world.cycles()[-1].words
    assert world.champion() == 1


def test_a_paused_loop_answers_nothing_and_catches_up_when_it_is_started_again(world):
    loop = a_loop()
    world.home.start(loop)
    world.home.loops.pause(world.home.context, "clicks")
    world.days(12, turned_by=loop)
    assert world.cycles() == []

    world.home.start(loop)
    world.turn(loop)

    assert len(world.cycles()) == 1


@pytest.mark.both_databases
def test_a_decision_that_was_made_is_not_made_again_by_a_worker_that_comes_late(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(9)
    row = world.home.database.read(lambda c: queries.loop(c, "default", "clicks"))
    world.turn(loop)

    with pytest.raises(Stale, match="already answered"):
        world.home.database.write(lambda c: queries.move_cursor(c, row, to=row.cursor + 1))


@pytest.mark.both_databases
def test_two_workers_share_a_loop_and_only_its_holder_turns_it(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(12)
    with world.home.worker(loop) as first:
        first.run_until_quiet()
        with world.home.worker(loop) as second:
            second._leases._holder = "elsewhere/1/1"
            second._leases.forget()
            world.days(2)

            assert second.run_until_quiet() == 0

    assert len(world.cycles()) == 1


@pytest.mark.both_databases
def test_a_cycle_over_the_budget_is_skipped_in_words(world):
    loop = a_loop(budget=nr.Budget(cpu_seconds_per_month=1e-6))
    world.home.start(loop)
    world.days(22, turned_by=loop)
    first, *others = world.cycles()
    assert first.outcome is Outcome.PROMOTED
    assert {cycle.outcome for cycle in others} == {Outcome.SKIPPED}
    assert "over the budget of 1e-06 CPU seconds" in others[0].words


@pytest.mark.parametrize(
    ("budget", "spent", "expected", "is_over"),
    [
        (nr.Budget(cpu_seconds_per_month=100), 50.0, 50.0, False),
        (nr.Budget(cpu_seconds_per_month=100), 50.0, 50.1, True),
        (nr.Budget(usd_per_month=1, usd_per_cpu_hour=3600), 0.5, 0.4, False),
        (nr.Budget(usd_per_month=1, usd_per_cpu_hour=3600), 0.7, 0.4, True),
        (None, 1e9, 1e9, False),
    ],
)
def test_a_budget_counts_what_was_spent_and_what_comes_next(budget, spent, expected, is_over):
    assert (rules.over_budget(budget, spent=spent, expected=expected) is not None) == is_over


@pytest.mark.parametrize("limits", [{}, {"usd_per_month": 0}, {"cpu_seconds_per_month": -1}])
def test_a_budget_without_a_limit_that_can_be_kept_is_refused(limits):
    with pytest.raises(Invalid, match="budget"):
        nr.Budget(**limits)


REVIEWED = {"when": nr.manual(), "review": nr.Review(within="2d")}


def asked_for_a_review(world):
    loop = a_loop(**REVIEWED)
    world.home.start(loop)
    world.days(12)
    world.home.loops.request(world.home.context, "clicks", reason="first")
    world.turn(loop)
    return loop


@pytest.mark.both_databases
def test_a_candidate_waits_for_a_review_and_is_rolled_out_when_it_is_approved(world):
    loop = asked_for_a_review(world)
    (waiting,) = world.home.loops.reviews(world.home.context)
    assert (waiting.state, world.champion()) == (CycleState.REVIEWING, None)
    world.turn(loop)
    assert world.champion() is None

    world.home.loops.approve(world.home.acting_as("ann"), "clicks", reason="the slices look right")
    world.turn(loop)

    assert world.cycles()[0].outcome is Outcome.PROMOTED
    assert world.home.loops.reviews(world.home.context) == []
    story = dict(world.home.loops.why(world.home.context, "clicks", world.champion()))
    assert story["review"] == "person:ann approved: the slices look right"


def test_a_refused_candidate_is_declined_and_the_champion_stays(world):
    loop = asked_for_a_review(world)

    world.home.loops.refuse(world.home.context, "clicks", reason="sales asked us to wait")
    world.turn(loop)

    assert (world.cycles()[0].outcome, world.champion()) == (Outcome.DECLINED, None)
    assert world.cycles()[0].words == "person:ann refused: sales asked us to wait"


def test_a_candidate_that_nobody_reviews_is_declined_at_its_deadline(world):
    loop = asked_for_a_review(world)
    with world.home.worker(loop) as worker:
        assert worker.next_due() == world.home.clock.now() + 2 * DAY

    world.home.clock.advance_to(world.home.clock.now() + 2 * DAY)
    world.turn(loop)

    assert world.cycles()[0].outcome is Outcome.DECLINED
    assert world.cycles()[0].words.startswith("nobody had reviewed it by 2026-01-15")


def test_a_review_is_given_once(world):
    asked_for_a_review(world)
    world.home.loops.approve(world.home.context, "clicks", reason="good")

    with pytest.raises(Conflict, match="waits for a review"):
        world.home.loops.refuse(world.home.context, "clicks", reason="no, wait")


def test_reviewing_needs_the_permission_to(world):
    asked_for_a_review(world)

    with pytest.raises(Denied, match="may not review candidates"):
        world.home.loops.approve(world.home.acting_as("eve"), "clicks", reason="mine")


@pytest.mark.both_databases
def test_a_new_champion_upstream_turns_the_wheel_downstream(world):
    above, below = a_loop(name="above", when=nr.manual()), a_loop(name="below", when=nr.upstream("above"))
    world.home.start(above)
    world.home.start(below)
    world.days(12)
    world.turn(above, below)
    assert world.cycles("below") == []

    world.home.loops.request(world.home.context, "above", reason="first")
    world.turn(above, below)

    (cycle,) = world.cycles("below")
    assert cycle.reasons[0].words == "above@2 is the new champion upstream"
    assert cycle.outcome is Outcome.PROMOTED


@pytest.mark.both_databases
def test_why_tells_trigger_data_evidence_and_who(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(22, turned_by=loop)

    story = dict(world.home.loops.why(world.home.context, "clicks", 4))

    assert story["trigger"] == "540 new labels since the last cycle, 500 wanted"
    assert story["data"].startswith("clicks@")
    assert "against the champion's" in story["evidence"]
    assert story["verdict"].startswith("passed")
    assert "by service:loop-worker" in story["promoted"]
    assert story["refit"] == "the accepted recipe of clicks@3, trained once more"


def test_the_whole_turn_stands_in_a_ledger_that_holds(world):
    loop = a_loop()
    world.home.start(loop)
    world.days(10, turned_by=loop)
    world.home.ledger.checkpoint()

    told = [fact.kind for fact in world.home.ledger.after(-1, limit=10_000) if fact.payload.get("cycle")]

    assert told == [
        FactKind.CYCLE_OPENED,
        FactKind.DATA_PASSED,
        FactKind.MODEL_EVALUATED,
        FactKind.GATE_PASSED,
        FactKind.ROLLOUT_FINISHED,
        FactKind.CYCLE_SETTLED,
    ]
    assert world.home.ledger.audit().holds


def test_starting_a_loop_needs_the_right_to(world):
    with pytest.raises(Denied, match="may not change loops"):
        world.home.loops.start(world.home.acting_as("eve"), a_loop())


def test_a_loop_that_is_not_there_is_said_with_the_nearest(world):
    world.home.start(a_loop())

    with pytest.raises(NotFound) as caught:
        world.home.loops.cycles(world.home.context, "click")

    assert caught.value.hint == "did you mean 'clicks'?"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "late flights"}, "no name for a loop"),
        ({"cooldown": "soon"}, "no duration"),
        ({"evaluate": nr.Evaluation(holdout=None)}, "holds none back"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(wrong, words):
    with pytest.raises(Invalid, match=words):
        a_loop(**wrong)


def test_a_declaration_has_the_same_digest_until_something_in_it_changes():
    loop = a_loop()

    assert loop.digest() == a_loop().digest()
    assert loop.digest() != a_loop(window="30d").digest()
    assert loop.digest() != replace(loop, train=broken).digest()
