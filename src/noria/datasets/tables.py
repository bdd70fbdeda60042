"""Where datasets, snapshots and fragments are kept."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from noria.store.tables import Json, UtcTime, metadata

datasets = Table(
    "datasets",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("key", String(255), nullable=False),
    Column("time", String(255), nullable=False),
    Column("label", String(255)),
    Column("columns", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("dataset", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent", String(64)),
    Column("digest", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("labels", Integer, nullable=False),
    Column("source", String(255), nullable=False),
    Column("arrived_at", UtcTime, nullable=False),
    Column("committed_at", UtcTime, nullable=False),
    Column("committed_by", String(255), nullable=False),
    Column("key", String(255)),
    Index(None, "project", "dataset", "number", unique=True),
    Index(None, "project", "dataset", "key", unique=True),
)

fragments = Table(
    "fragments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("dataset", String(255), nullable=False),
    Column("added_in", Integer, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("blob", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("first_time", UtcTime, nullable=False),
    Column("last_time", UtcTime, nullable=False),
    Column("first_key", String(1024), nullable=False),
    Column("last_key", String(1024), nullable=False),
    Column("known_from", UtcTime),
    Column("known_through", UtcTime),
    Column("profile", String(64)),
    Index(None, "project", "dataset", "added_in"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("dataset", String(255), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("labels", Integer, nullable=False),
    Column("snapshots", Integer, nullable=False),
    Column("commitment", String(64), nullable=False),
    Column("key", String(64)),
    Column("leftover", Json, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(255), nullable=False),
    Column("at", UtcTime, nullable=False),
    Index(None, "project", "dataset"),
)
