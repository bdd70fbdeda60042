"""Laws of the checks: what is clean passes, what is wrong is said with its reason, what cannot be read never passes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

import noria as nr
from noria.core.errors import Invalid
from noria.datasets.model import LABEL_SOURCE, ROW_SOURCE, FragmentKind
from noria.guards import rules, schemas
from noria.guards.model import Action, ColumnRule, Schema, SchemaState
from noria.guards.spec import Batch

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
VISITS = nr.Dataset("visits", key="id", time="at", label="ill")


def rows(days, *, first=0, per_day=120, seed=0, sources=("a", "b", "c"), flipped=None, share=1.0):
    """Return days of rows whose label follows x, from three sources in turn, one of which may be flipped."""
    chance = np.random.default_rng([seed, first])
    many = days * per_day
    x = chance.normal(size=many)
    ill = chance.random(many) < expit(1.5 * x - 1)
    names = [sources[n % len(sources)] for n in range(many)]
    wrong = (np.array(names) == flipped) & (chance.random(many) < share)
    return pl.DataFrame(
        {
            "id": [f"v{first * per_day + n:06d}" for n in range(many)],
            "at": [START + DAY * (first + n / per_day) for n in range(many)],
            "x": x,
            "ward": ["north" if n % 2 else "south" for n in range(many)],
            "ill": ill ^ wrong,
            ROW_SOURCE: names,
            LABEL_SOURCE: names,
        }
    )


def batch(new, *, trusted=None, number=1, scored=True, **changes):
    told = {
        "dataset": VISITS,
        "rows": new,
        "until": new["at"].max() + timedelta(hours=1),
        "through": 9,
        "number": number,
        "trusted": trusted if trusted is not None else rows(10, seed=9).drop(ROW_SOURCE, LABEL_SOURCE),
        "scores": expit(1.5 * new["x"].to_numpy() - 1) if scored else None,
    }
    return Batch(**(told | changes))


def judged(new, *guards, **how):
    return rules.judge(batch(new, **how), guards)


def test_clean_rows_pass_every_check():
    found = judged(
        rows(5, first=10), nr.check_schema(), nr.check_quality(), nr.check_poisoning(), nr.check_feedback_loop()
    )

    assert (found.action, found.findings) == (Action.PASS, ())


def test_of_many_findings_the_gravest_counts():
    new = rows(5, first=10, flipped="b").with_columns(pl.lit(None, pl.Float64).alias("y"))
    trusted = rows(10).with_columns(pl.lit(1.0).alias("y"))

    found = judged(new, nr.check_poisoning(), nr.check_quality(), trusted=trusted)

    assert {finding.action for finding in found.findings} == {Action.QUARANTINE, Action.STOP}
    assert found.action is Action.STOP


# --- poisoning


@pytest.mark.parametrize("source", ["a", "b", "c"])
def test_a_flipped_source_is_found_and_only_its_labels_are_held(source):
    new = rows(5, first=10, flipped=source)

    found = judged(new, nr.check_poisoning())

    assert [finding.source for finding in found.findings] == [source]
    held = {hold.key for hold in found.held.holds}
    assert held == set(new.filter(pl.col(LABEL_SOURCE) == source)["id"].to_list())
    assert {hold.kind for hold in found.held.holds} == {FragmentKind.LABELS}


def test_a_column_may_be_the_source():
    new = rows(5, first=10).with_columns(
        pl.when(pl.col("ward") == "north").then(~pl.col("ill")).otherwise("ill").alias("ill")
    )

    found = judged(new, nr.check_poisoning(by="ward"))

    assert [finding.source for finding in found.findings] == ["north"]


def test_two_flipped_sources_of_five_are_both_found():
    sources = ("a", "b", "c", "d", "e")
    first = rows(10, first=10, sources=sources, flipped="b")
    new = first.with_columns(pl.when(pl.col(LABEL_SOURCE) == "d").then(~pl.col("ill")).otherwise("ill").alias("ill"))

    found = judged(new, nr.check_poisoning())

    assert sorted(finding.source for finding in found.findings) == ["b", "d"]


def test_if_most_labels_look_flipped_the_cycle_stops_for_a_person_to_look():
    new = rows(5, first=10).with_columns(~pl.col("ill"))

    found = judged(new, nr.check_poisoning())

    assert found.action is Action.STOP
    assert "is it they, or the champion?" in found.findings[0].words
    assert not found.held


def test_a_storm_that_makes_everybody_ill_flips_nobody():
    new = rows(5, first=10)
    ill = np.random.default_rng(5).random(new.height) < expit(1.5 * new["x"].to_numpy() + 1.5)

    assert judged(new.with_columns(pl.Series("ill", ill)), nr.check_poisoning()).action is Action.PASS


def test_a_storm_over_one_source_alone_flips_nobody():
    new = rows(5, first=10)
    moved = np.random.default_rng(5).random(new.height) < expit(1.5 * new["x"].to_numpy() + 1.0)
    ill = np.where((new[LABEL_SOURCE] == "a").to_numpy(), moved, new["ill"].to_numpy())

    assert judged(new.with_columns(pl.Series("ill", ill)), nr.check_poisoning()).action is Action.PASS


def test_a_lone_source_is_held_only_if_the_order_of_scores_is_turned_round():
    halves = rows(8, first=10, sources=("a",), flipped="a", share=0.35)
    turned = rows(8, first=10, sources=("a",), flipped="a")

    assert judged(halves, nr.check_poisoning()).action is Action.PASS
    assert judged(turned, nr.check_poisoning()).action is Action.QUARANTINE


def test_clean_sources_under_label_noise_are_called_flipped_less_often_than_alpha():
    alarms = sum(
        judged(rows(3, first=10, seed=seed, flipped=flipped, share=0.08), nr.check_poisoning(alpha=0.2)).action
        is not Action.PASS
        for seed in range(40)
        for flipped in (None, "a")
    )

    assert alarms <= 0.2 * 80


def test_the_bar_is_spent_over_sources_and_cycles_so_that_all_of_them_together_stay_under_alpha():
    check = nr.check_poisoning(alpha=0.01)

    spent = sum(check.bar(number=number, sources=12) * 12 for number in range(1, 100_000))

    assert spent == pytest.approx(0.01, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(places=st.sets(st.integers(0, 359), min_size=1, max_size=360))
def test_a_score_that_cannot_be_read_never_passes(places):
    new = rows(3, first=10)
    scores = expit(1.5 * new["x"].to_numpy() - 1)
    scores[sorted(places)] = np.nan

    found = judged(new, nr.check_poisoning(), scores=scores)

    assert found.action is not Action.PASS
    assert {new["id"][place] for place in places} <= {hold.key for hold in found.held.holds}


@pytest.mark.parametrize(
    ("how", "action", "words"),
    [
        ({"scores": None}, Action.WARN, "there is no champion yet"),
        ({"scores": None, "unread": "KeyError: 'x'"}, Action.STOP, "the champion cannot score the new rows: KeyError"),
        ({"scores": np.full(360, 7.0)}, Action.WARN, "no chances"),
    ],
)
def test_labels_that_were_not_judged_are_said_to_be_so(how, action, words):
    found = judged(rows(3, first=10), nr.check_poisoning(), **how)

    assert found.action is action
    assert words in found.findings[0].words


def test_labels_of_more_than_two_classes_are_said_to_be_unjudged():
    new = rows(3, first=10).with_columns(pl.Series("ill", np.arange(360) % 3))

    assert "labels of two classes" in judged(new, nr.check_poisoning()).findings[0].words


def test_a_source_that_says_too_much_is_capped_and_the_newest_of_its_labels_are_held():
    new = rows(3, first=10)

    found = judged(new, nr.check_poisoning(max_count=100))

    assert {finding.source: len(finding.holds) for finding in found.findings} == {"a": 20, "b": 20, "c": 20}
    newest = new.filter(pl.col(LABEL_SOURCE) == "a")["id"].to_list()[100:]
    assert {hold.key for hold in found.findings[0].holds} == set(newest)


def test_a_share_of_all_new_labels_may_be_the_cap():
    new = rows(3, first=10, sources=("a", "a", "a", "b"))

    found = judged(new, nr.check_poisoning(max_share=0.5))

    assert [(finding.source, len(finding.holds)) for finding in found.findings] == [("a", 90)]


def retrained(cost):
    """Return a recipe whose model is worse by some noise unless source a is left out."""

    def retrain(source, _held):
        def predict(judges):
            noise = 0.0 if source == "a" else cost
            return expit(1.5 * (1 - noise) * judges["x"].to_numpy() - 1 + noise)

        return predict

    return retrain


def test_a_source_that_costs_the_model_loss_is_held():
    how = {"retrain": retrained(0.8), "tail_from": START + DAY * 10}

    found = judged(rows(8, first=10), nr.check_poisoning(influence=0.01), **how)

    assert [finding.source for finding in found.findings] == ["a"]
    assert found.findings[0].words.startswith("training with the 320 new labels of source 'a' costs")


def test_a_source_without_influence_is_left_alone():
    how = {"retrain": retrained(0.0), "tail_from": START + DAY * 10}

    assert judged(rows(8, first=10), nr.check_poisoning(influence=0.01), **how).action is Action.PASS


def test_an_influence_that_cannot_be_measured_never_passes():
    found = judged(rows(3, first=10), nr.check_poisoning(influence=0.01))

    assert found.action is Action.WARN
    assert "influence was not measured" in found.findings[0].words


# --- schema


def test_kinds_and_missing_values_are_inferred_and_ranges_and_categories_where_asked():
    plain = schemas.infer(VISITS, rows(2))
    asked = schemas.infer(VISITS, rows(2), with_ranges=True, with_categories=True)

    assert [(rule.name, rule.kind, rule.nullable) for rule in plain] == [
        ("id", "text", False),
        ("at", "time", False),
        ("x", "float", False),
        ("ward", "text", False),
    ]
    assert asked[3].categories == ("north", "south")
    assert asked[2].low == rows(2)["x"].min()


def approved(*columns):
    return Schema(
        dataset="visits", version=1, state=SchemaState.APPROVED, columns=columns, proposed_by="ann", proposed_at=START
    )


def test_rows_that_break_an_approved_schema_are_held_and_the_others_pass():
    new = rows(3, first=10).with_columns(pl.when(pl.col("id") == "v001200").then(99.0).otherwise("x").alias("x"))
    rule = ColumnRule(name="x", kind="float", nullable=False, low=-10, high=10)

    found = judged(new, nr.check_schema(), schema=approved(rule))

    assert [hold.key for hold in found.held.holds] == ["v001200"]
    assert found.findings[0].words == "1 of 360 rows have 'x' outside -10 to 10"


def test_a_column_of_another_kind_stops_the_cycle():
    found = judged(rows(3, first=10), nr.check_schema(), schema=approved(ColumnRule(name="x", kind="int")))

    assert (found.action, found.findings[0].words) == (Action.STOP, "column 'x' is float, the schema says int")


def test_ranges_and_categories_told_in_the_loop_are_enforced_without_a_schema():
    check = nr.check_schema(ranges={"x": (None, 2.5)}, categories={"ward": ["north", "south"]})
    new = rows(3, first=10).with_columns(
        pl.when(pl.col("id") == "v001201").then(pl.lit("attic")).otherwise("ward").alias("ward")
    )

    found = judged(new, check)

    words = [finding.words for finding in found.findings]
    assert found.action is Action.QUARANTINE
    assert "1 of 360 rows have 'ward' of no known category (attic)" in words


# --- quality


@pytest.mark.parametrize(
    ("broken", "action", "words"),
    [
        ({"x": pl.lit(None, pl.Float64)}, Action.STOP, "'x' is missing in 100% of rows, 0% before"),
        (
            {"x": pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("x")},
            Action.WARN,
            "'x' is missing in 20%",
        ),
        ({"x": pl.col("x") * 1000}, Action.STOP, "far outside its past range"),
        ({"ward": pl.lit("attic")}, Action.STOP, "never seen before (attic)"),
        ({"x": pl.lit(0.5), "at": pl.lit(START + DAY * 19)}, Action.STOP, "repeat another in all but the key"),
    ],
)
def test_what_moved_far_from_the_trusted_past_is_said_in_words(broken, action, words):
    new = rows(3, first=17).with_columns(**broken)

    found = judged(new, nr.check_quality())

    assert found.action is action
    assert any(words in finding.words for finding in found.findings), found.findings


def test_one_outlier_stops_nothing():
    new = rows(3, first=17).with_columns(pl.when(pl.col("id") == "v002040").then(1e12).otherwise("x").alias("x"))

    assert judged(new, nr.check_quality()).action is Action.PASS


def test_one_quiet_holiday_stops_nothing():
    new = rows(10, first=10).filter(pl.col("at").dt.date() != datetime(2026, 1, 14, tzinfo=UTC).date())

    assert judged(new, nr.check_quality()).action is Action.PASS


def test_a_feed_that_dries_up_warns_and_never_stops():
    found = judged(rows(10, first=10, per_day=20), nr.check_quality())

    assert found.action is Action.WARN
    assert found.findings[0].words == "the middle day has 20 rows, 120 before"


def test_rows_that_are_old_when_they_come_warn():
    found = judged(rows(3, first=10), nr.check_quality(), until=START + DAY * 20)

    assert found.action is Action.WARN
    assert found.findings[0].words.startswith("the newest row is 7.0 days old")


def test_without_a_trusted_past_quality_is_said_to_be_unjudged():
    found = rules.judge(batch(rows(3), trusted=rows(1).clear()), [nr.check_quality()])

    assert (found.action, found.findings[0].words[:22]) == (Action.WARN, "quality was not judged")


# --- feedback loops


def shaped(share):
    new = rows(5, first=10)
    mine = pl.int_range(pl.len()) < share * new.height
    source = pl.when(mine).then(pl.lit("feedback/visits/shaped")).otherwise(pl.lit("feedback/visits"))
    return new.with_columns(source.alias(LABEL_SOURCE))


def test_a_share_of_shaped_labels_under_the_bar_passes():
    assert judged(shaped(0.4), nr.check_feedback_loop(max_share=0.5)).action is Action.PASS


def test_too_many_shaped_labels_warn_with_their_share_in_words():
    found = judged(shaped(0.8), nr.check_feedback_loop(max_share=0.5))

    assert found.action is Action.WARN
    assert found.findings[0].words.startswith("80% of 600 new labels were shaped by the model's own decisions")


def test_a_cap_holds_the_newest_shaped_labels_until_the_share_is_kept():
    found = judged(shaped(0.8), nr.check_feedback_loop(max_share=0.5, answer="cap"))

    assert len(found.held.holds) == 480 - 120


# --- declarations


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nr.check_poisoning(alpha=0.9),
        lambda: nr.check_poisoning(max_share=0.0),
        lambda: nr.check_poisoning(max_count=0),
        lambda: nr.check_quality(warn=0.6, stop=0.5),
        lambda: nr.check_quality(volume=1.0),
        lambda: nr.check_schema(most=0.0),
        lambda: nr.check_feedback_loop(max_share=1.0),
        lambda: nr.check_feedback_loop(answer="shrug"),
    ],
)
def test_bars_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(Invalid):
        wrong()


def test_a_guard_is_told_as_plain_values():
    told = nr.check_schema(ranges={"x": (0, 1)}, categories={"ward": ["north"]}).to_plain()

    assert told == {"guard": "schema", "ranges": {"x": [0, 1]}, "categories": {"ward": ["north"]}, "most": 0.5}
