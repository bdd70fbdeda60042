"""All SQL of the guards."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Stale
from noria.datasets.model import FragmentKind
from noria.guards.model import ColumnRule, Quarantined, QuarantineGroup, QuarantineState, Schema, SchemaState
from noria.guards.rules import Choice
from noria.guards.tables import quarantined, schemas

_ENTRY = tuple(entry.name for entry in fields(Quarantined))
_GROUP = ("dataset", "source", "guard", "cycle", "kind", "state", "reason", "by", "at")


def insert_schema(connection: Connection, project: str, new: Schema) -> None:
    """Store a new version of a schema; raises `Stale` if its number was taken meanwhile."""
    values = {entry.name: getattr(new, entry.name) for entry in fields(Schema)}
    values |= {"project": project, "state": new.state.value, "columns": msgspec.to_builtins(new.columns)}
    try:
        with connection.begin_nested():
            connection.execute(insert(schemas), values)
    except IntegrityError as problem:
        raise Stale(f"schema {new} was proposed by somebody else just now", hint="look at it first") from problem


def all_schemas(connection: Connection, project: str, dataset: str) -> list[Schema]:
    """Return all versions of a dataset's schema, oldest first."""
    here = (schemas.c.project == project) & (schemas.c.dataset == dataset)
    rows = connection.execute(select(schemas).where(here).order_by(schemas.c.version)).mappings()
    return [_schema(row) for row in rows]


def approve_schema(connection: Connection, project: str, dataset: str, version: int, *, by: str, at: datetime) -> None:
    """Mark a version as approved."""
    here = (schemas.c.project == project) & (schemas.c.dataset == dataset) & (schemas.c.version == version)
    changes = {"state": SchemaState.APPROVED.value, "approved_by": by, "approved_at": at}
    connection.execute(update(schemas).where(here).values(changes))


def last_change(connection: Connection, project: str, dataset: str) -> int:
    """Return the number of the last change to a dataset's quarantine, 0 if there was none."""
    query = select(func.max(quarantined.c.held_in), func.max(quarantined.c.ended_in)).where(_of(project, dataset))
    held, ended = connection.execute(query).one()
    return max(held or 0, ended or 0)


def insert_entries(connection: Connection, project: str, entries: Sequence[Quarantined]) -> None:
    """Put rows and labels into quarantine."""
    told = [
        {name: getattr(entry, name) for name in _ENTRY}
        | {"project": project, "place": place, "kind": entry.kind.value, "state": entry.state.value}
        for place, entry in enumerate(entries)
    ]
    if told:
        connection.execute(insert(quarantined), told)


def held_at(connection: Connection, project: str, dataset: str, change: int) -> list[Quarantined]:
    """Return what was held after a change, and has not been erased since."""
    here = (
        _of(project, dataset)
        & (quarantined.c.held_in <= change)
        & (quarantined.c.ended_in.is_(None) | (quarantined.c.ended_in > change))
        & (quarantined.c.state != QuarantineState.ERASED.value)
    )
    return [_entry(row) for row in connection.execute(select(quarantined).where(here)).mappings()]


def entries(connection: Connection, project: str, dataset: str, choice: Choice) -> list[Quarantined]:
    """Return the entries that are chosen, in the order in which they were held."""
    order = (quarantined.c.held_in, quarantined.c.place)
    query = select(quarantined).where(_of(project, dataset), *_chosen(choice)).order_by(*order)
    if choice.after is not None:
        query = query.where(tuple_(*order) > tuple_(*choice.after))
    return [_entry(row) for row in connection.execute(query.limit(choice.limit)).mappings()]


def groups(connection: Connection, project: str, dataset: str | None) -> list[QuarantineGroup]:
    """Return what was put into quarantine, in groups that share source, guard, cycle, state and reason."""
    columns = [quarantined.c[name] for name in _GROUP]
    here = quarantined.c.project == project if dataset is None else _of(project, dataset)
    first = func.min(quarantined.c.held_in)
    query = select(*columns, func.count().label("count")).where(here).group_by(*columns)
    rows = connection.execute(query.order_by(quarantined.c.dataset, first, quarantined.c.source)).mappings()
    return [
        QuarantineGroup(
            **{name: row[name] for name in _GROUP if name not in ("kind", "state")},
            kind=FragmentKind(row["kind"]),
            state=QuarantineState(row["state"]),
            count=row["count"],
        )
        for row in rows
    ]


def end(
    connection: Connection,
    project: str,
    dataset: str,
    choice: Choice,
    *,
    state: QuarantineState,
    **changes: Any,  # noqa: ANN401 - columns of several types
) -> int:
    """End the hold of what is chosen; return how many it were."""
    here = update(quarantined).where(_of(project, dataset), *_chosen(choice))
    return connection.execute(here.values(state=state.value, **changes)).rowcount


def _of(project: str, dataset: str) -> Any:  # noqa: ANN401 - SQLAlchemy's boolean clauses have no simple public type
    return (quarantined.c.project == project) & (quarantined.c.dataset == dataset)


def _chosen(choice: Choice) -> list[Any]:
    wanted = {
        "state": None if choice.state is None else choice.state.value,
        "source": choice.source,
        "guard": choice.guard,
        "cycle": choice.cycle,
        "key": choice.key,
    }
    return [quarantined.c[name] == value for name, value in wanted.items() if value is not None]


def _schema(row: RowMapping) -> Schema:
    values: dict[str, Any] = {entry.name: row[entry.name] for entry in fields(Schema)}
    columns = tuple(msgspec.convert(rule, ColumnRule) for rule in row["columns"])
    values |= {"state": SchemaState(row["state"]), "columns": columns}
    return Schema(**values)


def _entry(row: RowMapping) -> Quarantined:
    values: dict[str, Any] = {name: row[name] for name in _ENTRY}
    values |= {"kind": FragmentKind(row["kind"]), "state": QuarantineState(row["state"])}
    return Quarantined(**values)
