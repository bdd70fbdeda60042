"""Laws of routes: shares that are honoured and sticky, changes as compare-and-set, ids that cannot be mistaken."""

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.core.context import Actor, Context
from noria.core.errors import Conflict, Denied, Invalid, NotFound, Stale, Unavailable
from noria.ledger.model import FactKind
from noria.serving import rules
from noria.serving.model import Endpoint, Route, Variant

ONE, TWO, THREE = (Variant(version=number, weight=1.0) for number in (1, 2, 3))


def split(weight):
    return (Variant(version=2, weight=weight), Variant(version=1, weight=1 - weight))


@given(st.text(), st.floats(0.01, 0.98), st.floats(0.0, 1.0))
def test_a_key_of_the_version_on_trial_stays_with_it_while_its_share_grows(key, weight, growth):
    place = rules.point("fraud", key)
    larger = min(weight + growth * (1 - weight), 0.99)

    if rules.chosen(split(weight), place) == 2:
        assert rules.chosen(split(larger), place) == 2


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5), st.text())
def test_every_key_has_exactly_one_version_whatever_the_weights(weights, key):
    shares = tuple(Variant(version=n, weight=weight / sum(weights)) for n, weight in enumerate(weights, 1))

    assert rules.chosen(shares, rules.point("fraud", key)) in range(1, len(weights) + 1)


def test_shares_of_keys_are_the_weights():
    keys = [f"customer-{number}" for number in range(20_000)]

    for weight in (0.05, 0.25, 0.5):
        found = sum(rules.chosen(split(weight), rules.point("fraud", key)) == 2 for key in keys) / len(keys)

        assert abs(found - weight) < 4 * (weight * (1 - weight) / len(keys)) ** 0.5


def test_two_endpoints_try_a_version_on_different_keys():
    keys = [f"customer-{number}" for number in range(10_000)]

    both = sum(rules.point("a", key) < 0.1 and rules.point("b", key) < 0.1 for key in keys) / len(keys)

    assert both == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize(
    ("variants", "shadows", "words"),
    [
        (split(0.5)[:1], (), "sum to 0.5"),
        ((Variant(version=1, weight=0.0), TWO), (), "are no shares"),
        ((Variant(version=1, weight=float("nan")),), (), "are no shares"),
        ((ONE,), (1,), "not all different"),
    ],
)
def test_weights_that_are_no_shares_are_refused(variants, shadows, words):
    with pytest.raises(Invalid, match=words):
        rules.checked_variants(variants, shadows)


def test_an_endpoint_begins_without_a_route_and_says_what_to_do(endpoints, ann):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")

    route = endpoints.route(ann, "fraud")

    assert (route.epoch, route.variants, route.shadows) == (0, (), ())
    with pytest.raises(Unavailable, match="no version to answer with") as caught:
        rules.version_for(route, "key")
    assert "noria promote fraud@N" in caught.value.hint


def test_making_an_endpoint_again_changes_nothing_and_otherwise_is_a_conflict(endpoints, ann, ledger):
    made = endpoints.create(ann, "fraud", model="fraud", dataset="payments")

    assert endpoints.create(ann, "fraud", model="fraud", dataset="payments") == made
    with pytest.raises(Conflict, match="answers with model 'fraud'"):
        endpoints.create(ann, "fraud", model="other", dataset="payments")
    assert [fact.kind for fact in ledger.about(ann, "fraud")] == [FactKind.ENDPOINT_CREATED]


def test_a_route_changes_only_from_the_epoch_that_it_was_decided_against(endpoints, ann, ledger):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")
    endpoints.set_route(ann, "fraud", expected_epoch=0, variants=(ONE,), reason="the first")

    after = endpoints.set_route(ann, "fraud", expected_epoch=1, variants=split(0.05), shadows=(3,), reason="on trial")

    assert endpoints.route(ann, "fraud") == after
    assert (after.epoch, after.versions, after.by, after.reason) == (2, (2, 1, 3), "person:ann", "on trial")
    with pytest.raises(Stale, match="of epoch 2, not 1"):
        endpoints.set_route(ann, "fraud", expected_epoch=1, variants=(THREE,), reason="decided before")
    facts = [fact for fact in ledger.about(ann, "fraud") if fact.kind is FactKind.ROUTE_CHANGED]
    assert [fact.payload["epoch"] for fact in facts] == [1, 2]
    assert facts[1].payload["variants"] == [[2, 0.05], [1, 0.95]]


def test_of_many_who_change_a_route_at_once_one_does(endpoints, ann):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")
    done = []

    def work(number):
        variants = (Variant(version=number, weight=1.0),)
        with contextlib.suppress(Stale):
            done.append(endpoints.set_route(ann, "fraud", expected_epoch=0, variants=variants, reason="mine"))

    threads = [threading.Thread(target=work, args=(1 + number % 3,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [endpoints.route(ann, "fraud")] == done
    assert endpoints.epochs(ann) == {"fraud": 1}


def test_every_route_that_was_is_kept(endpoints, ann):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")
    endpoints.set_route(ann, "fraud", expected_epoch=0, variants=(ONE,), reason="the first")
    endpoints.set_route(ann, "fraud", expected_epoch=1, variants=(), reason="nobody, for now")

    assert [(route.epoch, route.reason) for route in endpoints.routes(ann, "fraud")] == [
        (0, "made"),
        (1, "the first"),
        (2, "nobody, for now"),
    ]


def test_a_change_that_fails_in_its_callers_transaction_leaves_route_and_record_alone(
    endpoints, ann, any_database, ledger
):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")

    def work(connection):
        endpoints.set_route_in(connection, ann, "fraud", expected_epoch=0, variants=(ONE,), reason="the first")
        raise Conflict("the rest of the decision failed")

    with pytest.raises(Conflict):
        any_database.write(work)
    assert endpoints.route(ann, "fraud").epoch == 0
    assert FactKind.ROUTE_CHANGED not in {fact.kind for fact in ledger.about(ann, "fraud")}


def test_what_is_not_there_is_said_with_the_nearest_name(endpoints, ann):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")

    with pytest.raises(NotFound) as no_endpoint:
        endpoints.route(ann, "frauds")
    with pytest.raises(NotFound, match="fraud@7"):
        endpoints.set_route(ann, "fraud", expected_epoch=0, variants=(Variant(version=7, weight=1.0),), reason="mine")

    assert no_endpoint.value.hint == "did you mean 'fraud'?"


def test_a_stranger_may_not_change_a_route(endpoints, ann):
    endpoints.create(ann, "fraud", model="fraud", dataset="payments")

    with pytest.raises(Denied, match="may not promote models"):
        endpoints.set_route(Context(actor=Actor(name="eve")), "fraud", expected_epoch=0, variants=(ONE,), reason="mine")


def test_an_id_that_no_endpoint_gave_is_not_found():
    mine = Endpoint(name="fraud.v2", model="fraud", dataset="payments", secret="secret_1")
    other = Endpoint(name="churn", model="churn", dataset="people", secret="secret_2")
    known = {endpoint.name: endpoint for endpoint in (mine, other)}
    given = rules.stamped(mine, "0dk3v5w2m")

    assert rules.endpoint_of(given, known) is mine
    for wrong in (given[:-1], given.replace("0dk3", "0dk4"), given.replace("fraud.v2", "churn"), "", "...", "x"):
        with pytest.raises(NotFound, match="no prediction named"):
            rules.endpoint_of(wrong, known)


def test_a_route_without_a_choice_needs_no_hash(clock):
    route = Route(
        endpoint="fraud", model="fraud", epoch=1, variants=(ONE,), shadows=(), at=clock.now(), by="ann", reason=""
    )

    assert rules.version_for(route, "anybody") == 1
