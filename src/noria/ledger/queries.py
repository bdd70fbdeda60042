"""All SQL of the ledger."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from noria.ledger.model import Checkpoint, Fact, FactKind
from noria.ledger.tables import checkpoints, facts, ledger_heads, ledger_nodes
from noria.store.statements import insertion

_HEAD = "ledger"
_INSERT_FACT = insertion(facts, "id", "kind", "project", "actor", "subject", "at", "payload")

Node = tuple[tuple[int, int], bytes]


def insert_fact(connection: Connection, fact: Fact) -> None:
    """Put an unsealed fact beside the state it tells of."""
    _INSERT_FACT.write(
        connection,
        {
            "id": fact.id,
            "kind": fact.kind.value,
            "project": fact.project,
            "actor": fact.actor,
            "subject": fact.subject,
            "at": fact.at,
            "payload": dict(fact.payload),
        },
    )


def lock_head(connection: Connection) -> tuple[int, str]:
    """Return the tree's size and root, and keep other sequencers out until the transaction ends."""
    locked = select(ledger_heads).where(ledger_heads.c.name == _HEAD).with_for_update()
    row = connection.execute(locked).one_or_none()
    if row is None:
        with contextlib.suppress(IntegrityError), connection.begin_nested():  # another sequencer may be first
            connection.execute(insert(ledger_heads).values(name=_HEAD, size=0, root=""))
        row = connection.execute(locked).one()
    return row.size, row.root


def head(connection: Connection) -> tuple[int, str]:
    """Return the tree's size and root."""
    row = connection.execute(select(ledger_heads).where(ledger_heads.c.name == _HEAD)).one_or_none()
    return (row.size, row.root) if row else (0, "")


def move_head(connection: Connection, *, size: int, root: str) -> None:
    """Store the tree's new size and root."""
    connection.execute(update(ledger_heads).where(ledger_heads.c.name == _HEAD).values(size=size, root=root))


def unsealed(connection: Connection, *, limit: int) -> list[Fact]:
    """Return facts that have no position yet, oldest first."""
    rows = connection.execute(select(facts).where(facts.c.position.is_(None)).order_by(facts.c.number).limit(limit))
    return [_fact(row) for row in rows]


def count_unsealed(connection: Connection) -> int:
    """Return how many facts have no position yet."""
    return connection.execute(select(func.count()).where(facts.c.position.is_(None))).scalar_one()


def seal(connection: Connection, sealed: Sequence[Fact]) -> None:
    """Write each fact's position."""
    for fact in sealed:
        connection.execute(update(facts).where(facts.c.id == fact.id).values(position=fact.position))


def node(connection: Connection, level: int, index: int) -> bytes:
    """Return the hash of one complete subtree."""
    place = (ledger_nodes.c.level == level) & (ledger_nodes.c.index == index)
    return bytes.fromhex(connection.execute(select(ledger_nodes.c.hash).where(place)).scalar_one())


def insert_nodes(connection: Connection, nodes: Iterable[Node]) -> None:
    """Store complete subtrees."""
    rows = [{"level": level, "index": index, "hash": digest.hex()} for (level, index), digest in nodes]
    connection.execute(insert(ledger_nodes), rows)


def after(connection: Connection, position: int, *, limit: int, project: str | None = None) -> list[Fact]:
    """Return sealed facts that come after a position, in order."""
    query = select(facts).where(facts.c.position > position).order_by(facts.c.position).limit(limit)
    if project is not None:
        query = query.where(facts.c.project == project)
    return [_fact(row) for row in connection.execute(query)]


def about(connection: Connection, project: str, subject: str) -> list[Fact]:
    """Return all facts about one subject, oldest first, sealed or not."""
    query = select(facts).where(facts.c.project == project, facts.c.subject == subject).order_by(facts.c.number)
    return [_fact(row) for row in connection.execute(query)]


def last_time(connection: Connection, project: str, subject: str, kind: FactKind) -> datetime | None:
    """Return when such a fact was told last of a subject."""
    here = (facts.c.project == project, facts.c.subject == subject, facts.c.kind == kind.value)
    return connection.execute(select(func.max(facts.c.at)).where(*here)).scalar_one()


def find(connection: Connection, project: str, fact_id: str) -> Fact | None:
    """Return a fact by its id, if it is there."""
    row = connection.execute(select(facts).where(facts.c.project == project, facts.c.id == fact_id)).one_or_none()
    return None if row is None else _fact(row)


def newest(connection: Connection, project: str) -> Fact | None:
    """Return the fact that was told last, sealed or not."""
    query = select(facts).where(facts.c.project == project).order_by(facts.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _fact(row)


def every(connection: Connection, *, batch: int = 1000) -> Iterator[Fact]:
    """Yield all sealed facts in order."""
    position = -1
    while rows := after(connection, position, limit=batch):
        yield from rows
        position = rows[-1].position if rows[-1].position is not None else position


def insert_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Keep a signed checkpoint."""
    values: dict[str, Any] = {
        "size": checkpoint.size,
        "root": checkpoint.root,
        "at": checkpoint.at,
        "note": checkpoint.note,
    }
    connection.execute(insert(checkpoints), values)


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """Return the newest checkpoint, if there is one."""
    row = connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
    return _checkpoint(row) if row else None


def all_checkpoints(connection: Connection) -> list[Checkpoint]:
    """Return all checkpoints, smallest first."""
    return [_checkpoint(row) for row in connection.execute(select(checkpoints).order_by(checkpoints.c.size))]


def _fact(row: Row[Any]) -> Fact:
    return Fact(
        id=row.id,
        position=row.position,
        kind=FactKind(row.kind),
        project=row.project,
        actor=row.actor,
        subject=row.subject,
        at=row.at,
        payload=row.payload,
    )


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(size=row.size, root=row.root, at=row.at, note=row.note)
