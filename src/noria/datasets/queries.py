"""All SQL of datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from noria.core.errors import Stale
from noria.datasets.model import Dataset, Erasure, Fragment, FragmentKind, LabelsAhead, Snapshot
from noria.datasets.tables import datasets, erasures, fragments, snapshots

_SNAPSHOT = tuple(entry.name for entry in fields(Snapshot) if entry.name != "notes")
_ERASURE = tuple(entry.name for entry in fields(Erasure))
_FRAGMENT = tuple(entry.name for entry in fields(Fragment))


def dataset(connection: Connection, project: str, name: str) -> tuple[Dataset, Mapping[str, str]] | None:
    """Return a dataset with its columns, in their order, and their types, if it is there."""
    row = connection.execute(select(datasets).where(_named(project, name))).one_or_none()
    if row is None:
        return None
    return Dataset(row.name, key=row.key, time=row.time, label=row.label), dict(row.columns)


def all_datasets(connection: Connection, project: str) -> list[Dataset]:
    """Return all datasets, by name."""
    rows = connection.execute(select(datasets).where(datasets.c.project == project).order_by(datasets.c.name))
    return [Dataset(row.name, key=row.key, time=row.time, label=row.label) for row in rows]


def insert_dataset(connection: Connection, project: str, new: Dataset, *, at: datetime) -> None:
    """Store a new dataset; raises `Stale` if somebody else was first."""
    values = {"project": project, "name": new.name, "key": new.key, "time": new.time, "label": new.label}
    try:
        with connection.begin_nested():
            connection.execute(insert(datasets), values | {"columns": [], "created_at": at})
    except IntegrityError as problem:
        raise Stale(f"dataset {new.name!r} was made by somebody else just now", hint="try again") from problem


def set_columns(connection: Connection, project: str, name: str, columns: Mapping[str, str]) -> None:
    """Store the columns that a dataset's rows and labels have, in their order."""
    listed = [list(column) for column in columns.items()]
    connection.execute(update(datasets).where(_named(project, name)).values(columns=listed))


def lock(connection: Connection, project: str, name: str) -> None:
    """Keep other committers to the dataset out until the transaction ends."""
    connection.execute(select(datasets.c.name).where(_named(project, name)).with_for_update()).one()


def insert_snapshot(connection: Connection, project: str, new: Snapshot, parts: Sequence[Fragment]) -> None:
    """Store a snapshot with its fragments."""
    connection.execute(
        insert(snapshots),
        {
            "id": new.id,
            "project": project,
            "dataset": new.dataset,
            "number": new.number,
            "parent": new.parent,
            "digest": new.digest,
            "content": new.content,
            "rows": new.rows,
            "labels": new.labels,
            "source": new.source,
            "arrived_at": new.arrived_at,
            "committed_at": new.committed_at,
            "committed_by": new.committed_by,
            "key": new.key,
        },
    )
    connection.execute(insert(fragments), [_plain(project, new.dataset, part) for part in parts])


def latest(connection: Connection, project: str, name: str, *, by: datetime | None = None) -> Snapshot | None:
    """Return the newest snapshot, or the newest one committed by a moment."""
    query = select(snapshots).where(_of(project, name)).order_by(snapshots.c.number.desc()).limit(1)
    if by is not None:
        query = query.where(snapshots.c.committed_at <= by)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _snapshot(row)


def snapshot(connection: Connection, project: str, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot by its id."""
    here = (snapshots.c.project == project) & (snapshots.c.id == snapshot_id)
    row = connection.execute(select(snapshots).where(here)).mappings().one_or_none()
    return None if row is None else _snapshot(row)


def numbered(connection: Connection, project: str, name: str, number: int) -> Snapshot | None:
    """Return a snapshot by its number."""
    row = (
        connection.execute(select(snapshots).where(_of(project, name), snapshots.c.number == number))
        .mappings()
        .one_or_none()
    )
    return None if row is None else _snapshot(row)


def keyed(connection: Connection, project: str, name: str, key: str) -> Snapshot | None:
    """Return the snapshot that was committed under a key."""
    row = (
        connection.execute(select(snapshots).where(_of(project, name), snapshots.c.key == key)).mappings().one_or_none()
    )
    return None if row is None else _snapshot(row)


def all_snapshots(connection: Connection, project: str, name: str) -> list[Snapshot]:
    """Return a dataset's snapshots, oldest first."""
    rows = connection.execute(select(snapshots).where(_of(project, name)).order_by(snapshots.c.number))
    return [_snapshot(row) for row in rows.mappings()]


def sources(connection: Connection, project: str, name: str) -> dict[int, str]:
    """Return through which source each snapshot came, by its number."""
    rows = connection.execute(select(snapshots.c.number, snapshots.c.source).where(_of(project, name)))
    return {row.number: row.source for row in rows}


def labels_ahead(connection: Connection, project: str, now: datetime) -> list[LabelsAhead]:
    """Return, by dataset, the labels in fragments that reach beyond a moment."""
    ahead = (fragments.c.project == project) & (fragments.c.known_through > now)
    counted = (func.sum(fragments.c.rows).label("labels"), func.max(fragments.c.known_through).label("until"))
    query = select(fragments.c.dataset, *counted).where(ahead).group_by(fragments.c.dataset)
    rows = connection.execute(query.order_by(fragments.c.dataset))
    return [LabelsAhead(dataset=row.dataset, labels=int(row.labels), until=row.until) for row in rows]


def erasures_of(connection: Connection, project: str, name: str) -> int:
    """Return how often something was erased from a dataset."""
    query = select(func.count()).where(erasures.c.project == project, erasures.c.dataset == name)
    return connection.execute(query).scalar_one()


def insert_erasure(connection: Connection, project: str, new: Erasure, *, key: str, leftover: Sequence[str]) -> None:
    """Store what was erased, and the blobs that are still to be dropped."""
    values = {name: getattr(new, name) for name in _ERASURE}
    connection.execute(insert(erasures), values | {"project": project, "key": key, "leftover": list(leftover)})


def leftovers(connection: Connection) -> dict[str, list[str]]:
    """Return the blobs that are still to be dropped, by erasure."""
    rows = connection.execute(select(erasures.c.id, erasures.c.leftover).where(erasures.c.leftover != []))
    return {row.id: list(row.leftover) for row in rows}


def set_leftover(connection: Connection, erasure_id: str, left: Sequence[str]) -> None:
    """Store which blobs of an erasure are still to be dropped."""
    connection.execute(update(erasures).where(erasures.c.id == erasure_id).values(leftover=list(left)))


def all_erasures(connection: Connection, project: str, name: str) -> list[Erasure]:
    """Return what was erased from a dataset, oldest first."""
    here = (erasures.c.project == project) & (erasures.c.dataset == name)
    rows = connection.execute(select(erasures).where(here).order_by(erasures.c.at, erasures.c.id)).mappings()
    return [Erasure(**{entry: row[entry] for entry in _ERASURE}) for row in rows]


def rewrite_fragment(connection: Connection, before: Fragment, after: Fragment | None) -> None:
    """Put what is left of a fragment in its place, or take it away; raises `Stale` if it was rewritten meanwhile."""
    same = (fragments.c.id == before.id) & (fragments.c.blob == before.blob)
    if after is None:
        done = connection.execute(delete(fragments).where(same))
    else:
        names = ("blob", "digest", "rows", "first_key", "last_key", "known_from", "known_through", "profile")
        changes = {name: getattr(after, name) for name in names}
        done = connection.execute(update(fragments).where(same).values(changes))
    if done.rowcount != 1:
        raise Stale("a fragment was rewritten by somebody else just now", hint="try again")


def reduce_snapshot(connection: Connection, project: str, name: str, number: int, *, rows: int, labels: int) -> None:
    """Count off what was erased of a snapshot."""
    here = update(snapshots).where(_of(project, name), snapshots.c.number == number)
    connection.execute(here.values(rows=snapshots.c.rows - rows, labels=snapshots.c.labels - labels))


def is_needed(connection: Connection, blob: str) -> bool:
    """Say whether any fragment still needs a blob."""
    here = (fragments.c.blob == blob) | (fragments.c.profile == blob)
    return connection.execute(select(fragments.c.id).where(here).limit(1)).first() is not None


def fragments_after(connection: Connection, project: str, name: str, number: int) -> list[Fragment]:
    """Return the fragments that were added after a snapshot's number, in order."""
    here = (fragments.c.project == project) & (fragments.c.dataset == name) & (fragments.c.added_in > number)
    rows = connection.execute(select(fragments).where(here).order_by(fragments.c.added_in, fragments.c.id))
    return [_fragment(row) for row in rows.mappings()]


def _named(project: str, name: str) -> Any:  # noqa: ANN401 - SQLAlchemy's boolean clauses have no simple public type
    return (datasets.c.project == project) & (datasets.c.name == name)


def _of(project: str, name: str) -> Any:  # noqa: ANN401 - see _named
    return (snapshots.c.project == project) & (snapshots.c.dataset == name)


def _plain(project: str, name: str, part: Fragment) -> dict[str, Any]:
    return {
        "id": part.id,
        "project": project,
        "dataset": name,
        "added_in": part.added_in,
        "kind": part.kind.value,
        "blob": part.blob,
        "digest": part.digest,
        "rows": part.rows,
        "first_time": part.first_time,
        "last_time": part.last_time,
        "first_key": part.first_key,
        "last_key": part.last_key,
        "known_from": part.known_from,
        "known_through": part.known_through,
        "profile": part.profile,
    }


def _snapshot(row: RowMapping) -> Snapshot:
    return Snapshot(**{name: row[name] for name in _SNAPSHOT})


def _fragment(row: RowMapping) -> Fragment:
    values: dict[str, Any] = {name: row[name] for name in _FRAGMENT}
    values["kind"] = FragmentKind(row["kind"])
    return Fragment(**values)
