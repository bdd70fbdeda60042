"""Where endpoints, their routes, what versions are served as, and how far logs have landed are kept."""

from sqlalchemy import Column, Integer, String, Table, Text

from noria.store.tables import Json, UtcTime, metadata

endpoints = Table(
    "endpoints",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("model", String(255), nullable=False),
    Column("dataset", String(255), nullable=False),
    Column("secret", String(64), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(255), nullable=False),
)

routes = Table(
    "routes",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("endpoint", String(255), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("variants", Json, nullable=False),
    Column("shadows", Json, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
)

servables = Table(
    "servables",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("inputs", Json, nullable=False),
    Column("words", Text, nullable=False),
    Column("blob", String(64)),
    Column("golden", String(64)),
)

loadings = Table(
    "loadings",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32)),
    Column("words", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
)

rescorings = Table(
    "rescorings",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("endpoint", String(255), primary_key=True),
    Column("positions", Json, nullable=False),
    Column("checked", Integer, nullable=False),
    Column("differing", Integer, nullable=False),
    Column("version", Integer),
    Column("words", Text, nullable=False),
)

landings = Table(
    "landings",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("endpoint", String(255), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("positions", Json, nullable=False),
    Column("plan", Json),
    Column("waiting", Json, nullable=False),
)

asides = Table(
    "asides",
    metadata,
    Column("project", String(255), primary_key=True),
    Column("endpoint", String(255), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("key", Text),
    Column("prediction", String(512)),
    Column("record", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
)
