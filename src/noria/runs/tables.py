"""Where runs, attempts, hits, cached results, params and metrics are kept."""

from typing import Any

from sqlalchemy import Column, Connection, Float, Index, Integer, Row, String, Table, Text, event, text

from noria.runs.model import Artifact
from noria.store.tables import Counter, Json, UtcTime, metadata

_ID, _DIGEST, _NAME = 64, 64, 255

WAITS = "priority IS NOT NULL AND state IN ('queued', 'running')"
"""What is true of a submitted run that has not ended, in the words of an index of those alone."""


def _artifact(*, always: bool) -> list[Column[str]]:
    return [
        Column("codec", String(_ID), nullable=not always),
        Column("digest", String(_DIGEST), nullable=not always),
        Column("blob", String(_DIGEST), nullable=not always),
        Column("inline", Text),
    ]


runs = Table(
    "runs",
    metadata,
    Column("id", String(_ID), primary_key=True),
    Column("project", String(_NAME), nullable=False),
    Column("pipeline", String(_NAME), nullable=False),
    Column("reference", Text, nullable=False),
    Column("key", String(_NAME)),
    Column("arguments", String(_DIGEST), nullable=False),
    Column("code", String(_DIGEST), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(_NAME), nullable=False),
    Column("ended_at", UtcTime),
    *_artifact(always=False),
    Column("error", Text),
    Column("failed_step", Text),
    Column("cpu_seconds", Float, nullable=False),
    Column("charged_cpu_seconds", Float, nullable=False),
    Column("wall_seconds", Float, nullable=False),
    Column("parent", String(_ID)),
    Column("rerun_from", Text),
    Column("started_in", String(_ID)),
    Column("priority", Integer),  # of those that were submitted
    Column("usd", Float),
    Column("bundle", String(_DIGEST)),  # of those that were submitted, unless all their code is installed
    Column("needs", Json),  # what more than a core they need of a worker
    Index(None, "project", "key", unique=True),
    Index(None, "project", "state", "id"),
    Index(None, "project", "pipeline", "id"),
    Index(None, "started_in"),
    Index("ix_runs_waiting", "project", "priority", "id", sqlite_where=text(WAITS)),
)

workers = Table(
    "workers",
    metadata,
    Column("name", String(_NAME), primary_key=True),
    Column("project", String(_NAME), nullable=False),
    Column("executor", String(_ID), nullable=False),
    Column("offers", Json, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run", String(_ID), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("project", String(_NAME), nullable=False),
    Column("step", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("inputs", String(_DIGEST), nullable=False),
    Column("code", String(_DIGEST), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("wall_seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("peak_bytes", Counter),
    Column("usd", Float),
    *_artifact(always=False),
    Column("error", Text),
    Index("uq_attempts_one_result", "run", "step", "inputs", unique=True, sqlite_where=text("state = 'succeeded'")),
)


@event.listens_for(attempts, "before_create")
@event.listens_for(runs, "before_create")
def _where_on_postgresql(table: Table, connection: Connection, **_: object) -> None:
    """Give indexes the same conditions there; said above, it would load that dialect for every home (44 ms)."""
    if connection.dialect.name == "postgresql":
        for index in table.indexes:
            condition = index.dialect_kwargs.get("sqlite_where")
            if condition is not None:
                index.dialect_kwargs["postgresql_where"] = condition


hits = Table(
    "hits",
    metadata,
    Column("run", String(_ID), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("inputs", String(_DIGEST), primary_key=True),
    Column("project", String(_NAME), nullable=False),
    Column("code", String(_DIGEST), nullable=False),
    Column("source_run", String(_ID), nullable=False),
    Column("source_number", Integer, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    *_artifact(always=True),
)

cached_results = Table(
    "cached_results",
    metadata,
    Column("project", String(_NAME), primary_key=True),
    Column("key", String(_DIGEST), primary_key=True),
    Column("run", String(_ID), nullable=False),
    Column("number", Integer, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("made_at", UtcTime),  # none for results that were kept before this was
    *_artifact(always=True),
)

logs = Table(
    "logs",
    metadata,
    Column("run", String(_ID), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("project", String(_NAME), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("text", Text, nullable=False),
)

progress = Table(
    "progress",
    metadata,
    Column("run", String(_ID), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("project", String(_NAME), nullable=False),
    Column("done", Float, nullable=False),
    Column("total", Float),
    Column("words", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
)

params = Table(
    "params",
    metadata,
    Column("run", String(_ID), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("name", String(_NAME), primary_key=True),
    Column("project", String(_NAME), nullable=False),
    Column("words", Text, nullable=False),
    *_artifact(always=True),
)

metrics = Table(
    "metrics",
    metadata,
    Column("run", String(_ID), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("name", String(_NAME), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("project", String(_NAME), nullable=False),
    Column("step", Text, nullable=False),
    Column("value", Float),  # none is NaN, which SQLite cannot store
    Column("at", UtcTime, nullable=False),
)


def artifact_row(artifact: Artifact | None) -> dict[str, str | None]:
    """Return the columns of an artifact, or of none."""
    if artifact is None:
        return {"codec": None, "digest": None, "blob": None, "inline": None}
    return {"codec": artifact.codec, "digest": artifact.digest, "blob": artifact.blob, "inline": artifact.inline}


def artifact_or_none(row: Row[Any]) -> Artifact | None:
    """Return the artifact of a row that may have none."""
    return None if row.codec is None else artifact_of(row)


def artifact_of(row: Row[Any]) -> Artifact:
    """Return the artifact of a row."""
    return Artifact(codec=row.codec, digest=row.digest, blob=row.blob, inline=row.inline)
