"""Waits for something to change, without working meanwhile: one cheap question to the database, again and again."""

import threading

from noria.store.database import Database

_ASK_EVERY_SECONDS = 0.05


def wait_for_change(database: Database, mark: int, *, told: threading.Event, seconds: float) -> None:
    """Return once anybody has committed since `mark` was read, once `told` is set, or after so many seconds."""
    for _ in range(max(1, round(seconds / _ASK_EVERY_SECONDS))):
        if told.wait(_ASK_EVERY_SECONDS) or database.change_mark() != mark:
            return
