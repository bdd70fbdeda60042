"""Where signals are kept."""

from sqlalchemy import Column, Float, Index, String, Table, Text

from noria.store.tables import UtcTime, metadata

signals = Table(
    "signals",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("value", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("words", Text, nullable=False),
    Column("raised_at", UtcTime, nullable=False),
    Index(None, "project", "subject", "raised_at"),
)
