"""Writes a new revision of the schema from what the tables say now: `python tools/revise.py NUMBER "what changed"`.

Then set `NEWEST` in `src/noria/store/migrating.py` to the number. A test holds revisions against tables.
"""

import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

from alembic import command

import noria
from noria.store import migrating
from noria.store.opening import open_database
from noria.store.tables import metadata


def main() -> None:
    number, message = sys.argv[1:]
    for module in pkgutil.walk_packages(noria.__path__, "noria."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'noria.db'}")

        def write(connection):
            migrating.apply(connection)
            configuration = migrating.configuration(connection, metadata=metadata)
            command.revision(configuration, message=message, rev_id=number, autogenerate=True)

        database.write(write)
        database.close()


main()
