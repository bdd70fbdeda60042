"""Syncs what stands on the disk."""

import os
from pathlib import Path


def sync(place: Path) -> None:
    """Sync a file, or the names in a folder; raises as the system does."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
