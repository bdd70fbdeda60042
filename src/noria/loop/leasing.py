"""Which loops a worker turns: it holds a lease on each, and keeps it while it lives."""

import contextlib
import logging
import threading

from noria.core.errors import LeaseLost, Unavailable
from noria.store import leases
from noria.store.database import Connection, Database, Durability
from noria.store.holders import this_process
from noria.store.leases import Lease

_LEASE_SECONDS = 30.0
_log = logging.getLogger("noria.loop")


def name_of(project: str, loop: str) -> str:
    """Return the name of a loop's lease."""
    return f"loop/{project}/{loop}"


class LoopLeases:
    """The leases of one worker; a thread renews them until it is closed."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project
        self._holder = this_process()
        self._held: dict[str, Lease] = {}
        self._closing = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="noria-lease-heartbeat", daemon=True)
        self._heart.start()

    def close(self) -> None:
        """Let go of all loops; calling it twice is fine."""
        self._closing.set()
        self._heart.join()
        held, self._held = self._held, {}
        for lease in held.values():
            self._database.write(lambda connection, lease=lease: leases.release(connection, lease))

    def get(self, loop: str) -> Lease | None:
        """Return the loop's lease if it is ours."""
        return self._held.get(loop)

    def take(self, loop: str) -> Lease | None:
        """Return the loop's lease, taken now if it is free; None while another worker turns the loop."""
        held = self._held.get(loop)
        if held is not None:
            return held
        name, database = name_of(self._project, loop), self._database
        if database.read(lambda c: leases.is_held(c, database.lease_time(c), name=name, holder=self._holder)):
            return None

        def work(connection: Connection) -> Lease | None:
            now = database.lease_time(connection)
            return leases.acquire(connection, now, name=name, holder=self._holder, seconds=_LEASE_SECONDS)

        taken = database.write(work, durability=Durability.STEP)
        if taken is not None:
            self._held[loop] = taken
        return taken

    def forget(self, *loops: str) -> None:
        """Hold these loops for sure no more, or none at all: what is still ours is taken again."""
        for loop in loops or list(self._held):
            self._held.pop(loop, None)

    def _beat(self) -> None:
        """Keep the leases while the worker lives."""
        while not self._closing.wait(_LEASE_SECONDS / 3):
            for name, lease in list(self._held.items()):
                try:
                    with contextlib.suppress(Unavailable):  # the next beat asks the database again
                        self._held[name] = self._renew(lease)
                except LeaseLost:
                    self._held.pop(name, None)
                except Exception:  # noqa: BLE001 - a full disk, a bug: whatever it is, the next beat tries again
                    _log.exception("the lease of %s could not be renewed, and is tried again", name)

    def _renew(self, lease: Lease) -> Lease:
        def work(connection: Connection) -> Lease:
            now = self._database.lease_time(connection)
            return leases.renew(connection, lease, now, seconds=_LEASE_SECONDS)

        return self._database.write(work, durability=Durability.STEP)
