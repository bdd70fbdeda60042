"""Turns SIGTERM and Ctrl-C into something that a loop can look at, or into giving back what is executed."""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import chain, repeat

from noria.core.errors import LeaseLost

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
BY_A_SIGNAL = 128


def on_signals(*later: threading.Event) -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set; the second of them sets the next event, if one is given.

    A thread sets it: the main thread, in which handlers run, may be inside the event's own lock just then.
    """
    told = threading.Event()
    events = chain((told, *later), repeat(later[-1] if later else told))
    for number in _SIGNALS:
        signal.signal(number, lambda _number, _frame: threading.Thread(target=next(events).set).start())
    return told


@contextmanager
def leaving_on_signals(leave: Callable[[], object]) -> Generator[None]:
    """Let SIGTERM and Ctrl-C give back what is executed here and raise `KeyboardInterrupt`; a second one ends at once.

    A thread gives it back: the main thread may be anywhere, also inside a transaction.
    """
    leaving = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if leaving.is_set():
            os._exit(BY_A_SIGNAL + number)
        leaving.set()
        threading.Thread(target=leave, name="noria-leave", daemon=True).start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    except LeaseLost:  # a step that was under way came too late to be committed
        if leaving.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
