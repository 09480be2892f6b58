"""What a plan's trial includes, and how many calls of one license run at once.

Revision ID: 0003
"""

from __future__ import annotations

from alembic import op
from licet_kit.migrations import LOCK_TIMEOUT_S

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    # The defaults are for the rows that stand; the code writes every column.
    op.execute("ALTER TABLE plans ADD COLUMN trial_units NUMERIC(78, 0) NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE plans ADD COLUMN seats BIGINT NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE plans ALTER COLUMN trial_units DROP DEFAULT")
    op.execute("ALTER TABLE plans ALTER COLUMN seats DROP DEFAULT")
