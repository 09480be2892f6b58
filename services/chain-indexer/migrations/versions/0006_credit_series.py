"""Series of credits.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the table; nothing says anything about it yet."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE credit_series (
            chain_id BIGINT NOT NULL,
            changed_block BIGINT NOT NULL,
            token VARCHAR NOT NULL,
            contract VARCHAR NOT NULL,
            plan_id NUMERIC(78, 0) NOT NULL,
            asset_id VARCHAR NOT NULL,
            currency VARCHAR NOT NULL,
            unit_price NUMERIC(78, 0) NOT NULL,
            supply NUMERIC(78, 0) NOT NULL,
            expires_at BIGINT NOT NULL,
            transferable BOOLEAN NOT NULL,
            issued NUMERIC(78, 0) NOT NULL,
            redeemed NUMERIC(78, 0) NOT NULL,
            expired NUMERIC(78, 0) NOT NULL,
            CONSTRAINT pk_credit_series PRIMARY KEY (chain_id, token)
        )
        """
    )
    op.execute("CREATE INDEX ix_credit_series_asset_id ON credit_series (asset_id)")
