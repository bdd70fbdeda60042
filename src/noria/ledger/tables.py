"""Where facts, the tree over them and its checkpoints are kept."""

from sqlalchemy import Column, Index, String, Table, Text, UniqueConstraint

from noria.store.tables import Counter, Json, UtcTime, metadata

facts = Table(
    "facts",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("position", Counter),
    Column("kind", String(64), nullable=False),
    Column("project", String(255), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("payload", Json, nullable=False),
    UniqueConstraint("id"),
    UniqueConstraint("position"),
    Index(None, "project", "subject", "kind"),
    sqlite_autoincrement=True,
)

ledger_heads = Table(
    "ledger_heads",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("size", Counter, nullable=False),
    Column("root", String(64), nullable=False),
)

ledger_nodes = Table(
    "ledger_nodes",
    metadata,
    Column("level", Counter, primary_key=True, autoincrement=False),
    Column("index", Counter, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", Counter, primary_key=True, autoincrement=False),
    Column("root", String(64), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("note", Text, nullable=False),
)
