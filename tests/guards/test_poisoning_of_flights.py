"""Laws of the poisoning check on real flights, on weeks that no bar was chosen on; `benchmarks/poisoning.py` prints more."""

import importlib.util
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from noria.guards.model import Action

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "poisoning.py"


@pytest.fixture(scope="module")
def bench():
    described = importlib.util.spec_from_file_location("benchmarks_poisoning", _SCRIPT)
    module = importlib.util.module_from_spec(described)
    sys.modules[described.name] = module
    described.loader.exec_module(module)
    with threadpool_limits(1, user_api="openmp"):
        yield module


@pytest.fixture(scope="module")
def flights(bench):
    return bench.demo.load(bench.demo.folder())


@pytest.fixture(scope="module")
def one_week(bench, flights):
    return bench.week(flights, bench.TESTED + 9 * bench.WEEK)


@pytest.mark.parametrize(("carrier", "share"), [("DL", 0.5), ("US", 1.0), ("MQ", 0.7), ("WN", 1.0)])
def test_flipped_labels_of_a_carrier_are_found_and_no_other_carrier_is_held(bench, one_week, carrier, share):
    found = bench.judge(one_week, one_week.begin + bench.WEEK, flipped=carrier, share=share)

    assert {finding.source for finding in found.findings if finding.holds} == {f"arrivals/{carrier}"}


def test_clean_nights_pass(bench, one_week):
    found = [bench.judge(one_week, one_week.begin + day * bench.DAY).action for day in (1, 4, 7)]

    assert [action for action in found if action.gravity >= Action.QUARANTINE.gravity] == []


@pytest.mark.soak
def test_over_the_clean_year_at_most_one_night_of_a_hundred_has_anything_held_or_stopped(bench, flights):
    weeks = [bench.week(flights, begin) for begin in bench.begins(bench.FIRST)]

    days, touched = bench.clean_days(weeks)

    assert days == 43 * 7
    assert len(touched) <= days / 100, touched
