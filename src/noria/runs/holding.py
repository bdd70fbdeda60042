"""Which runs this process executes: taken by lease, kept by a heartbeat, and by one thread each."""

import contextlib
import threading

from noria.core.errors import LeaseLost, Unavailable
from noria.runs.model import Asked
from noria.store import leases
from noria.store.database import Connection, Database, Durability
from noria.store.leases import Lease

_BEATS_A_LEASE = 3
_busy: set[tuple[str, str]] = set()
_busy_lock = threading.Lock()
"""The work that some thread of this process does under a holder's name: a lease tells processes apart, this threads."""


class Stopped(Exception):
    """Ends a run where it is, because somebody asked for it to be cancelled or paused."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.value)
        self.asked = asked


class Holder:
    """Takes runs for this process and keeps their leases while they are executed."""

    def __init__(self, database: Database, *, name: str, seconds: float) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self._held: dict[str, Lease] = {}
        self._asked: dict[str, Asked] = {}
        self._around: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def claim(self, run: str) -> bool:
        """Keep other threads of this process away from a run; False when one of them executes it."""
        with _busy_lock:
            if (self._name, run) in _busy:
                return False
            _busy.add((self._name, run))
            return True

    def unclaim(self, run: str) -> None:
        """Let other threads have the run."""
        with _busy_lock:
            _busy.discard((self._name, run))

    def acquire(self, connection: Connection, run: str) -> Lease | None:
        """Take the lease of a claimed run in the caller's transaction; None while another process holds it."""
        now = self._database.lease_time(connection)
        return leases.acquire(connection, now, name=_lease_of(run), holder=self._name, seconds=self._seconds)

    def keep(self, run: str, lease: Lease, *, started_in: str | None = None) -> None:
        """Renew the lease from now on, until `let_go`; what is asked of the run it was started in is asked of it, too."""
        with self._lock:
            self._held[run] = lease
            self._around[run] = started_in
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="noria-run-heartbeat", daemon=True)
                self._thread.start()

    def has_lost(self, run: str) -> bool:
        """Say whether the heartbeat found that a kept lease is somebody else's now."""
        return run not in self._held

    def check(self, connection: Connection, lease: Lease, *, run: str) -> None:
        """Raise `LeaseLost` unless the lease is held; called in every transaction that commits something of a run."""
        self.hear(run, leases.check(connection, lease, self._database.lease_time(connection)))

    def hear(self, run: str, asked: str | None) -> None:
        """Take in what somebody asked of the run, as its lease says."""
        if asked is not None:
            self._asked[run] = Asked(asked)

    def ask(self, connection: Connection, run: str, asked: Asked) -> None:
        """Ask whoever executes the run, here or in another process, to stop it before its next step."""
        leases.ask(connection, _lease_of(run), asked=asked.value)
        if run in self._held:
            self._asked[run] = asked

    def stop_if_asked(self, run: str) -> None:
        """Raise `Stopped` when somebody has asked for it, or for a run around it that this process holds."""
        around: str | None = run
        while around is not None:
            asked = self._asked.get(around)
            if asked is not None:
                raise Stopped(asked)
            around = self._around.get(around)

    def let_go(self, run: str) -> None:
        """Stop renewing."""
        with self._lock:
            self._held.pop(run, None)
            self._around.pop(run, None)
            self._asked.pop(run, None)

    def release(self, lease: Lease) -> None:
        """Let the next one have the run at once; a lost lease is left alone, and one that cannot be told runs out."""
        with contextlib.suppress(Unavailable):
            self._database.write(lambda connection: self.release_in(connection, lease), durability=Durability.STEP)

    @staticmethod
    def release_in(connection: Connection, lease: Lease) -> None:
        """Let the next one have the run, in the transaction that ends it."""
        leases.release(connection, lease)

    def _beat(self) -> None:
        while True:
            self._wake.wait(self._seconds / _BEATS_A_LEASE)
            with self._lock:
                held = dict(self._held)
                if not held:
                    self._thread = None
                    return
            for run, lease in held.items():
                self._renew(run, lease)

    def _heard(self, run: str, connection: Connection, lease: Lease) -> Lease:
        self.check(connection, lease, run=run)
        return leases.renew(connection, lease, self._database.lease_time(connection), seconds=self._seconds)

    def _renew(self, run: str, lease: Lease) -> None:
        try:
            self._database.write(lambda connection: self._heard(run, connection, lease), durability=Durability.STEP)
        except LeaseLost:
            with self._lock:
                if self._held.get(run) is lease:
                    del self._held[run]
        except Unavailable:
            return  # the next beat tries again; every commit checks the lease anyway


def _lease_of(run: str) -> str:
    return f"run/{run}"
