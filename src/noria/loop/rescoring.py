"""Has a sample of a loop's live answers scored again, now and then, and raises a signal when they are not the model's."""

from datetime import datetime, timedelta

from noria.core.context import Context
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.monitors.model import Signal
from noria.serving import golden, rescoring
from noria.serving.model import Endpoint
from noria.store import leases
from noria.store.database import Connection
from noria.store.leases import Lease

_EVERY = timedelta(minutes=1)


class Watcher:
    """Looks at the endpoints of loops every minute by the platform's clock."""

    def __init__(self, rooms: Rooms, context: Context) -> None:
        self._rooms = rooms
        self._context = context
        self._looked_at: dict[str, datetime] = {}

    def look(self, loop: Loop, lease: Lease) -> bool:
        """Compare what was answered since the last look with the models; say whether a signal was raised."""
        now = self._rooms.clock.now()
        looked_at = self._looked_at.get(loop.name)
        if looked_at is not None and timedelta() <= now - looked_at < _EVERY:
            return False
        self._looked_at[loop.name] = now
        endpoints = self._rooms.endpoints.of_model(self._context, loop.model)
        raised = [self._look_at(loop, endpoint, lease) for endpoint in endpoints]
        return any(raised)

    def _look_at(self, loop: Loop, endpoint: Endpoint, lease: Lease) -> bool:
        found = self._rooms.rescorer.look(self._context, endpoint)
        if found is None:
            return False

        def work(connection: Connection) -> None:
            leases.check(connection, lease, self._rooms.database.lease_time(connection))
            self._rooms.rescorer.keep_in(connection, self._context, found)
            if found.is_new:
                signal = Signal(
                    subject=loop.name,
                    kind=rescoring.KIND,
                    value=found.worst,
                    threshold=golden.ROUNDED,
                    words=found.after.words,
                )
                self._rooms.monitors.raise_in(connection, self._context, signal)

        self._rooms.database.write(work)
        return found.is_new
