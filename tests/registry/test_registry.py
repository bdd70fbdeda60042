"""Laws of the registry: numbers without gaps, moves as compare-and-set, a history that can be gone back."""

import threading
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from noria.access.service import Access
from noria.core.context import Actor, Context
from noria.core.errors import Conflict, Denied, Invalid, NotFound, Stale
from noria.ledger.notes import Signer
from noria.ledger.service import Ledger
from noria.registry.model import Model, Trained
from noria.registry.service import Registry
from noria.runs.model import Artifact

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def registry(any_database, clock, ids, ann):
    ledger = Ledger(any_database, Signer(Ed25519PrivateKey.generate()), clock=clock, ids=ids)
    access = Access(any_database, ledger, clock=clock)
    access.found(ann)
    return Registry(any_database, ledger=ledger, access=access, clock=clock, ids=ids)


def register(registry, context, run, *, model="fraud", parent=None):
    artifact = Artifact(codec="json", blob="00" * 32, digest="11" * 32)
    trained = Trained(artifact=artifact, run=run, snapshot="snap", trained_through=MARCH, code="22" * 32, parent=parent)
    return registry.register(context, model, trained)


def test_versions_are_numbered_from_one_without_gaps(registry, ann):
    made = [register(registry, ann, f"run{number}") for number in range(3)]

    assert [version.number for version in made] == [1, 2, 3]
    assert [str(version) for version in registry.versions(ann, "fraud")] == ["fraud@1", "fraud@2", "fraud@3"]


def test_registering_the_same_run_again_is_the_same_version(registry, ann):
    assert register(registry, ann, "run") == register(registry, ann, "run")


def test_a_version_comes_back_as_it_was_registered(registry, ann):
    made = register(registry, ann, "run", parent=None)

    assert registry.version(ann, "fraud", 1) == made
    assert registry.environment(ann, made)["python"].startswith("3.")


def test_many_registering_at_once_get_a_number_each(registry, ann):
    def work(number):
        while True:
            try:
                register(registry, ann, f"run{number}")
            except Stale:
                continue
            return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [version.number for version in registry.versions(ann, "fraud")] == list(range(1, 13))


def test_a_promotion_expects_the_champion_that_it_was_decided_against(registry, ann):
    for number in range(3):
        register(registry, ann, f"run{number}")
    registry.promote(ann, "fraud", 1, expected=None, reason="the first")

    registry.promote(ann, "fraud", 2, expected=1, reason="better")

    with pytest.raises(Stale, match="the champion of 'fraud' is 2, not 1"):
        registry.promote(ann, "fraud", 3, expected=1, reason="decided before")
    assert registry.alias(ann, "fraud").version == 2


def test_the_first_champion_is_the_anchor_and_stays_it(registry, ann):
    for number in range(2):
        register(registry, ann, f"run{number}")
    registry.promote(ann, "fraud", 1, expected=None, reason="the first")
    registry.promote(ann, "fraud", 2, expected=1, reason="better")

    assert registry.alias(ann, "fraud", "anchor").version == 1


def test_rolling_back_twice_goes_back_two_steps_and_a_third_time_says_there_is_nothing(registry, ann):
    for number in range(3):
        register(registry, ann, f"run{number}")
        registry.promote(ann, "fraud", number + 1, expected=number or None, reason="better")

    assert registry.rollback(ann, "fraud", reason="bad").version == 2
    assert registry.rollback(ann, "fraud", reason="bad").version == 1
    with pytest.raises(Conflict, match="no champion before"):
        registry.rollback(ann, "fraud", reason="bad")


def test_after_a_rollback_a_promotion_begins_anew_from_there(registry, ann):
    for number in range(4):
        register(registry, ann, f"run{number}")
    for number, before in ((1, None), (2, 1), (3, 2)):
        registry.promote(ann, "fraud", number, expected=before, reason="better")
    registry.rollback(ann, "fraud", reason="bad")
    registry.promote(ann, "fraud", 4, expected=2, reason="better")

    assert registry.rollback(ann, "fraud", reason="bad").version == 2


def test_a_rollback_can_name_where_to(registry, ann):
    for number in range(3):
        register(registry, ann, f"run{number}")
        registry.promote(ann, "fraud", number + 1, expected=number or None, reason="better")

    assert registry.rollback(ann, "fraud", to=1, reason="bad").version == 1


def test_every_move_keeps_who_when_and_why(registry, ann):
    register(registry, ann, "run")
    registry.promote(ann, "fraud", 1, expected=None, reason="the first")

    (move,) = registry.moves(ann, "fraud")

    assert (move.before, move.to, move.actor, move.reason, move.is_rollback) == (
        None,
        1,
        "person:ann",
        "the first",
        False,
    )


def test_promoting_the_champion_again_is_a_conflict(registry, ann):
    register(registry, ann, "run")
    registry.promote(ann, "fraud", 1, expected=None, reason="the first")

    with pytest.raises(Conflict, match="champion already"):
        registry.promote(ann, "fraud", 1, expected=1, reason="again")


def test_what_is_not_there_is_said_with_the_nearest_name(registry, ann):
    register(registry, ann, "run")

    with pytest.raises(NotFound) as no_model:
        registry.versions(ann, "frauds")
    with pytest.raises(NotFound) as no_version:
        registry.version(ann, "fraud", 7)

    assert no_model.value.hint == "did you mean 'fraud'?"
    assert "fraud@1" in no_version.value.hint


def test_a_stranger_may_not_promote(registry, ann):
    register(registry, ann, "run")

    with pytest.raises(Denied, match="may not promote models"):
        registry.promote(Context(actor=Actor(name="eve")), "fraud", 1, expected=None, reason="mine")


class Half:
    def predict_proba(self, table):
        return np.column_stack([1 - table[:, 0], table[:, 0]])


class Three:
    def predict_proba(self, table):
        return np.full((len(table), 3), 1 / 3)


class Line:
    def predict(self, table):
        return table[:, 0] * 2


def numbers(rows):
    return rows.select("x").to_numpy()


def test_a_model_gives_the_chance_of_the_positive_class_after_its_preprocess():
    rows = pl.DataFrame({"y": ["a", "b"], "x": [0.25, 0.75]})

    assert Model(Half(), preprocess=numbers).predict(rows).tolist() == [0.25, 0.75]


def test_a_regressor_gives_its_value():
    assert Model(Line(), preprocess=numbers).predict(pl.DataFrame({"x": [1.0, 2.0]})).tolist() == [2.0, 4.0]


def test_no_rows_have_no_scores():
    assert Model(Half(), preprocess=numbers).predict(pl.DataFrame({"x": []}, schema={"x": pl.Float64})).shape == (0,)


def test_a_classifier_of_three_classes_is_refused_in_words():
    with pytest.raises(Invalid, match="not one for each of two classes"):
        Model(Three(), preprocess=numbers).predict(pl.DataFrame({"x": [1.0]}))
