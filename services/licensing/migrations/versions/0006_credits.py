"""Deposits of prepaid units.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Lets a deposit's grant be one of credits. Older code still runs: it lends nothing of them."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE grants DROP CONSTRAINT ck_grants_source")
    op.execute(
        "ALTER TABLE grants ADD CONSTRAINT ck_grants_source"
        " CHECK (source IN ('license', 'credits', 'deposit', 'mandate'))"
    )
