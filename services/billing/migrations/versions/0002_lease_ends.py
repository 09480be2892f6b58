"""Where leases end.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the last sequence of each lease that has told it."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "CREATE TABLE lease_ends ("
        " lease_id text PRIMARY KEY,"
        " last_sequence numeric(78, 0) NOT NULL CHECK (last_sequence >= 1))"
    )
