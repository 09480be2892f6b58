"""One event may say something of several rights: a settled group, of each deposit that it drew from.

Revision ID: 0004
"""

from __future__ import annotations

from alembic import op
from licet_kit.migrations import LOCK_TIMEOUT_S

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    op.execute(
        "ALTER TABLE facts DROP CONSTRAINT pk_facts,"
        " ADD CONSTRAINT pk_facts PRIMARY KEY (chain_id, block_hash, log_index, subject)"
    )
