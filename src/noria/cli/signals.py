"""Turns SIGTERM and Ctrl-C into something that a loop can look at."""

import signal
import threading


def on_signals() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set.

    A thread sets it: the main thread, in which handlers run, may be inside the event's own lock just then.
    """
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: threading.Thread(target=told.set).start())
    return told
