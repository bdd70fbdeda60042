"""a lease for each run that waits."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the schema newer by one revision."""
    op.execute(
        "INSERT INTO leases (name, holder, token, expires_at) "
        "SELECT 'run/' || id, '', 0, '1970-01-01 00:00:00.000000' FROM runs "
        "WHERE state = 'queued' AND 'run/' || id NOT IN (SELECT name FROM leases)"
    )
