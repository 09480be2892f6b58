"""Chains, blocks, the mirror, and the outbox."""

from __future__ import annotations

from alembic import op
from licet_kit.migrations import LOCK_TIMEOUT_S, messaging_v1

revision = "0001"
down_revision = None

_TABLES = (
    """
    CREATE TABLE asset (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        asset_id VARCHAR NOT NULL,
        contract VARCHAR NOT NULL,
        token_id NUMERIC(78, 0) NOT NULL,
        owner VARCHAR NOT NULL,
        kind INTEGER NOT NULL,
        slug VARCHAR NOT NULL,
        active_version VARCHAR,
        version_count BIGINT NOT NULL,
        registered_block BIGINT NOT NULL,
        CONSTRAINT pk_asset PRIMARY KEY (chain_id, asset_id)
    )
    """,
    """
    CREATE TABLE block (
        chain_id BIGINT NOT NULL,
        hash VARCHAR NOT NULL,
        number BIGINT NOT NULL,
        parent VARCHAR NOT NULL,
        time BIGINT NOT NULL,
        canonical BOOLEAN NOT NULL,
        incarnation INTEGER NOT NULL,
        logs INTEGER NOT NULL,
        CONSTRAINT pk_block PRIMARY KEY (chain_id, hash)
    )
    """,
    """
    CREATE TABLE chain (
        chain_id BIGINT NOT NULL,
        name VARCHAR NOT NULL,
        contracts JSONB NOT NULL,
        start_block BIGINT NOT NULL,
        epoch BIGINT NOT NULL,
        state VARCHAR NOT NULL,
        halt_reason VARCHAR,
        tip_number BIGINT,
        tip_hash VARCHAR,
        tip_time BIGINT,
        final_number BIGINT,
        final_hash VARCHAR,
        final_time BIGINT,
        node_head BIGINT,
        heard_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_chain PRIMARY KEY (chain_id)
    )
    """,
    """
    CREATE TABLE deposit (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        deposit_id VARCHAR NOT NULL,
        payer VARCHAR NOT NULL,
        operator VARCHAR NOT NULL,
        token VARCHAR NOT NULL,
        total NUMERIC(78, 0) NOT NULL,
        drawn NUMERIC(78, 0) NOT NULL,
        CONSTRAINT pk_deposit PRIMARY KEY (chain_id, deposit_id)
    )
    """,
    """
    CREATE TABLE deposit_exit (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        exit_id NUMERIC(78, 0) NOT NULL,
        deposit_id VARCHAR NOT NULL,
        amount NUMERIC(78, 0) NOT NULL,
        drawn NUMERIC(78, 0) NOT NULL,
        unlock_time BIGINT NOT NULL,
        withdrawn NUMERIC(78, 0),
        CONSTRAINT pk_deposit_exit PRIMARY KEY (chain_id, exit_id)
    )
    """,
    """
    CREATE TABLE earning (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        account VARCHAR NOT NULL,
        token VARCHAR NOT NULL,
        earned NUMERIC(78, 0) NOT NULL,
        claimed NUMERIC(78, 0) NOT NULL,
        CONSTRAINT pk_earning PRIMARY KEY (chain_id, account, token)
    )
    """,
    """
    CREATE TABLE license (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        token_id NUMERIC(78, 0) NOT NULL,
        contract VARCHAR NOT NULL,
        plan_id NUMERIC(78, 0) NOT NULL,
        asset_id VARCHAR NOT NULL,
        holder VARCHAR NOT NULL,
        payer VARCHAR NOT NULL,
        price NUMERIC(78, 0) NOT NULL,
        start_time BIGINT NOT NULL,
        end_time BIGINT NOT NULL,
        ordinal BIGINT NOT NULL,
        CONSTRAINT pk_license PRIMARY KEY (chain_id, token_id)
    )
    """,
    """
    CREATE TABLE operator_key (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        operator VARCHAR NOT NULL,
        receipt_key VARCHAR NOT NULL,
        valid_from BIGINT NOT NULL,
        valid_until BIGINT NOT NULL,
        CONSTRAINT pk_operator_key PRIMARY KEY (chain_id, operator, receipt_key)
    )
    """,
    """
    CREATE TABLE plan (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        plan_id NUMERIC(78, 0) NOT NULL,
        contract VARCHAR NOT NULL,
        creator VARCHAR NOT NULL,
        open BOOLEAN NOT NULL,
        asset_id VARCHAR NOT NULL,
        currency VARCHAR NOT NULL,
        price NUMERIC(78, 0) NOT NULL,
        period_s BIGINT NOT NULL,
        included_units NUMERIC(78, 0) NOT NULL,
        unit_price NUMERIC(78, 0) NOT NULL,
        metering_rule VARCHAR NOT NULL,
        requests_per_s BIGINT NOT NULL,
        transferable BOOLEAN NOT NULL,
        optimistic_units NUMERIC(78, 0) NOT NULL,
        optimistic_amount NUMERIC(78, 0) NOT NULL,
        server VARCHAR NOT NULL,
        terms_digest VARCHAR NOT NULL,
        CONSTRAINT pk_plan PRIMARY KEY (chain_id, plan_id)
    )
    """,
    """
    CREATE TABLE raw_event (
        chain_id BIGINT NOT NULL,
        block_hash VARCHAR NOT NULL,
        log_index INTEGER NOT NULL,
        block_number BIGINT NOT NULL,
        tx_hash VARCHAR NOT NULL,
        contract VARCHAR NOT NULL,
        topics TEXT[] NOT NULL,
        data VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        asset_id VARCHAR,
        payload JSONB,
        CONSTRAINT pk_raw_event PRIMARY KEY (chain_id, block_hash, log_index)
    )
    """,
    """
    CREATE TABLE revenue (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        asset_id VARCHAR NOT NULL,
        token VARCHAR NOT NULL,
        sale NUMERIC(78, 0) NOT NULL,
        usage NUMERIC(78, 0) NOT NULL,
        distributed NUMERIC(78, 0) NOT NULL,
        fee NUMERIC(78, 0) NOT NULL,
        CONSTRAINT pk_revenue PRIMARY KEY (chain_id, asset_id, token)
    )
    """,
    """
    CREATE TABLE settlement_batch (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        operator VARCHAR NOT NULL,
        batch BIGINT NOT NULL,
        root VARCHAR NOT NULL,
        data_uri VARCHAR NOT NULL,
        items BIGINT NOT NULL,
        due NUMERIC(78, 0) NOT NULL,
        paid NUMERIC(78, 0) NOT NULL,
        tx_hash VARCHAR NOT NULL,
        CONSTRAINT pk_settlement_batch PRIMARY KEY (chain_id, operator, batch)
    )
    """,
    """
    CREATE TABLE settlement_item (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        operator VARCHAR NOT NULL,
        batch BIGINT NOT NULL,
        index BIGINT NOT NULL,
        source VARCHAR NOT NULL,
        asset_id VARCHAR NOT NULL,
        token VARCHAR NOT NULL,
        due NUMERIC(78, 0) NOT NULL,
        paid NUMERIC(78, 0) NOT NULL,
        "window" BIGINT NOT NULL,
        payer_root VARCHAR NOT NULL,
        records BIGINT NOT NULL,
        CONSTRAINT pk_settlement_item PRIMARY KEY (chain_id, operator, batch, index)
    )
    """,
    """
    CREATE TABLE undo (
        chain_id BIGINT NOT NULL,
        block_number BIGINT NOT NULL,
        table_name VARCHAR NOT NULL,
        row_key VARCHAR NOT NULL,
        before JSONB,
        CONSTRAINT pk_undo PRIMARY KEY (chain_id, block_number, table_name, row_key)
    )
    """,
    """
    CREATE TABLE unknown_log (
        chain_id BIGINT NOT NULL,
        block_hash VARCHAR NOT NULL,
        log_index INTEGER NOT NULL,
        block_number BIGINT NOT NULL,
        tx_hash VARCHAR NOT NULL,
        contract VARCHAR NOT NULL,
        topics TEXT[] NOT NULL,
        data VARCHAR NOT NULL,
        reason VARCHAR NOT NULL,
        CONSTRAINT pk_unknown_log PRIMARY KEY (chain_id, block_hash, log_index)
    )
    """,
    """
    CREATE TABLE version (
        chain_id BIGINT NOT NULL,
        changed_block BIGINT NOT NULL,
        asset_id VARCHAR NOT NULL,
        version_digest VARCHAR NOT NULL,
        uri VARCHAR NOT NULL,
        ordinal BIGINT NOT NULL,
        published_at BIGINT NOT NULL,
        CONSTRAINT pk_version PRIMARY KEY (chain_id, asset_id, version_digest)
    )
    """,
)

_INDEXES = (
    "CREATE INDEX ix_asset_owner ON asset (owner)",
    "CREATE INDEX ix_asset_slug ON asset (slug)",
    "CREATE INDEX ix_block_quiet ON block (chain_id, number) WHERE logs = 0",
    "CREATE UNIQUE INDEX ux_block_canonical ON block (chain_id, number) WHERE canonical",
    "CREATE INDEX ix_deposit_operator ON deposit (operator)",
    "CREATE INDEX ix_deposit_payer ON deposit (payer)",
    "CREATE INDEX ix_deposit_exit_deposit_id ON deposit_exit (deposit_id)",
    "CREATE INDEX ix_license_asset_id ON license (asset_id)",
    "CREATE INDEX ix_license_holder ON license (holder)",
    "CREATE INDEX ix_plan_asset_id ON plan (asset_id)",
    "CREATE INDEX ix_plan_server ON plan (server)",
    "CREATE INDEX ix_raw_event_asset ON raw_event (asset_id, chain_id, block_number, log_index)"
    " WHERE asset_id IS NOT NULL",
    "CREATE INDEX ix_raw_event_place ON raw_event (chain_id, block_number, log_index)",
)


def upgrade() -> None:
    """Creates everything."""
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    messaging_v1(op)
    for statement in (*_TABLES, *_INDEXES):
        op.execute(statement)
