"""Lets a process end when the one that supervises it does, however that one ended."""

import os
import signal
import threading

_GRACE_SECONDS = 10.0
_STANDARD_INPUT = 0


def end_with_parent() -> None:
    """End this process in order once its standard input ends: the parent holds the other end, alive or not at all."""
    threading.Thread(target=_watch, name="noria-parent", daemon=True).start()


def _watch() -> None:
    while os.read(_STANDARD_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    os._exit(1)
