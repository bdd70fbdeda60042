"""Alembic's entry: runs the revisions on the connection that `migrating.configuration` was given."""

from typing import Any, Literal

from alembic import context

PLAIN: dict[str, str] = {"UtcTime": "sa.DateTime(timezone=True)", "Json": "sa.Text()"}


def spelled(kind: str, thing: Any, _: object) -> str | Literal[False]:  # noqa: ANN401 - Alembic's own signature
    """Spell our column types in a revision as what they are stored as, so that a revision never changes with them."""
    return PLAIN.get(type(thing).__name__, False) if kind == "type" else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    render_item=spelled,
    compare_type=True,
)
context.run_migrations()
