"""Deposits by wallet.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the index by which an account finds its own deposits among everybody's."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE INDEX grants_deposits_of ON grants (wallet) WHERE source = 'deposit'")
