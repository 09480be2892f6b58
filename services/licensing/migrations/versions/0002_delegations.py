"""Who may use a license that its holder delegated, and until when.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op
from licet_kit.migrations import LOCK_TIMEOUT_S

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    # The defaults are for the rows that stand; the code writes every column.
    op.execute("ALTER TABLE grants ADD COLUMN user_wallet VARCHAR NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE grants ADD COLUMN user_until BIGINT NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE grants ALTER COLUMN user_wallet DROP DEFAULT")
    op.execute("ALTER TABLE grants ALTER COLUMN user_until DROP DEFAULT")
    op.execute("CREATE INDEX ix_grants_user ON grants (user_wallet, asset_id) WHERE user_wallet <> ''")
