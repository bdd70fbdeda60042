"""The home that tests of loops stand on: on SQLite, and where a test asks for it on PostgreSQL as well."""

import pytest

from noria.boot import open_home
from noria.settings import Settings


def pytest_generate_tests(metafunc):
    """Run each test on SQLite, and on PostgreSQL: always if it is marked `both_databases`, else with `make soak`."""
    if "loop_home" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("both_databases") is not None
        later = pytest.param("postgresql", marks=pytest.mark.soak)
        metafunc.parametrize("loop_home", ["sqlite", "postgresql" if marked else later], indirect=True)


@pytest.fixture
def loop_home(request, clock, tmp_path, monkeypatch):
    """A home of Ann's on the simulated clock; the working folder is the test's own."""
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "home") if request.param == "sqlite" else request.getfixturevalue("postgresql_address")
    settings = Settings(home=place, blobs=str(tmp_path / "blobs"), key_file=str(tmp_path / "key"), actor="ann")
    with open_home(clock=clock, settings=settings) as platform:
        yield platform
