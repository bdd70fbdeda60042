"""All SQL of the queue: which submitted run is next, and which workers are there to execute it."""

import math
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, or_, select, text, update

from noria.pipelines.model import Needs
from noria.runs.executors import Offers, Worker
from noria.runs.tables import WAITS, runs, workers
from noria.store.leases import LONGEST
from noria.store.tables import leases

Candidate = tuple[str, Needs | None]
"""A run that waits, by its id, and what it needs of a worker."""


def next_waiting(
    connection: Connection, project: str, now: datetime, *, beyond: Collection[Needs], but: Collection[str]
) -> Candidate | None:
    """Lock the lease of the run that is next and return the run: the highest priority first, then the oldest.

    Left out are those that somebody executes, that need what is `beyond` the worker, and some by their ids. On
    PostgreSQL those that another worker has locked are skipped, and a lease that was taken an instant ago is looked at
    anew; on SQLite there is only one that writes. All who decide about a run lock its lease first, so nobody waits in a ring.
    """
    here = (*_free(project, now), *_possible(beyond), runs.c.id.not_in(but))
    for priority in _priorities(connection, select(runs.c.priority).where(*here)):
        first = select(runs.c.id, runs.c.needs).where(*here, runs.c.priority == priority).order_by(runs.c.id).limit(1)
        row = connection.execute(first.with_for_update(of=leases, skip_locked=True)).one_or_none()
        if row is not None:
            return row.id, _needs(row.needs)
    return None


def _priorities(connection: Connection, query: "Select[int | None]") -> Iterator[int]:
    """Yield the priorities of what waits, the highest first: each found in the index, however much waits behind it."""
    below: int | None = None
    while True:
        lower = query if below is None else query.where(runs.c.priority < below)
        below = connection.execute(lower.order_by(runs.c.priority.desc()).limit(1)).scalar_one_or_none()
        if below is None:
            return
        yield below


def _free(project: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    is_free = or_(leases.c.expires_at <= now, leases.c.expires_at > now + LONGEST)
    free = (leases.c.name == "run/" + runs.c.id, is_free)
    return runs.c.project == project, text(WAITS), *free  # pyright: ignore[reportReturnType] - a text is a condition, too


def _possible(beyond: Collection[Needs]) -> tuple[ColumnElement[bool], ...]:
    if not beyond:
        return ()
    return (or_(runs.c.needs.is_(None), runs.c.needs.not_in([msgspec.to_builtins(needs) for needs in beyond])),)


def waiting_needs(connection: Connection, project: str, now: datetime) -> list[tuple[Needs | None, int, str]]:
    """Return what free runs need of a worker, how many need it, and the oldest of those."""
    counted = (func.count().label("number"), func.min(runs.c.id).label("oldest"))
    query = select(runs.c.needs, *counted).where(*_free(project, now)).group_by(runs.c.needs).order_by("oldest")
    return [(_needs(row.needs), row.number, row.oldest) for row in connection.execute(query)]


def put_worker(connection: Connection, project: str, worker: Worker) -> None:
    """Store that a worker is there, in place of what was stored of it."""
    offers = {name: value for name, value in msgspec.to_builtins(worker.offers).items() if value != math.inf}
    row: dict[str, Any] = {"project": project, "executor": worker.executor, "expires_at": worker.expires_at}
    row["offers"] = offers | {"tags": sorted(worker.offers.tags)}
    changed = connection.execute(update(workers).where(workers.c.name == worker.name).values(row))
    if changed.rowcount == 0:
        connection.execute(insert(workers).values(name=worker.name, **row))


def drop_workers(connection: Connection, *, name: str, now: datetime) -> None:
    """Forget a worker that leaves, and those that have not been heard of."""
    connection.execute(
        delete(workers).where(
            or_(workers.c.name == name, workers.c.expires_at <= now, workers.c.expires_at > now + LONGEST)
        )
    )


def list_workers(connection: Connection, project: str, now: datetime) -> list[Worker]:
    """Return the workers that are there."""
    query = (
        select(workers)
        .where(workers.c.project == project, workers.c.expires_at.between(now, now + LONGEST))
        .order_by(workers.c.name)
    )
    return [
        Worker(
            name=row.name,
            executor=row.executor,
            offers=msgspec.convert(row.offers, Offers),
            expires_at=row.expires_at,
        )
        for row in connection.execute(query)
    ]


def _needs(stored: object) -> Needs | None:
    return None if stored is None else msgspec.convert(stored, Needs)
