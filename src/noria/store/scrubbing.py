"""Takes what was deleted out of the bytes of the metadata database, too."""

from noria.store.database import Database


def scrub(database: Database) -> bool:
    """Rewrite a SQLite file without what was deleted, and empty its write-ahead log; say whether both was done.

    SQLite leaves deleted rows in its file until something else needs the place. A reader that does not end within the
    busy time keeps the log as it is. PostgreSQL is a server of its own: what `VACUUM`, its write-ahead log and its
    backups still hold is in the hands of whoever runs it, and so is False.
    """
    if database.engine.dialect.name != "sqlite":
        return False
    with database.engine.connect() as connection:
        connection.exec_driver_sql("VACUUM")
        busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not busy
