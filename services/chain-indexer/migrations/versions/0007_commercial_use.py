"""Whether a plan allows commercial use.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds the column; what a plan of before allows stands in its terms alone."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE plan ADD COLUMN commercial BOOLEAN NOT NULL DEFAULT false")
    op.execute("ALTER TABLE plan ALTER COLUMN commercial DROP DEFAULT")
