"""submitted runs, costs, and runs in runs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the schema newer by one revision."""
    op.add_column("attempts", sa.Column("usd", sa.Float(), nullable=True))
    op.add_column("runs", sa.Column("started_in", sa.String(length=64), nullable=True))
    op.add_column("runs", sa.Column("priority", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("usd", sa.Float(), nullable=True))
    op.create_index(op.f("ix_runs_started_in"), "runs", ["started_in"], unique=False)
