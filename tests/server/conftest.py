"""Homes that a gateway serves; and one in which a loop has turned, with a client of its control app."""

import itertools
import shutil
import sys
from pathlib import Path

import pytest

from noria.boot import open_home

sys.path.insert(0, str(Path(__file__).parent))
from builders import DAY, START, a_loop, client_of, opened, push_days, turn
from serving_home import furnish

_numbers = itertools.count()


@pytest.fixture
def home(tmp_path):
    with open_home(tmp_path / "home") as platform:
        furnish(platform, tmp_path)
        yield platform


@pytest.fixture
def empty(tmp_path):
    """A home in which nothing has happened."""
    with opened(str(tmp_path / "home"), tmp_path) as platform:
        yield platform


@pytest.fixture(scope="session")
def turned_folder(tmp_path_factory):
    """A folder with a home whose loop has promoted one candidate and refused another; copied for each test."""
    folder = tmp_path_factory.mktemp("turned")
    _turned(str(folder / "home"), folder)
    return folder


@pytest.fixture(scope="session")
def turned_database(tmp_path_factory, postgresql_server):
    """The same home on PostgreSQL: its folder, and the database that is the template of each test's own."""
    folder = tmp_path_factory.mktemp("turned")
    postgresql_server.psql("CREATE DATABASE turned;")
    _turned(postgresql_server.get_uri("turned"), folder)
    return folder


def _turned(place, folder):
    with opened(place, folder) as platform:
        good, worse = a_loop(), a_loop(params={"flip": True})
        platform.start(good)
        push_days(platform, 10)
        turn(platform, good)
        platform.start(worse)
        push_days(platform, 8)
        turn(platform, worse)


@pytest.fixture
def turned(tmp_path, turned_folder):
    """A home of its own whose loop has promoted one candidate and refused another."""
    shutil.copytree(turned_folder, tmp_path / "copy")
    yield from _reopened(str(tmp_path / "copy" / "home"), tmp_path / "copy")


@pytest.fixture(params=["sqlite", "postgresql"])
def any_home(request, tmp_path):
    """The same on each kind of database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("turned")
        return
    folder, server = request.getfixturevalue("turned_database"), request.getfixturevalue("postgresql_server")
    shutil.copytree(folder, tmp_path / "copy")
    name = f"turned_{next(_numbers)}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE turned;")
    yield from _reopened(server.get_uri(name), tmp_path / "copy")


def _reopened(place, folder):
    with opened(place, folder) as platform:
        platform.clock.advance_to(START + 18 * DAY)
        yield platform


@pytest.fixture
def any_client(any_home):
    return client_of(any_home)


@pytest.fixture
def client(turned):
    return client_of(turned)
