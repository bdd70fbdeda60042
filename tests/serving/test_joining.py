"""Laws of joining: a label stands beside what its prediction was scored on, exactly once, whenever either lands."""

import itertools
from datetime import timedelta

import polars as pl
import pytest
from clicks import CLICKS, HOUR, START, ask, by_x, land, opened, rows_of, tell

from noria.core.errors import BadData
from noria.loop.forgetting import forget
from noria.serving.log import Log
from noria.serving.model import Feedback, Landed, Variant

MINUTE = timedelta(minutes=1)


def asked(home, x, key="m1"):
    """Ask about a key, a minute after what came before."""
    home.clock.advance_to(home.clock.now() + MINUTE)
    row = rows_of(1, at=home.clock.now()).with_columns(id=pl.lit(key), x=pl.lit(float(x)))
    return ask(home, row, key="id")[0].prediction


def told(home, **feedback):
    home.clock.advance_to(home.clock.now() + MINUTE)
    tell(home, **feedback)


def a_day(home, *, lands=()):
    """Ask twice about a key and tell of both, of one corrected; land after the steps of these numbers."""
    predictions = {}
    steps = [
        lambda: predictions.update(morning=asked(home, 1)),
        lambda: predictions.update(noon=asked(home, 9)),
        lambda: told(home, prediction=predictions["morning"], label=True),
        lambda: told(home, prediction=predictions["noon"], label=True),
        lambda: told(home, prediction=predictions["noon"], label=False),
    ]
    for number, step in enumerate(steps):
        step()
        if number in lands:
            land(home)
    land(home)
    return by_x(home, "m1")


def test_a_label_stands_beside_the_features_of_its_prediction(home):
    assert a_day(home) == [(1.0, True), (9.0, False)]


@pytest.mark.parametrize("lands", [(0,), (1,), (2,), (0, 2), (1, 3), (0, 1, 2, 3)])
def test_it_does_so_whenever_either_lands(tmp_path, lands):
    with opened(tmp_path) as home:
        assert a_day(home, lands=lands) == [(1.0, True), (9.0, False)]


def test_what_was_known_before_a_correction_is_the_same_in_one_landing_and_in_many(tmp_path):
    known = []
    for number, lands in enumerate([(), (3,)]):
        with opened(tmp_path / str(number)) as home:
            a_day(home, lands=lands)
            known.append(home.read("clicks", as_of=START + 4 * MINUTE).sort("x")["bought"].to_list())

    assert known == [[True, True], [True, True]]


def test_one_request_with_a_key_twice_is_two_rows(home):
    rows = rows_of(2).with_columns(id=pl.lit("m1"))
    first, second = ask(home, rows, key="id")
    told(home, prediction=second.prediction, label=True)
    told(home, prediction=first.prediction, label=False)

    assert land(home) == Landed(rows=2, labels=2, repeated=1)
    assert by_x(home, "m1") == [(0.0, False), (1.0, True)]


def test_feedback_by_a_key_is_of_the_last_row_that_had_happened(home):
    asked(home, 1)
    asked(home, 2)
    told(home, key="m1", label=True)
    asked(home, 3)

    land(home)

    assert by_x(home, "m1") == [(1.0, None), (2.0, True), (3.0, None)]


def test_a_prediction_about_a_pushed_key_has_its_own_row_and_the_pushed_one_keeps_its_label(home):
    home.push(CLICKS, rows_of(1).with_columns(bought=pl.lit(value=False)))
    prediction = asked(home, 7, key="c0")
    told(home, prediction=prediction, label=True)

    assert land(home) == Landed(rows=1, labels=1, repeated=1)
    assert by_x(home, "c0") == [(0.0, False), (7.0, True)]


def test_a_request_about_a_row_that_was_pushed_just_so_is_about_that_row(home):
    home.push(CLICKS, rows_of(1))
    (same,) = ask(home, rows_of(1), key="id")
    other = asked(home, 7, key="c0")
    told(home, prediction=other, label=True)
    told(home, prediction=same.prediction, label=False)

    assert land(home) == Landed(rows=1, labels=2, repeated=1)
    assert by_x(home, "c0") == [(0.0, False), (7.0, True)]


def test_labels_that_are_pushed_by_a_key_are_of_the_last_row_that_had_happened(home):
    asked(home, 1)
    asked(home, 2)
    land(home)
    known = home.clock.now() - timedelta(seconds=30)
    labels = pl.DataFrame({"id": ["m1"], "bought": [True], "known_at": [known]})

    home.datasets.land_labels(home.context, CLICKS, labels, source="later")

    assert by_x(home, "m1") == [(1.0, True), (2.0, None)]


def test_a_read_names_the_prediction_of_each_row_where_it_is_asked_for(home):
    home.push(CLICKS, rows_of(1))
    prediction = asked(home, 1)
    land(home)

    found = home.datasets.read(home.context, "clicks", with_predictions=True)

    assert dict(zip(found["id"], found["noria_prediction"], strict=True)) == {"c0": None, "m1": prediction}
    assert "noria_prediction" not in home.read("clicks").columns


def test_a_shadow_and_a_version_that_is_stood_in_for_make_no_rows_of_their_own(home):
    route = home.endpoints.route(home.context, "clicks")
    version = home.registry.version(home.context, "clicks", 1)
    home.registry.register(home.context, "clicks", trained_like(version))
    home.endpoints.set_route(
        home.context, "clicks", expected_epoch=route.epoch, variants=(Variant(version=1, weight=1.0),), shadows=(2,),
        reason="look",
    )  # fmt: skip
    prediction = asked(home, 1)
    told(home, prediction=prediction, label=True)

    assert land(home) == Landed(rows=1, labels=1)


def trained_like(version):
    from noria.registry.model import Trained

    return Trained(artifact=version.artifact, run="again", snapshot="s", trained_through=START, code="22" * 32)


def test_the_segments_of_two_gateways_land_by_the_times_of_their_requests(home):
    other = Log(home.log._folder, clock=home.clock, ids=home.ids)
    first = asked(home, 1)
    home.clock.advance_to(home.clock.now() + MINUTE)
    other.told(home.context.project, "clicks", [Feedback(prediction=first, label=False, at=home.clock.now())])
    second = asked(home, 2)
    told(home, prediction=second, label=True)

    land(home)
    other.close()

    assert by_x(home, "m1") == [(1.0, False), (2.0, True)]


def test_keys_that_are_whole_numbers_are_asked_about_twice_as_well(tmp_path):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1).with_columns(id=pl.lit(5)))
        first, second = (ask(home, rows_of(1, first=n).with_columns(id=pl.lit(7)), key="id")[0] for n in (1, 2))
        told(home, prediction=first.prediction, label=True)
        told(home, prediction=second.prediction, label=False)

        assert land(home) == Landed(rows=2, labels=2, repeated=1)
        assert by_x(home, 7) == [(1.0, True), (2.0, False)]


def test_who_is_erased_is_erased_with_all_rows_of_the_key(home):
    for x in (1, 2):
        told(home, prediction=asked(home, x), label=True)
    asked(home, 3, key="other")
    land(home)

    forget(home.rooms, home.context, "clicks", ["m1"], reason="asked to")

    assert home.read("clicks")["id"].to_list() == ["other"]


def test_outcomes_have_the_labels_of_their_own_requests(home):
    predictions = [asked(home, x) for x in (1, 2)]
    told(home, prediction=predictions[0], label=True)
    told(home, key="m1", label=False)

    for _ in range(2):  # by feedback alone, then by what has landed
        now = home.clock.now() + MINUTE
        found = home.endpoints.outcomes(home.context, "clicks", since=START, until=now, as_of=now)
        assert dict(zip(found["prediction"], found["label"], strict=True)) == dict(
            zip(predictions, [1.0, 0.0], strict=True)
        )
        land(home)


@pytest.mark.parametrize(
    ("feedback", "words"),
    [
        ({"label": True}, "names a prediction or the key"),
        ({"label": True, "key": "c0", "prediction": "p"}, "names a prediction or the key"),
        ({"label": float("nan"), "key": "c0"}, "is no number"),
        ({"label": None, "key": "c0"}, "neither true, false, a number nor a text"),
        ({"label": [1], "key": "c0"}, "neither true, false, a number nor a text"),
        ({"label": True, "key": "c0", "at": START.replace(tzinfo=None)}, "has no zone"),
        ({"label": 2**64, "key": "c0"}, "more than 64 bits"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused_before_it_is_logged(tmp_path, feedback, words):
    with opened(tmp_path) as home:
        with pytest.raises(BadData, match=words):
            home.endpoints.tell(home.context, "clicks", [Feedback(**{"at": START, **feedback})])

        assert land(home) == Landed()


def test_the_order_in_which_feedback_comes_does_not_matter_by_their_times(tmp_path):
    for number, order in enumerate(itertools.permutations([(1, True), (2, False), (3, True)])):
        with opened(tmp_path / str(number)) as home:
            prediction = asked(home, 1)
            home.clock.advance_to(START + HOUR)
            told_at = [Feedback(prediction=prediction, label=label, at=START + n * MINUTE) for n, label in order]
            home.endpoints.tell(home.context, "clicks", told_at)
            land(home)
            assert by_x(home, "m1") == [(1.0, True)]
