"""Where schemas and quarantined rows are kept."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from noria.store.tables import Json, UtcTime, metadata

schemas = Table(
    "schemas",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("dataset", String(255), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", String(32), nullable=False),
    Column("columns", Json, nullable=False),
    Column("proposed_by", String(255), nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
    Column("approved_by", String(255)),
    Column("approved_at", UtcTime),
)

quarantined = Table(
    "quarantined",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("dataset", String(255), primary_key=True),
    Column("held_in", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("key", String(1024), nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("through", Integer, nullable=False),
    Column("source", String(255), nullable=False),
    Column("guard", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("cycle", String(255), nullable=False),
    Column("state", String(32), nullable=False),
    Column("ended_in", Integer),
    Column("by", String(255), nullable=False),
    Column("at", UtcTime, nullable=False),
    Index(None, "project", "dataset", "state"),
)
