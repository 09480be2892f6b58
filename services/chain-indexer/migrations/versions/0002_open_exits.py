"""Open exits are found without their deposit's withdrawn ones.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Indexes the open exits in place of all."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE INDEX ix_deposit_exit_open ON deposit_exit (deposit_id) WHERE withdrawn IS NULL")
    op.execute("DROP INDEX ix_deposit_exit_deposit_id")
