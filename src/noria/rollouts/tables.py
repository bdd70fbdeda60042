"""Where rollouts are kept."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from noria.store.tables import Json, UtcTime, metadata

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("endpoint", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    Column("champion", Integer, nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("state", String(32), nullable=False),
    Column("spec", Json, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("stage_at", UtcTime, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("look_due", UtcTime),
    Column("look", Json, nullable=False),
    Column("shown", Json, nullable=False),
    Column("exposed", Integer, nullable=False),
    Column("passed", Json, nullable=False),
    Column("ended_at", UtcTime),
    Column("words", Text, nullable=False),
    Column("told", Json, nullable=False),
    Index(None, "project", "model", "state"),
    Index(None, "project", "began_at"),
)
