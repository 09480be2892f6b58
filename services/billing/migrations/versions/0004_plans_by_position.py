"""Plans by their place on chain.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Keeps every statement of a plan; ids count again after a reorg, and the newest that stands is the plan."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "ALTER TABLE plans ADD block_number bigint NOT NULL DEFAULT 0, ADD log_index integer NOT NULL DEFAULT 0,"
        " ADD retracted boolean NOT NULL DEFAULT false, DROP CONSTRAINT plans_pkey, ADD PRIMARY KEY (position_id)"
    )
    op.execute("ALTER TABLE plans ALTER block_number DROP DEFAULT, ALTER log_index DROP DEFAULT")
    op.execute("CREATE INDEX plans_of ON plans (chain_id, contract, plan_id)")
