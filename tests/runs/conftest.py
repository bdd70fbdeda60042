"""A house of runs on a fresh database of each kind."""

import pytest
from tests_runs_house import Watch, house_on


@pytest.fixture
def house(database, blobs, clock, ids, ann, tmp_path):
    return house_on(database, blobs, clock, ids, ann, tmp_path)


@pytest.fixture
def any_house(any_database, blobs, clock, ids, ann, tmp_path):
    return house_on(any_database, blobs, clock, ids, ann, tmp_path)


@pytest.fixture
def runs(house):
    return house.runs()


@pytest.fixture
def watch():
    return Watch()
