"""The home that tests of loops stand on: on SQLite, and where a test asks for it on PostgreSQL as well."""

from datetime import UTC, datetime

import pytest

from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)


def pytest_generate_tests(metafunc):
    """Try each test on SQLite, and on PostgreSQL: now if it is marked so, else with the long runs."""
    if "loop_home" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("both_databases") is not None
        later = pytest.param("postgresql", marks=pytest.mark.soak)
        metafunc.parametrize("loop_home", ["sqlite", "postgresql" if marked else later], indirect=True)


@pytest.fixture
def loop_home(request, tmp_path, monkeypatch):
    """A home of Ann's on a simulated clock, in a folder that is also the working one."""
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "home") if request.param == "sqlite" else request.getfixturevalue("postgresql_address")
    settings = Settings(home=place, blobs=str(tmp_path / "blobs"), key_file=str(tmp_path / "key"), actor="ann")
    with open_home(clock=SimulatedClock(START), settings=settings) as platform:
        yield platform
