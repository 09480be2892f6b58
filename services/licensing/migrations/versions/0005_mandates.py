"""Mandates: a key may be bound to one, and spends by it alone.

Revision ID: 0005
"""

from __future__ import annotations

from alembic import op
from licet_kit.migrations import LOCK_TIMEOUT_S

revision = "0005"
down_revision = "0004"
_COLUMNS = (
    ("grants", "draws_on", "VARCHAR", "''"),
    ("grants", "mandates_only", "BOOLEAN", "false"),
    ("leases", "calls", "BIGINT", "0"),
    ("api_keys", "mandate_key", "VARCHAR", "''"),
)


def upgrade() -> None:
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    # The defaults are for the rows that stand; the code writes every column.
    for table, name, kind, before in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind} NOT NULL DEFAULT {before}")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")
    op.execute("ALTER TABLE grants DROP CONSTRAINT ck_grants_source")
    op.execute(
        "ALTER TABLE grants ADD CONSTRAINT ck_grants_source CHECK (source IN ('license', 'deposit', 'mandate'))"
    )
    op.execute("CREATE INDEX ix_grants_draws ON grants (draws_on) WHERE draws_on <> ''")
    op.execute("CREATE INDEX ix_leases_calls ON leases (grant_id) WHERE calls > 0")
    op.execute(
        """
        CREATE TABLE mandates (
            key VARCHAR NOT NULL,
            chain_id BIGINT NOT NULL,
            contract VARCHAR NOT NULL,
            mandate_id VARCHAR NOT NULL,
            deposit_id VARCHAR NOT NULL,
            payer VARCHAR NOT NULL,
            operator VARCHAR NOT NULL,
            currency VARCHAR NOT NULL,
            window_amount NUMERIC(78, 0) NOT NULL,
            total_amount NUMERIC(78, 0) NOT NULL,
            window_s BIGINT NOT NULL,
            window_records BIGINT NOT NULL,
            in_flight_cap NUMERIC(78, 0) NOT NULL,
            grace_s BIGINT NOT NULL,
            valid_from BIGINT NOT NULL,
            valid_until BIGINT NOT NULL,
            asset_ids VARCHAR NOT NULL,
            is_final BOOLEAN NOT NULL,
            stands BOOLEAN NOT NULL,
            CONSTRAINT pk_mandates PRIMARY KEY (key)
        )
        """
    )
    op.execute("CREATE INDEX ix_mandates_id ON mandates (mandate_id)")
