"""Laws of answers: sticky, logged, joined with their labels as they were known, and never stopped by a shadow or the log."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import noria as nr
from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.core.errors import ModelFailed, NotFound, NotStored, Unavailable
from noria.registry.model import Trained
from noria.runs.model import Artifact
from noria.serving.model import Feedback, Variant

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")


def features(rows):
    return rows.select("x", "y").to_numpy()


def picky(rows):
    if rows["x"].null_count():
        raise ValueError("x is needed")
    return features(rows)


def rows_of(count, *, first=0, at=START):
    chance = np.random.default_rng(first)
    return pl.DataFrame(
        {
            "id": [f"c{number}" for number in range(first, first + count)],
            "at": [at] * count,
            "x": chance.normal(size=count),
            "y": chance.normal(size=count),
        }
    )


@pytest.fixture
def home(tmp_path):
    with open_home(tmp_path / "home", clock=SimulatedClock(START)) as platform:
        platform.datasets.create(platform.context, CLICKS)
        table = np.random.default_rng(1).normal(size=(200, 2))
        for preprocess, sign in ((features, 1), (features, -1), (picky, 1)):
            model = nr.Model(
                HistGradientBoostingClassifier(max_iter=5).fit(table, table[:, 0] * sign > 0), preprocess=preprocess
            )
            register(platform, model)
        platform.endpoints.create(platform.context, "clicks", model="clicks", dataset="clicks")
        yield platform


def register(platform, model):
    encoded = platform.codecs.encode(model)
    artifact = Artifact(codec=encoded.codec, blob=platform.blobs.put(encoded.payload), digest=encoded.digest)
    trained = Trained(
        artifact=artifact, run=platform.ids.new("run"), snapshot="s", trained_through=START, code="22" * 32
    )
    return platform.registry.register(platform.context, "clicks", trained)


def route(home, *shares, shadows=()):
    variants = [Variant(version=version, weight=weight) for version, weight in shares]
    epoch = home.endpoints.route(home.context, "clicks").epoch
    home.endpoints.set_route(
        home.context, "clicks", expected_epoch=epoch, variants=variants, shadows=shadows, reason="test"
    )


def ask(home, rows, key="id"):
    return home.endpoints.predict(home.context, "clicks", rows, key=key)


def outcomes(home, *, since=START, until=START + 100 * HOUR, as_of=START + 100 * HOUR):
    return home.endpoints.outcomes(home.context, "clicks", since=since, until=until, as_of=as_of)


def test_each_row_is_answered_in_its_place_by_the_version_of_its_key(home):
    route(home, (2, 0.3), (1, 0.7))
    rows = rows_of(300)

    answers, again = ask(home, rows), ask(home, rows)

    versions = [answer.version for answer in answers]
    assert versions == [answer.version for answer in again]
    assert 60 < versions.count(2) < 120
    for version, model_version in ((1, 1), (2, 2)):
        model = home.loader.load(home.registry.version(home.context, "clicks", model_version).artifact)
        mine = [place for place, found in enumerate(versions) if found == version]
        assert [answers[place].score for place in mine] == pytest.approx(model.predict(rows[mine]).tolist())


def test_an_endpoint_without_a_route_answers_nothing(home):
    with pytest.raises(Unavailable, match="no version to answer with"):
        ask(home, rows_of(1))


def test_every_answer_is_logged_with_its_shadows_under_one_request(home):
    route(home, (1, 1.0), shadows=(2,))
    answers = ask(home, rows_of(3))

    found = outcomes(home)

    assert found.columns == [
        "request", "prediction", "key", "at", "version", "is_shadow", "score", "missing", "latency_ms", "error", "label",
    ]  # fmt: skip
    assert found.height == 6
    assert found["request"].n_unique() == 3
    live = found.filter(~pl.col("is_shadow"))
    assert live["prediction"].to_list() == [answer.prediction for answer in answers]
    assert found.filter("is_shadow")["version"].to_list() == [2, 2, 2]
    assert set(found["at"]) == {START}


def test_a_shadow_that_fails_is_an_error_in_the_log_and_nothing_else(home):
    route(home, (1, 1.0), shadows=(3,))

    answers = ask(home, rows_of(2).with_columns(x=pl.lit(None, pl.Float64)))

    found = outcomes(home)
    assert len(answers) == 2
    assert found.filter("is_shadow")["error"].to_list() == ["ValueError: x is needed"] * 2
    assert found.filter(~pl.col("is_shadow"))["error"].null_count() == 2


def test_missing_inputs_are_counted_not_refused(home):
    home.push(CLICKS, rows_of(5, first=100))
    route(home, (1, 1.0))
    rows = rows_of(3).with_columns(y=pl.Series([0.5, float("nan"), None]), x=pl.Series([0.1, 0.2, None]))

    assert len(ask(home, rows)) == 3

    assert outcomes(home)["missing"].to_list() == [0, 1, 2]


def test_a_version_on_trial_that_fails_is_stood_in_for_and_its_failure_is_kept(home):
    route(home, (3, 0.5), (1, 0.5))
    rows = rows_of(50).with_columns(x=pl.lit(None, pl.Float64))

    answers = ask(home, rows)

    found = outcomes(home)
    assert [answer.version for answer in answers] == [1] * 50
    failed = found.filter(pl.col("version") == 3)
    assert 10 < failed.height < 40
    assert failed["error"].to_list() == ["ValueError: x is needed"] * failed.height
    assert found.filter(pl.col("version") == 1).height == 50


def test_without_anybody_to_stand_in_the_failure_is_said_and_kept(home):
    route(home, (3, 1.0))

    with pytest.raises(ModelFailed, match="clicks@3 could not score the rows: x is needed"):
        ask(home, rows_of(2).with_columns(x=pl.lit(None, pl.Float64)))

    assert outcomes(home)["error"].to_list() == ["ValueError: x is needed"] * 2


def test_labels_are_joined_from_feedback_as_they_were_known(home):
    route(home, (1, 1.0), shadows=(2,))
    first, second = ask(home, rows_of(2))
    home.clock.advance_to(START + HOUR)
    told = [
        Feedback(label=True, at=home.clock.now(), prediction=first.prediction),
        Feedback(label=0, at=home.clock.now(), key="c1"),
    ]
    home.endpoints.tell(home.context, "clicks", told)

    before, after = outcomes(home, as_of=START), outcomes(home, as_of=START + HOUR)

    assert before["label"].to_list() == [None] * 4
    assert sorted(zip(after["key"], after["is_shadow"], after["label"], strict=True)) == [
        ("c0", False, 1.0),
        ("c0", True, 1.0),
        ("c1", False, 0.0),
        ("c1", True, 0.0),
    ]
    assert second.prediction != first.prediction


def test_labels_are_joined_from_the_dataset_and_the_last_known_counts(home):
    route(home, (1, 1.0))
    rows = rows_of(3)
    ask(home, rows)
    home.clock.advance_to(START + 3 * HOUR)
    home.push(CLICKS, rows)
    landed = pl.DataFrame({"id": ["c0", "c1"], "bought": [True, False], "known_at": [START + HOUR] * 2})
    home.land_labels(CLICKS, landed)
    home.endpoints.tell(home.context, "clicks", [Feedback(label=True, at=START + 2 * HOUR, key="c1")])

    def labels(as_of):
        found = outcomes(home, as_of=as_of)
        return dict(zip(found["key"], found["label"], strict=True))

    assert labels(START) == {"c0": None, "c1": None, "c2": None}
    assert labels(START + HOUR) == {"c0": 1.0, "c1": 0.0, "c2": None}
    assert labels(START + 2 * HOUR) == {"c0": 1.0, "c1": 1.0, "c2": None}


def test_outcomes_are_of_a_window_and_grow_with_the_log(home):
    route(home, (1, 1.0))
    for hour in range(4):
        home.clock.advance_to(START + hour * HOUR)
        ask(home, rows_of(1, first=hour))
        assert outcomes(home).height == hour + 1

    window = outcomes(home, since=START + HOUR, until=START + 3 * HOUR)
    assert window["key"].to_list() == ["c1", "c2"]
    assert outcomes(home, as_of=START + HOUR).height == 2
    assert outcomes(home, since=START + 3 * HOUR).height == 1
    assert outcomes(home).height == 4


def test_the_log_is_read_by_another_process_and_after_a_restart(home, tmp_path):
    route(home, (1, 1.0))
    (answer,) = ask(home, rows_of(1))

    with open_home(tmp_path / "home", clock=SimulatedClock(START + HOUR)) as other:
        told = Feedback(label=True, at=START + HOUR, prediction=answer.prediction)
        other.endpoints.tell(other.context, "clicks", [told])
        assert outcomes(other)["label"].to_list() == [1.0]
    assert outcomes(home)["label"].to_list() == [1.0]


def test_feedback_on_a_prediction_that_was_never_given_is_refused_and_nothing_is_kept(home):
    route(home, (1, 1.0))
    told = [Feedback(label=True, at=START, key="c0"), Feedback(label=True, at=START, prediction="clicks.0.0")]

    with pytest.raises(NotFound, match="no prediction named 'clicks.0.0'"):
        home.endpoints.tell(home.context, "clicks", told)

    ask(home, rows_of(1))
    assert outcomes(home)["label"].to_list() == [None]


def test_what_cannot_be_logged_is_not_answered(home, monkeypatch):
    route(home, (1, 1.0))

    def refuse(*_):
        raise NotStored("no room left")

    monkeypatch.setattr(home.log, "predicted", refuse)

    with pytest.raises(NotStored):
        ask(home, rows_of(2))


def test_a_key_that_is_no_column_is_refused_with_the_nearest(home):
    route(home, (1, 1.0))

    with pytest.raises(NotFound, match="no column named 'ids'") as caught:
        ask(home, rows_of(1), key="ids")

    assert caught.value.hint == "did you mean 'id'?"
