"""Assets that are sold on a chain that is not their home.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the table; nothing says anything about it yet."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE asset_mirror (
            chain_id BIGINT NOT NULL,
            changed_block BIGINT NOT NULL,
            asset_id VARCHAR NOT NULL,
            slug VARCHAR,
            home_chain_id NUMERIC(78, 0),
            home_registry VARCHAR,
            owner VARCHAR,
            home_owner VARCHAR,
            epoch NUMERIC(78, 0),
            valid_until BIGINT,
            reported_owner VARCHAR,
            reported_epoch NUMERIC(78, 0),
            reported_at BIGINT,
            lineage VARCHAR,
            CONSTRAINT pk_asset_mirror PRIMARY KEY (chain_id, asset_id)
        )
        """
    )
    op.execute("CREATE INDEX ix_asset_mirror_asset_id ON asset_mirror (asset_id)")
