"""The demonstration's scenes in which something goes wrong on purpose, on a shorter replay; the third is in `rollouts`."""

import pytest

from noria.cli.demo import flights
from noria.cli.demo.scenes import playing, poisoned_feed, worse_candidate
from noria.cli.demo.scenes.poisoned_feed import Attack


@pytest.fixture(scope="module")
def rows():
    return flights.load(flights.folder())


def test_a_poisoned_feed_is_found_held_and_made_good(rows, tmp_path):
    told = poisoned_feed.play(rows, tmp_path / "home", attack=Attack(weeks=2))

    assert told["sources_held"] == ["arrivals/UA"]
    assert told["true_positives"] > 1_000
    assert told["false_positives"] == 0
    assert told["auc"]["guarded"] > told["auc"]["unguarded"]
    assert abs(told["after_repair"]["corrected"]["auc_difference"]) < 0.002
    assert f"held {told['rows_quarantined']:,} labels" in playing.sentence("poisoned_feed", told)


def test_a_candidate_of_a_broken_join_is_refused_in_words_with_its_evidence(rows, tmp_path):
    told = worse_candidate.play(rows, tmp_path / "home")

    assert (told["verdict"], told["outcome"], told["stays"]) == ("failed", "rejected", True)
    assert told["reasons"][0].startswith("log_loss ")
    assert told["evidence"]["rows"] > 1_000
