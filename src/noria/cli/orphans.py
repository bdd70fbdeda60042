"""Lets a process end when the one that supervises it does, however that one ended."""

import os
import signal
import threading
from collections.abc import Callable

_GRACE_SECONDS = 10.0
_STANDARD_INPUT = 0


def end_with_parent(is_over: Callable[[], object] | None = None) -> None:
    """End this process in order, else by force, once `is_over` returns: by default, when its standard input ends.

    The parent holds the other end of that, alive or not at all.
    """
    watched = is_over or _read_on
    threading.Thread(target=lambda: (watched(), _end()), name="noria-parent", daemon=True).start()


def _read_on() -> None:
    while os.read(_STANDARD_INPUT, 1):
        pass


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    if os.getpgrp() == os.getpid():  # a group of its own: with all that it has started
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
