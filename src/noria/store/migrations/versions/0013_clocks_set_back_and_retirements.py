"""clocks that were set back, schedules that count from a time, and what was retired."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the schema newer by one revision."""
    op.add_column("loops", sa.Column("counts_from", sa.Text(), nullable=True))
    op.add_column("loops", sa.Column("set_back_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "retirements",
        sa.Column("project", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "kind", "name", name=op.f("pk_retirements")),
    )
