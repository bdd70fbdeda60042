"""The law of scene three: good offline and in shadow, taken back in the canary when its feed breaks, nobody unanswered."""

from datetime import UTC, datetime

import pytest
from threadpoolctl import threadpool_limits

from noria.cli.demo import flights
from noria.cli.demo.recipe import TICK_HOUR
from noria.cli.demo.scenes import bad_live

pytestmark = pytest.mark.soak  # forty seconds; tests/loop tries the same rollback on smaller data


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    import sklearn.ensemble  # noqa: F401 - only what is loaded can be kept to one thread

    days = bad_live.Days(
        begins=datetime(2013, 5, 13, TICK_HOUR, tzinfo=UTC),
        breaks=datetime(2013, 6, 20, 14, tzinfo=UTC),
        ends=datetime(2013, 6, 23, 14, tzinfo=UTC),
        every=6,
    )
    with threadpool_limits(1, user_api="openmp"):
        return bad_live.play(flights.load(flights.folder()), tmp_path_factory.mktemp("home"), days=days)


def test_the_candidate_is_better_offline_and_nothing_is_found_in_shadow(told):
    assert told["offline"]["verdict"] == "passed"
    shadow = {reading["metric"]: reading for reading in told["shadow"][0]}
    assert shadow["log_loss"]["high"] < 0.01
    assert abs(shadow["missing_rate"]["difference"]) < 0.001
    assert shadow["error_rate"]["keys"] > 2500


def test_a_feed_that_falls_silent_takes_it_back_within_half_a_day_and_few_have_met_it(told):
    assert (told["outcome"], told["state"], told["stage"]) == ("rolled_back", "aborted", "10%")
    assert told["aborted_on"] == ["missing_rate"]
    assert 0 < told["seconds_to_abort"] <= 12 * 3600
    assert 0 < told["exposure"] < 150


def test_a_feed_in_the_wrong_unit_takes_it_back_by_the_labels_when_nothing_is_missing(told):
    seconds = told["in_seconds"]
    assert (seconds["outcome"], seconds["state"], seconds["stage"]) == ("rolled_back", "aborted", "10%")
    assert seconds["aborted_on"] == ["log_loss"]
    assert 0 < seconds["seconds_to_abort"] <= 72 * 3600
    assert 0 < seconds["exposure"] < 500


def test_no_request_fails_and_the_champion_answers_alone_at_the_end(told):
    assert told["requests"] > 3000
    assert told["failed_requests"] == 0
    assert told["answers_now"] == told["in_seconds"]["answers_now"] == [[told["champion"], 1.0]]
