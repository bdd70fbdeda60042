"""The SQL by which runs forget: what values they keep, and taking away values and words."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, select, union, update

from noria.runs.model import Artifact, AttemptState
from noria.runs.tables import artifact_of, attempts, cached_results, hits, logs, params, progress, runs

_AT_ONCE = 500
_KEEPING = (runs, attempts, hits, cached_results, params)


def artifacts(connection: Connection, project: str) -> list[Artifact]:
    """Return every value that a project's runs keep, each once."""
    columns = ("codec", "digest", "blob", "inline")
    parts = [
        select(*(table.c[name] for name in columns)).where(table.c.project == project, table.c.codec.is_not(None))
        for table in _KEEPING
    ]
    rows: Sequence[Row[Any]] = connection.execute(union(*parts)).all()
    return [artifact_of(row) for row in rows]


def is_of_others(connection: Connection, project: str, blob: str) -> bool:
    """Say whether runs of another project keep the same bytes."""
    queries = (select(table.c.blob).where(table.c.blob == blob, table.c.project != project) for table in _KEEPING)
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def forget_artifacts(connection: Connection, project: str, digests: Sequence[str]) -> None:
    """Take values out of the cache and away from attempts, runs and params that have them."""
    nothing = dict.fromkeys(("codec", "digest", "blob", "inline"))
    for begin in range(0, len(digests), _AT_ONCE):
        some = digests[begin : begin + _AT_ONCE]
        for table in (cached_results, hits, params):
            connection.execute(delete(table).where(table.c.project == project, table.c.digest.in_(some)))
        theirs = (attempts.c.project == project) & attempts.c.digest.in_(some)
        connection.execute(update(attempts).where(theirs).values(**nothing, state=AttemptState.ERASED.value))
        connection.execute(update(runs).where(runs.c.project == project, runs.c.digest.in_(some)).values(**nothing))


def rewrite_texts(connection: Connection, project: str, word: str, rewritten: Callable[[str], str]) -> None:
    """Rewrite what was logged, told and raised in a project's runs wherever it has a word."""
    for column in (logs.c.text, progress.c.words, params.c.words, attempts.c.error, runs.c.error):
        table = column.table
        assert isinstance(table, Table)
        here = (table.c.project == project) & column.contains(word, autoescape=True)
        for row in connection.execute(select(*table.primary_key.columns, column.label("said")).where(here)).mappings():
            same = [key == row[key.name] for key in table.primary_key.columns]
            connection.execute(update(table).where(*same).values({column: rewritten(row["said"])}))
