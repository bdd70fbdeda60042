"""The law of migrations: all revisions together make exactly the tables that the rooms declare."""

import importlib
import pkgutil
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text

import noria
from noria.core.errors import Conflict
from noria.runs.tables import runs
from noria.store import migrating
from noria.store.opening import open_database
from noria.store.tables import leases, metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request, tmp_path):
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'fresh.db'}"
    else:
        address = request.getfixturevalue("postgresql_address")
    for module in pkgutil.walk_packages(noria.__path__, "noria."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)
    database = open_database(address)
    yield database
    database.close()


def test_all_revisions_together_equal_the_tables(empty_database):
    migrating.upgrade(empty_database)

    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_fresh_database_is_made_of_the_declared_tables_at_once(empty_database):
    migrating.upgrade(empty_database, declare=lambda: None)  # the fixture has loaded them all

    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert empty_database.read(migrating.revision) == migrating.NEWEST


def test_upgrading_twice_changes_nothing(empty_database):
    migrating.upgrade(empty_database)
    migrating.upgrade(empty_database)

    assert empty_database.read(migrating.revision) == migrating.NEWEST


def test_runs_that_waited_before_there_were_leases_for_them_get_one(empty_database):
    with empty_database.engine.connect() as connection:
        command.upgrade(migrating.configuration(connection), "0010")
        connection.commit()
    texts = ("project", "pipeline", "reference", "arguments", "code", "created_by")
    numbers = ("cpu_seconds", "charged_cpu_seconds", "wall_seconds")
    row = dict.fromkeys(texts, "x") | dict.fromkeys(numbers, 0.0) | {"created_at": datetime(2026, 1, 1, tzinfo=UTC)}

    def as_before(connection):
        states = {"waits": "queued", "held": "queued", "ended": "failed"}
        connection.execute(insert(runs), [row | {"id": id_, "state": state} for id_, state in states.items()])
        held = {"name": "run/held", "holder": "a", "token": 3, "expires_at": datetime(2026, 1, 1, tzinfo=UTC)}
        connection.execute(insert(leases), held)

    empty_database.write(as_before)
    migrating.upgrade(empty_database)

    found = empty_database.read(lambda c: c.execute(select(leases).order_by(leases.c.name)).all())
    assert [(lease.name, lease.token) for lease in found] == [("run/held", 3), ("run/waits", 0)]
    assert found[1].expires_at < datetime(1970, 1, 3, tzinfo=UTC)


def test_a_home_that_a_newer_noria_has_written_is_left_alone(empty_database):
    migrating.upgrade(empty_database)
    empty_database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))

    with pytest.raises(Conflict, match="this home has schema 9999"):
        migrating.upgrade(empty_database)
