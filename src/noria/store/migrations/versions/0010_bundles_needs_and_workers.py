"""bundles, needs and workers."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WAITS = sa.text("priority IS NOT NULL AND state IN ('queued', 'running')")


def upgrade() -> None:
    """Make the schema newer by one revision."""
    op.add_column("runs", sa.Column("bundle", sa.String(length=64), nullable=True))
    op.add_column("runs", sa.Column("needs", sa.Text(), nullable=True))
    op.create_index(
        "ix_runs_waiting",
        "runs",
        ["project", "priority", "id"],
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("project", sa.String(length=255), nullable=False),
        sa.Column("executor", sa.String(length=64), nullable=False),
        sa.Column("offers", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
