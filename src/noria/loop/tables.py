"""Where loops and their cycles are kept."""

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from noria.store.tables import Counter, Json, UtcTime, metadata

loops = Table(
    "loops",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("state", String(32), nullable=False),
    Column("dataset", String(255), nullable=False),
    Column("spec", Json, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("started_by", String(255), nullable=False),
    Column("cursor", Counter, nullable=False),
    Column("scheduled_through", UtcTime, nullable=False),
    Column("standing", Json, nullable=False),
    Column("watch", Json, nullable=False),
    Column("cycles", Integer, nullable=False),
    Column("counts_from", Json),
    Column("set_back_at", UtcTime),
)

events = Table(
    "events",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("source", String(255), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("type", String(255), nullable=False),
    Column("subject", Text),
    Column("time", UtcTime),
    Column("data", Json),
    Column("received_at", UtcTime, nullable=False),
)

stumbles = Table(
    "stumbles",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("loop", String(255), primary_key=True),
    Column("over", String(64), primary_key=True),
    Column("what", String(64), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("retry_at", UtcTime),
    Column("cycle", String(64)),
)

cycles = Table(
    "cycles",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("loop", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(32), nullable=False),
    Column("outcome", String(32)),
    Column("reasons", Json, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("settled_at", UtcTime),
    Column("snapshot", String(64), nullable=False),
    Column("words", Text, nullable=False),
    Column("run", String(64)),
    Column("candidate", Integer),
    Column("champion", Integer),
    Column("promoted", Integer),
    Column("rollout", String(64)),
    Column("deadline", UtcTime),
    Column("looks", Integer, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("verdict", Json, nullable=False),
    Column("guarded", Json),
    Column("charged_cpu_seconds", Float, nullable=False),
    Index(None, "project", "loop", "number", unique=True),
    Index(None, "project", "loop", "state"),
)
