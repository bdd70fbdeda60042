"""Verbs of the monitors: raise a signal, list signals."""

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.ids import Ids
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.monitors import queries
from noria.monitors.model import RaisedSignal, Signal
from noria.store.database import Connection, Database


class Monitors:
    """Keeps signals; each is a fact, so that it can start a cycle."""

    def __init__(self, database: Database, *, ledger: Ledger, access: Access, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids

    def raise_in(self, connection: Connection, context: Context, signal: Signal) -> RaisedSignal:
        """Raise a signal in the caller's transaction."""
        self._access.require(context, Permission.LOOP_WRITE)
        raised = RaisedSignal(id=self._ids.new("signal"), signal=signal, raised_at=self._clock.now())
        queries.insert_signal(connection, context.project, raised)
        told = {
            "signal": raised.id,
            "kind": signal.kind,
            "value": signal.value,
            "threshold": signal.threshold,
            "words": signal.words,
        }
        self._ledger.record(connection, context, FactKind.SIGNAL_RAISED, subject=signal.subject, payload=told)
        return raised

    def signals(self, context: Context, subject: str) -> list[RaisedSignal]:
        """Return the signals about a loop, oldest first."""
        self._access.require(context, Permission.LOOP_READ)
        return self._database.read(lambda connection: queries.all_signals(connection, context.project, subject))
