"""The cores, GPUs and memory of one machine, shared out to the tries that need them."""

import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from noria.pipelines.model import Needs
from noria.runs.executors import Offers, closed

_is_inside: ContextVar[bool] = ContextVar("noria_slots", default=False)
"""Whether this thread is inside a try that holds slots: what it starts itself runs on those, else it might wait for ever."""


class Slots:
    """What a machine offers, taken by one try after another in the order in which they asked.

    A try with large needs is not overtaken by small ones for ever: whoever comes later waits behind it.
    """

    def __init__(self, offers: Offers) -> None:
        self._free = (offers.cpus, offers.gpus, float(offers.memory_bytes))
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    @contextmanager
    def taken(self, needs: Needs) -> Generator[None]:
        """Wait until a try's needs, which must be on offer, are free; they are its own inside the `with`.

        Raises:
            Unavailable: the executor was closed.

        """
        if _is_inside.get():
            yield
            return
        wanted = (needs.cpus, needs.gpus, float(needs.memory_bytes or 0))
        self._take(wanted)
        token = _is_inside.set(True)
        try:
            yield
        finally:
            _is_inside.reset(token)
            self._give_back(wanted)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _take(self, wanted: tuple[float, ...]) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._is_closed or self._is_turn(ticket, wanted))
                if self._is_closed:
                    raise closed()
                self._change(wanted, -1)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _is_turn(self, ticket: object, wanted: tuple[float, ...]) -> bool:
        return self._waiting[0] is ticket and all(want <= free for want, free in zip(wanted, self._free, strict=True))

    def _give_back(self, wanted: tuple[float, ...]) -> None:
        with self._changed:
            self._change(wanted, 1)
            self._changed.notify_all()

    def _change(self, amounts: tuple[float, ...], sign: int) -> None:
        """Add or take away, to the millionth, so that tenths add up."""
        self._free = tuple(round(free + sign * amount, 6) for free, amount in zip(self._free, amounts, strict=True))
