"""What is used of prepaid units is owed in units of their series.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Lets grants and charges be of credits. Older code still runs, and meets none."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("grants", "charges"):
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {table}_source_check,"
            f" ADD CONSTRAINT {table}_source_check"
            " CHECK (source IN ('license', 'credits', 'deposit', 'mandate'))"
        )
    op.execute("CREATE INDEX grants_locked_of ON grants (wallet) WHERE source IN ('deposit', 'credits')")
    op.execute("DROP INDEX grants_deposits_of")
