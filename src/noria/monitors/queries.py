"""All SQL of the monitors."""

from sqlalchemy import Connection, insert, select

from noria.monitors.model import RaisedSignal, Signal
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
    return [
        RaisedSignal(
            id=row.id,
            raised_at=row.raised_at,
            signal=Signal(
                subject=row.subject,
                kind=row.kind,
                value=row.value,
                threshold=row.threshold,
                words=row.words,
            ),
        )
        for row in rows
    ]
