"""All SQL of the monitors."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select, tuple_

from noria.monitors.model import RaisedSignal, Signal, SignalsWanted
from noria.monitors.tables import signals


def insert_signal(connection: Connection, project: str, raised: RaisedSignal) -> None:
    """Store a signal."""
    signal = raised.signal
    connection.execute(
        insert(signals),
        {
            "id": raised.id,
            "project": project,
            "subject": signal.subject,
            "kind": signal.kind,
            "value": signal.value,
            "threshold": signal.threshold,
            "words": signal.words,
            "raised_at": raised.raised_at,
        },
    )


def all_signals(connection: Connection, project: str, subject: str) -> list[RaisedSignal]:
    """Return the signals about a subject, oldest first."""
    here = (signals.c.project == project) & (signals.c.subject == subject)
    rows = connection.execute(select(signals).where(here).order_by(signals.c.raised_at, signals.c.id))
    return [_raised(row) for row in rows]


def find_signal(connection: Connection, project: str, signal_id: str) -> RaisedSignal | None:
    """Return a signal, if it is there."""
    here = select(signals).where(signals.c.project == project, signals.c.id == signal_id)
    row = connection.execute(here).one_or_none()
    return None if row is None else _raised(row)


def page_of_signals(
    connection: Connection, project: str, wanted: SignalsWanted, *, after: RaisedSignal | None
) -> list[RaisedSignal]:
    """Return the signals that are wanted and older than `after`, newest first."""
    query = select(signals).where(signals.c.project == project)
    if wanted.subject is not None:
        query = query.where(signals.c.subject == wanted.subject)
    order = (signals.c.raised_at, signals.c.id)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(after.raised_at, after.id))
    rows = connection.execute(query.order_by(*(column.desc() for column in order)).limit(wanted.limit))
    return [_raised(row) for row in rows]


def _raised(row: Row[Any]) -> RaisedSignal:
    signal = Signal(subject=row.subject, kind=row.kind, value=row.value, threshold=row.threshold, words=row.words)
    return RaisedSignal(id=row.id, raised_at=row.raised_at, signal=signal)
