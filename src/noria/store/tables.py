"""The one schema that all rooms add their tables to, and the column types they share."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

from noria.core.clock import as_utc
from noria.core.digests import canonical_json

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)

Counter = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number that may grow past two thousand million; SQLite counts up only in its INTEGER."""


_ZONE = len("+00:00")


class UtcTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC; microseconds are kept.

    On SQLite it is the text that SQLAlchemy's own type writes, made and read in a tenth of the time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ANN401 - a function; SQLAlchemy's type for it is its own
        """Return what turns an aware moment into what the database stores."""
        return _to_text if dialect.name == "sqlite" else _to_moment

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:  # noqa: ANN401, ARG002 - see bind_processor
        """Return what gives the stored moment its zone back."""
        return _from_text if dialect.name == "sqlite" else _from_moment


def _to_moment(value: datetime | None) -> datetime | None:
    return None if value is None else as_utc(value)


def _to_text(value: datetime | None) -> str | None:
    return None if value is None else as_utc(value).isoformat(" ", "microseconds")[:-_ZONE]


def _from_moment(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """A plain value in its one canonical spelling."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ANN401, ARG002 - SQLAlchemy's own signature
        """Spell the value."""
        return None if value is None else canonical_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002 - SQLAlchemy's own signature
        """Read the value back."""
        return None if value is None else json.loads(value)


leases = Table(
    "leases",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("token", Counter, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("asked", String(16)),  # what the holder is to do, such as to stop, until it is done
)

retirements = Table(
    "retirements",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
)
