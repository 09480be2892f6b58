"""Batches settle groups of lines, and hold what they paid.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
_COLUMNS = (
    ("settlement_item", "authority", "VARCHAR", f"'0x{'00' * 32}'"),
    ("settlement_item", "refunded", "NUMERIC(78, 0)", "0"),
    ("deposit", "direct_until", "BIGINT", "0"),
)


def upgrade() -> None:
    """A line that was settled before drew from its deposit itself."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE settlement_item RENAME COLUMN source TO deposit_id")
    op.execute("ALTER TABLE settlement_item DROP COLUMN payer_root")
    for table, name, kind, before in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} NOT NULL DEFAULT {before}")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")
    op.execute(
        """
        CREATE TABLE settlement_hold (
            chain_id BIGINT NOT NULL,
            changed_block BIGINT NOT NULL,
            operator VARCHAR NOT NULL,
            batch BIGINT NOT NULL,
            asset_id VARCHAR NOT NULL,
            token VARCHAR NOT NULL,
            paid NUMERIC(78, 0) NOT NULL,
            refunded NUMERIC(78, 0) NOT NULL,
            released NUMERIC(78, 0) NOT NULL,
            release_at BIGINT NOT NULL,
            CONSTRAINT pk_settlement_hold PRIMARY KEY (chain_id, operator, batch, asset_id, token)
        )
        """
    )
    op.execute(
        "CREATE INDEX ix_settlement_hold_open ON settlement_hold (asset_id) WHERE paid > refunded + released"
    )
