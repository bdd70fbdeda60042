"""Where versions, aliases, their moves and environments are kept."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

from noria.store.tables import Json, UtcTime, metadata

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("codec", String(64), nullable=False),
    Column("blob", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("run", String(64), nullable=False),
    Column("snapshot", String(64), nullable=False),
    Column("trained_through", UtcTime, nullable=False),
    Column("code", String(64), nullable=False),
    Column("environment", String(64), nullable=False),
    Column("parent", Integer),
    Column("params", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("bundle", String(64)),
    Index(None, "project", "model", "number", unique=True),
    Index(None, "project", "run", unique=True),
)

aliases = Table(
    "aliases",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("version", Integer),
    Column("epoch", Integer, nullable=False),
)

alias_moves = Table(
    "alias_moves",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("before", Integer),
    Column("to", Integer),
    Column("at", UtcTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_rollback", Boolean, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", Json, nullable=False),
)
