"""All SQL of retiring and removing: which rows of which tables belong to a thing, and which things need it."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select

from noria.datasets import tables as data
from noria.guards import tables as guards
from noria.loop import tables as loop
from noria.loop.removal_model import Kind, Retirement, Thing
from noria.monitors import tables as monitors
from noria.registry import tables as registry
from noria.rollouts import tables as rollouts
from noria.rollouts.model import RolloutState
from noria.runs import tables as runs
from noria.serving import tables as serving
from noria.store.tables import retirements as retirements_

_ROWS: dict[Kind, tuple[tuple[Table, str], ...]] = {
    Kind.LOOP: (
        (loop.loops, "name"),
        (loop.cycles, "loop"),
        (loop.stumbles, "loop"),
        (monitors.signals, "subject"),
    ),
    Kind.DATASET: (
        (data.datasets, "name"),
        (data.snapshots, "dataset"),
        (data.fragments, "dataset"),
        (guards.schemas, "dataset"),
        (guards.quarantined, "dataset"),
    ),
    Kind.MODEL: (
        (registry.model_versions, "model"),
        (registry.aliases, "model"),
        (registry.alias_moves, "model"),
        (serving.servables, "model"),
        (serving.loadings, "model"),
        (rollouts.rollouts, "model"),
    ),
    Kind.ENDPOINT: (
        (serving.endpoints, "name"),
        (serving.routes, "endpoint"),
        (serving.landings, "endpoint"),
        (serving.asides, "endpoint"),
        (serving.rescorings, "endpoint"),
    ),
    Kind.RUN: (
        (runs.runs, "id"),
        (runs.attempts, "run"),
        (runs.hits, "run"),
        (runs.cached_results, "run"),
        (runs.logs, "run"),
        (runs.progress, "run"),
        (runs.params, "run"),
        (runs.metrics, "run"),
    ),
}
"""The rows of a thing; the first table says whether it is there."""


def is_there(connection: Connection, project: str, thing: Thing) -> bool:
    """Say whether there is such a thing."""
    table, _ = _ROWS[thing.kind][0]
    query = select(func.count()).select_from(table).where(_mine(project, thing, *_ROWS[thing.kind][0]))
    return connection.execute(query).scalar_one() > 0


def names(connection: Connection, project: str, kind: Kind) -> list[str]:
    """Return the names of all things of a kind."""
    table, column = _ROWS[kind][0]
    query = select(table.c[column]).where(table.c.project == project).distinct()
    return sorted(connection.execute(query).scalars())


def count(connection: Connection, project: str, thing: Thing) -> dict[str, int]:
    """Return how many rows of which tables belong to a thing."""
    return {
        table.name: connection.execute(
            select(func.count()).select_from(table).where(_mine(project, thing, table, column))
        ).scalar_one()
        for table, column in _ROWS[thing.kind]
    }


def remove(connection: Connection, project: str, thing: Thing) -> None:
    """Delete the rows of a thing."""
    for table, column in reversed(_ROWS[thing.kind]):
        connection.execute(delete(table).where(_mine(project, thing, table, column)))
    restore(connection, project, thing)


def users(connection: Connection, project: str, thing: Thing) -> list[Thing]:
    """Return the things that need this one, in the order in which they go."""
    return sorted(set(_users(connection, project, thing)), key=lambda user: user.place)


def _users(connection: Connection, project: str, thing: Thing) -> Iterator[Thing]:
    versions = registry.model_versions.c
    here = versions.project == project
    match thing.kind:
        case Kind.DATASET:
            yield from _named(connection, Kind.LOOP, loop.loops, project, dataset=thing.name)
            yield from _named(connection, Kind.ENDPOINT, serving.endpoints, project, dataset=thing.name)
            mine = select(data.snapshots.c.id).where(_mine(project, thing, data.snapshots, "dataset"))
            query = select(versions.model).where(here, versions.snapshot.in_(mine)).distinct()
            yield from (Thing(kind=Kind.MODEL, name=name) for name in connection.execute(query).scalars())
        case Kind.MODEL:
            rows = connection.execute(
                select(loop.loops.c.name, loop.loops.c.spec).where(loop.loops.c.project == project)
            )
            yield from (Thing(kind=Kind.LOOP, name=row.name) for row in rows if row.spec["model"] == thing.name)
            yield from _named(connection, Kind.ENDPOINT, serving.endpoints, project, model=thing.name)
        case Kind.RUN:
            query = select(versions.model).where(here, versions.run == thing.name)
            yield from (Thing(kind=Kind.MODEL, name=name) for name in connection.execute(query).scalars())
        case Kind.ENDPOINT:  # a loop brings its candidates in at the endpoint of its name
            yield from _named(connection, Kind.LOOP, loop.loops, project, name=thing.name)
        case Kind.LOOP:
            return


def _named(connection: Connection, kind: Kind, table: Table, project: str, **where: str) -> Iterator[Thing]:
    conditions = [table.c[column] == value for column, value in where.items()]
    query = select(table.c.name).where(table.c.project == project, *conditions)
    yield from (Thing(kind=kind, name=name) for name in connection.execute(query).scalars())


def put_retirement(connection: Connection, project: str, retired: Retirement) -> None:
    """Store that a thing is retired."""
    values = {"kind": retired.thing.kind.value, "name": retired.thing.name, "at": retired.at, "by": retired.by}
    connection.execute(insert(retirements_).values(project=project, reason=retired.reason, **values))


def restore(connection: Connection, project: str, thing: Thing) -> None:
    """Forget that a thing is retired."""
    here = (retirements_.c.project == project) & (retirements_.c.kind == thing.kind.value)
    connection.execute(delete(retirements_).where(here, retirements_.c.name == thing.name))


def retirements(connection: Connection, project: str, kind: Kind | None = None) -> list[Retirement]:
    """Return what is retired, by kind and name."""
    query = select(retirements_).where(retirements_.c.project == project)
    if kind is not None:
        query = query.where(retirements_.c.kind == kind.value)
    rows = connection.execute(query.order_by(retirements_.c.kind, retirements_.c.name))
    return [
        Retirement(thing=Thing(kind=Kind(row.kind), name=row.name), at=row.at, by=row.by, reason=row.reason)
        for row in rows
    ]


def _mine(project: str, thing: Thing, table: Table, column: str) -> ColumnElement[bool]:
    return (table.c.project == project) & (table.c[column] == thing.name)


def has_open_rollout(connection: Connection, project: str, endpoint: str) -> bool:
    """Say whether a candidate is on its way in at an endpoint."""
    table = rollouts.rollouts
    here = (table.c.project == project) & (table.c.endpoint == endpoint) & (table.c.state == RolloutState.OPEN.value)
    return connection.execute(select(func.count()).select_from(table).where(here)).scalar_one() > 0


def state_of_run(connection: Connection, project: str, run: str) -> str | None:
    """Return the state of a run, None if it is not there."""
    query = select(runs.runs.c.state).where(runs.runs.c.project == project, runs.runs.c.id == run)
    return connection.execute(query).scalar_one_or_none()
