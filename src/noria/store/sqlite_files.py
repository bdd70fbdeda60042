"""Connections to an SQLite file, by its path and never by an address that its name could break."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from noria.core.errors import ReadOnly

_PRAGMAS = ("journal_mode=WAL", "foreign_keys=ON", "cache_size=-32000", "wal_autocheckpoint=4000")


def is_read_only(path: Path) -> bool:
    """Say whether the file is there, and this process may not write it, or not beside it as its log must be."""
    return path.exists() and not (may(path, os.W_OK) and may(path.parent, os.W_OK))


def may(path: Path, mode: int) -> bool:
    """Say whether this process has a right (`os.R_OK`, `os.W_OK`) to a file, as the user that it acts as."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def connector(path: Path, *, read_only: bool, busy_seconds: float) -> Callable[[], sqlite3.Connection]:
    """Return what opens connections to the file, whatever characters are in its path."""
    return lambda: _connected(path, read_only=read_only, busy_seconds=busy_seconds)


def _connected(path: Path, *, read_only: bool, busy_seconds: float) -> sqlite3.Connection:
    place = _address_for_reading(path) if read_only else str(path)
    connection = sqlite3.connect(
        place, timeout=busy_seconds, isolation_level=None, check_same_thread=False, uri=read_only
    )
    for pragma in _PRAGMAS[1 if read_only else 0 :]:
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


def _address_for_reading(path: Path) -> str:
    """Return the address under which SQLite reads a file that it may not write.

    Where a write-ahead log stands beside the file, somebody has it open or has died: both are read. Where there is none
    all is in the file, and SQLite is told that it does not change, for it could make no shared memory to see changes by.

    Raises:
        ReadOnly: the log of a killed process is there, and what it takes to read it cannot be made.

    """
    log = path.with_name(path.name + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        return f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    if not path.with_name(path.name + "-shm").exists():
        raise ReadOnly(
            f"{path} was left by a process that was killed, and this user may not write there to put it in order",
            hint="let somebody open it once who may write, or copy the whole folder to where you may",
        )
    return f"{path.absolute().as_uri()}?mode=ro"
