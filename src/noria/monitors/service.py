"""Verbs of the monitors: measure drift, raise a signal, list signals."""

from collections.abc import Sequence

from noria.access.model import Permission
from noria.access.service import Access
from noria.core.clock import Clock
from noria.core.context import Context
from noria.core.errors import NotFound
from noria.core.ids import Ids
from noria.datasets.model import Rows
from noria.ledger.model import FactKind
from noria.ledger.service import Ledger
from noria.monitors import queries, rules
from noria.monitors.model import Drift, RaisedSignal, Signal, SignalsWanted
from noria.store.database import Connection, Database

_KEPT = 32


class Monitors:
    """Keeps signals; each is a fact, so that it can start a cycle."""

    def __init__(self, database: Database, *, ledger: Ledger, access: Access, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._ledger = ledger
        self._access = access
        self._clock = clock
        self._ids = ids
        self._references: dict[tuple[str, str, tuple[str, ...]], rules.Reference] = {}

    def drift(self, reference: Rows, current: Rows, *, columns: Sequence[str], measure: str = "psi") -> Drift | None:
        """Return how far the current rows have drifted from the reference, of which is kept what the measure needs."""
        place = (reference.digest, measure, tuple(columns))
        if place not in self._references:
            while len(self._references) >= _KEPT:
                self._references.pop(next(iter(self._references)))
            self._references[place] = rules.reference_of(reference.load(), columns=columns, measure=measure)
        return rules.drift(self._references[place], current.load())

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

    def page(self, context: Context, wanted: SignalsWanted, *, after: str | None = None) -> list[RaisedSignal]:
        """Return signals newest first, those that come after the signal `after` in that order; raises `NotFound`."""
        self._access.require(context, Permission.LOOP_READ)

        def query(connection: Connection) -> list[RaisedSignal]:
            last = None if after is None else queries.find_signal(connection, context.project, after)
            if after is not None and last is None:
                raise NotFound("signal", after)
            return queries.page_of_signals(connection, context.project, wanted, after=last)

        return self._database.read(query)
