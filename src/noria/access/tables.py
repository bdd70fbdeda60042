"""Where grants are kept."""

from sqlalchemy import Column, String, Table

from noria.store.tables import UtcTime, metadata

grants = Table(
    "grants",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("actor", String(255), primary_key=True),
    Column("role", String(32), nullable=False),
    Column("granted_by", String(255), nullable=False),
    Column("granted_at", UtcTime, nullable=False),
)
