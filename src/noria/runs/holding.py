"""Which runs this process executes: taken by lease, kept by a heartbeat, and by one thread each."""

import contextlib
import logging
import threading
from collections.abc import Collection
from datetime import datetime

from noria.core.errors import LeaseLost, Unavailable
from noria.runs.model import Asked
from noria.runs.stopping import Stop
from noria.store import leases
from noria.store.database import Connection, Database, Durability
from noria.store.leases import Lease

QUEUE = "queue"
"""The topic on which workers hear that a run waits for one of them."""
ASKED = "asked"
"""The topic on which holders hear that something was asked of a run."""
_BEATS_A_LEASE = 3
_SHORT_SECONDS = 0.5
"""Most runs have ended by then; from then on their holder listens."""
_log = logging.getLogger("noria.runs")
_busy: set[tuple[str, str]] = set()
_busy_lock = threading.Lock()
"""The work that some thread of this process does under a holder's name: a lease tells processes apart, this threads."""


class Holder:
    """Takes runs for this process and keeps their leases while they are executed."""

    def __init__(self, database: Database, *, name: str, seconds: float) -> None:
        self._database = database
        self.name = name
        self._seconds = seconds
        self._held: dict[str, Lease] = {}
        self._stops: dict[str, Stop] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pause = threading.Event()

    def claim(self, run: str) -> bool:
        """Keep other threads of this process away from a run; False when one of them executes it."""
        with _busy_lock:
            if (self.name, run) in _busy:
                return False
            _busy.add((self.name, run))
            return True

    def unclaim(self, run: str) -> None:
        """Let other threads have the run."""
        with _busy_lock:
            _busy.discard((self.name, run))

    def acquire(self, connection: Connection, run: str) -> Lease | None:
        """Take the lease of a claimed run in the caller's transaction; None while another process holds it."""
        now = self._database.lease_time(connection)
        return leases.acquire(connection, now, name=_lease_of(run), holder=self.name, seconds=self._seconds)

    def acquire_new(self, connection: Connection, run: str) -> Lease:
        """Take the lease of a run that the caller's transaction makes."""
        now = self._database.lease_time(connection)
        return leases.acquire_new(connection, now, name=_lease_of(run), holder=self.name, seconds=self._seconds)

    @staticmethod
    def offer(connection: Connection, run: str) -> None:
        """Let whoever is first take the run that the caller's transaction makes."""
        leases.offer(connection, _lease_of(run))

    def keep(self, run: str, lease: Lease, *, started_in: str | None = None) -> Stop:
        """Renew the lease from now on, until `let_go`, and return what hears what is asked of the run.

        What is asked of the run that it was started in is asked of it, too, where this process holds both.
        """
        with self._lock:
            self._held[run] = lease
            stop = self._stops[run] = Stop(self._stops.get(started_in or ""))
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="noria-run-heartbeat", daemon=True)
                self._thread.start()
        return stop

    def has_lost(self, run: str) -> bool:
        """Say whether the heartbeat found that a kept lease is somebody else's now."""
        return run not in self._held

    def check(self, connection: Connection, lease: Lease, *, run: str) -> None:
        """Raise `LeaseLost` unless the lease is held; called in every transaction that commits something of a run."""
        self.hear(run, leases.check(connection, lease, self._database.lease_time(connection)))

    def hear(self, run: str, asked: str | None) -> None:
        """Take in what somebody asked of the run, as its lease says."""
        stop = None if asked is None else self._stops.get(run)
        if stop is not None:
            stop.ask(Asked(asked))

    def ask(self, connection: Connection, run: str, asked: Asked) -> None:
        """Ask whoever executes the run, here or in another process, to stop it."""
        leases.ask(connection, _lease_of(run), word=asked.value, keep=Asked.CANCEL.value)
        self.hear(run, asked.value)

    def leave_all(self) -> tuple[str, ...]:
        """Give back every run that is executed here, at once, and return which those are: nothing more is committed."""
        with self._lock:
            held = dict(self._held)
        for run, lease in held.items():
            self.release(lease)
            self.hear(run, Asked.LEAVE.value)
        return tuple(held)

    def let_go(self, run: str) -> None:
        """Stop renewing."""
        with self._lock:
            self._held.pop(run, None)
            self._stops.pop(run, None)

    def release(self, lease: Lease) -> None:
        """Let the next one have the run at once; a lost lease is left alone, and one that cannot be told runs out."""
        with contextlib.suppress(Unavailable):
            self._database.write(lambda connection: self.release_in(connection, lease), durability=Durability.STEP)

    @staticmethod
    def release_in(connection: Connection, lease: Lease) -> None:
        """Let the next one have the run, in the transaction that ends it."""
        leases.release(connection, lease)

    def _beat(self) -> None:
        """Renew what is held, now and then, and at once when something was asked of a run: it is heard with that."""
        every_seconds = self._seconds / _BEATS_A_LEASE
        self._pause.wait(min(_SHORT_SECONDS, every_seconds))
        while self._still_held():
            try:
                with self._database.listen(ASKED) as ear:
                    while held := self._still_held():
                        for run, lease in held.items():
                            self._renew(run, lease)
                        ear.wait(every_seconds)
            except Exception:  # noqa: BLE001 - a full disk, too many open files: whatever it is, leases are renewed
                _log.exception("the leases of running runs could not be renewed, and are tried again")
                self._pause.wait(min(_SHORT_SECONDS, every_seconds))

    def _still_held(self) -> dict[str, Lease]:
        """Return what is held; this thread ends when that is nothing."""
        with self._lock:
            if not self._held:
                self._thread = None
            return dict(self._held)

    def _renewed(self, connection: Connection, lease: Lease) -> str | None:
        """Renew a lease, and return what was asked of its holder."""
        now = self._database.lease_time(connection)
        leases.renew(connection, lease, now, seconds=self._seconds)
        return leases.check(connection, lease, now)

    def _renew(self, run: str, lease: Lease) -> None:
        try:
            asked = self._database.write(lambda c: self._renewed(c, lease), durability=Durability.STEP)
            self.hear(run, asked)  # after the transaction: what is cut short now may take its time
        except LeaseLost:
            with self._lock:
                if self._held.get(run) is lease:
                    del self._held[run]
        except Unavailable:
            return  # the next beat tries again; every commit checks the lease anyway


def held(connection: Connection, now: datetime, runs: Collection[str]) -> frozenset[str]:
    """Return which of these runs somebody executes now."""
    names = {_lease_of(run): run for run in runs}
    return frozenset(names[name] for name in leases.held(connection, now, names))


def _lease_of(run: str) -> str:
    return f"run/{run}"
