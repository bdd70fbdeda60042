"""Brings a loop what its endpoints have met: their logs land in its dataset, and the facts of that start what they start."""

import logging
from datetime import datetime, timedelta

from noria.core.context import Context
from noria.core.errors import NoriaError
from noria.loop.spec import Loop
from noria.loop.turn import Rooms
from noria.serving.model import Endpoint

_EVERY = timedelta(seconds=5)
_TIDY_EVERY = timedelta(minutes=10)
_log = logging.getLogger("noria.worker")


class Collector:
    """Lands the logs of loops' endpoints every few seconds by the platform's clock, and tidies them now and then."""

    def __init__(self, rooms: Rooms, context: Context) -> None:
        self._rooms = rooms
        self._context = context
        self._looked_at: dict[str, datetime] = {}
        self._tidied_at: dict[str, datetime] = {}

    def collect(self, loop: Loop) -> bool:
        """Land what has come at the loop's endpoints, and say whether anything has.

        What cannot be landed now is tried again later; the loop goes on with the data that it has.
        """
        now = self._rooms.clock.now()
        looked_at = self._looked_at.get(loop.name)
        if looked_at is not None and abs(now - looked_at) < _EVERY:  # a clock may be set back
            return False
        self._looked_at[loop.name] = now
        found = False
        for endpoint in self._rooms.endpoints.of_model(self._context, loop.model):
            if endpoint.dataset != loop.dataset.name:
                continue
            try:
                landed = self._rooms.landings.land(self._context, endpoint)
                self._tidy(endpoint, now)
            except NoriaError as problem:
                _log.warning("the log of endpoint %s did not land: %s", endpoint.name, problem.sentence)
                continue
            found |= bool(landed.rows or landed.labels)
        return found

    def _tidy(self, endpoint: Endpoint, now: datetime) -> None:
        """Compact what has landed, now and then."""
        tidied_at = self._tidied_at.setdefault(endpoint.name, now)
        if abs(now - tidied_at) >= _TIDY_EVERY:
            self._tidied_at[endpoint.name] = now
            self._rooms.landings.tidy(self._context, endpoint)
