"""Charges that a payer asks the operator to show on chain.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the table; nobody has asked yet."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE challenges (
            chain_id bigint NOT NULL,
            line_id text NOT NULL,
            operator text NOT NULL,
            batch bigint NOT NULL,
            item integer NOT NULL,
            leaf integer NOT NULL,
            deadline bigint NOT NULL,
            state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'missed')),
            last_error text NOT NULL DEFAULT '',
            observed_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (chain_id, line_id)
        )
        """
    )
    op.execute(
        "CREATE INDEX challenges_open ON challenges (chain_id, operator, deadline) WHERE state = 'open'"
    )
