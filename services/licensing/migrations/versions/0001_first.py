"""Accounts, what the chain says, grants, leases and decisions.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op
from licet_kit.migrations import LOCK_TIMEOUT_S, messaging_v1

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE accounts (
        account_id VARCHAR NOT NULL,
        lease_ordinal BIGINT NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_accounts PRIMARY KEY (account_id)
    )
    """,
    """
    CREATE TABLE assets (
        asset_id VARCHAR NOT NULL,
        chain_id BIGINT NOT NULL,
        slug VARCHAR NOT NULL,
        version_digest VARCHAR,
        last_block BIGINT NOT NULL,
        standing BOOLEAN NOT NULL,
        CONSTRAINT pk_assets PRIMARY KEY (asset_id)
    )
    """,
    "CREATE INDEX ix_assets_slug ON assets (slug)",
    """
    CREATE TABLE debts (
        debt_id VARCHAR NOT NULL,
        payer VARCHAR NOT NULL,
        wallet VARCHAR NOT NULL,
        plan_key VARCHAR NOT NULL,
        grant_id VARCHAR NOT NULL,
        units NUMERIC(78, 0) NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_debts PRIMARY KEY (debt_id),
        CONSTRAINT ck_debts_units CHECK (units > 0)
    )
    """,
    "CREATE INDEX ix_debts_payer ON debts (payer)",
    """
    CREATE TABLE decisions (
        decision_id VARCHAR NOT NULL,
        account_id VARCHAR,
        worker_id VARCHAR NOT NULL,
        asset_id VARCHAR NOT NULL,
        code VARCHAR NOT NULL,
        grant_id VARCHAR NOT NULL,
        lease_id VARCHAR NOT NULL,
        units NUMERIC(78, 0) NOT NULL,
        chain_id BIGINT NOT NULL,
        block_number BIGINT NOT NULL,
        block_hash VARCHAR NOT NULL,
        steps JSONB NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_decisions PRIMARY KEY (decision_id)
    )
    """,
    "CREATE INDEX ix_decisions_decided_at ON decisions (decided_at)",
    """
    CREATE TABLE facts (
        chain_id BIGINT NOT NULL,
        block_hash VARCHAR NOT NULL,
        log_index INTEGER NOT NULL,
        block_number BIGINT NOT NULL,
        subject VARCHAR NOT NULL,
        kind VARCHAR NOT NULL,
        body JSONB NOT NULL,
        incarnation INTEGER NOT NULL,
        standing BOOLEAN NOT NULL,
        is_final BOOLEAN NOT NULL,
        CONSTRAINT pk_facts PRIMARY KEY (chain_id, block_hash, log_index)
    )
    """,
    "CREATE INDEX ix_facts_not_final ON facts (chain_id, block_number) WHERE standing AND NOT is_final",
    "CREATE INDEX ix_facts_plan ON facts ((body ->> 'plan_key')) WHERE kind = 'license_purchased'",
    "CREATE INDEX ix_facts_subject ON facts (subject, block_number, log_index) WHERE standing",
    """
    CREATE TABLE grants (
        grant_id VARCHAR NOT NULL,
        subject VARCHAR NOT NULL,
        source VARCHAR NOT NULL,
        chain_id BIGINT NOT NULL,
        contract VARCHAR NOT NULL,
        token_id VARCHAR NOT NULL,
        window_ordinal BIGINT NOT NULL,
        wallet VARCHAR NOT NULL,
        payer VARCHAR NOT NULL,
        operator VARCHAR NOT NULL,
        currency VARCHAR NOT NULL,
        plan_key VARCHAR NOT NULL,
        asset_id VARCHAR NOT NULL,
        origin VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        quarantined BOOLEAN NOT NULL,
        end_time BIGINT NOT NULL,
        generation BIGINT NOT NULL,
        floor NUMERIC(78, 0) NOT NULL,
        target NUMERIC(78, 0) NOT NULL,
        granted NUMERIC(78, 0) NOT NULL,
        free NUMERIC(78, 0) NOT NULL,
        leased NUMERIC(78, 0) NOT NULL,
        suspended NUMERIC(78, 0) NOT NULL,
        spent NUMERIC(78, 0) NOT NULL,
        lapsed NUMERIC(78, 0) NOT NULL,
        shortage NUMERIC(78, 0) NOT NULL,
        ended BOOLEAN NOT NULL,
        version BIGINT NOT NULL,
        published_version BIGINT NOT NULL,
        published_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_grants PRIMARY KEY (grant_id),
        CONSTRAINT ck_grants_equation CHECK (granted = free + leased + suspended + spent + lapsed),
        CONSTRAINT ck_grants_target CHECK (granted = target + shortage),
        CONSTRAINT ck_grants_parts CHECK (least(target, free, leased, suspended, spent, lapsed, shortage) >= 0),
        CONSTRAINT ck_grants_lapse CHECK (NOT (ended AND free > 0) AND (ended OR lapsed = 0)),
        CONSTRAINT ck_grants_source CHECK (source IN ('license', 'deposit'))
    )
    """,
    "CREATE INDEX ix_grants_end ON grants (end_time) WHERE state IN ('provisional', 'live') AND end_time > 0",
    "CREATE INDEX ix_grants_payer ON grants (payer) WHERE shortage > 0",
    "CREATE INDEX ix_grants_subject ON grants (subject)",
    "CREATE INDEX ix_grants_unpublished ON grants (published_at) WHERE version > published_version",
    "CREATE INDEX ix_grants_wallet ON grants (wallet, asset_id)",
    """
    CREATE TABLE holds (
        grant_id VARCHAR NOT NULL,
        topic VARCHAR NOT NULL,
        held_key VARCHAR NOT NULL,
        CONSTRAINT pk_holds PRIMARY KEY (grant_id, topic, held_key)
    )
    """,
    "CREATE INDEX ix_holds_key ON holds (topic, held_key)",
    """
    CREATE TABLE lease_requests (
        request_id VARCHAR NOT NULL,
        fingerprint BYTEA NOT NULL,
        reply JSONB,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_lease_requests PRIMARY KEY (request_id)
    )
    """,
    "CREATE INDEX ix_lease_requests_created_at ON lease_requests (created_at)",
    """
    CREATE TABLE leases (
        lease_id VARCHAR NOT NULL,
        grant_id VARCHAR NOT NULL,
        generation BIGINT NOT NULL,
        account_id VARCHAR NOT NULL,
        account_lease BIGINT NOT NULL,
        worker_id VARCHAR NOT NULL,
        asset_id VARCHAR NOT NULL,
        plan_key VARCHAR NOT NULL,
        payer VARCHAR NOT NULL,
        wallet VARCHAR NOT NULL,
        credential_hash BYTEA NOT NULL,
        requires_grant_id VARCHAR,
        requires_generation BIGINT,
        units NUMERIC(78, 0) NOT NULL,
        unit_price NUMERIC(78, 0) NOT NULL,
        reserved NUMERIC(78, 0) NOT NULL,
        remaining NUMERIC(78, 0) NOT NULL,
        state VARCHAR NOT NULL,
        orphaned BOOLEAN NOT NULL,
        records BIGINT NOT NULL,
        last_sequence BIGINT,
        opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        suspended_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_leases PRIMARY KEY (lease_id),
        CONSTRAINT ck_leases_remaining CHECK (remaining <= reserved),
        CONSTRAINT ck_leases_state CHECK (state IN ('active', 'suspended', 'fencing', 'fenced', 'closed'))
    )
    """,
    "CREATE UNIQUE INDEX ix_leases_account ON leases (account_id, account_lease)",
    "CREATE INDEX ix_leases_active ON leases (expires_at) WHERE state = 'active'",
    "CREATE INDEX ix_leases_open ON leases (grant_id) WHERE state IN ('active', 'suspended', 'fencing')",
    "CREATE INDEX ix_leases_suspended ON leases (suspended_at) WHERE state = 'suspended'",
    """
    CREATE TABLE license_moves (
        subject VARCHAR NOT NULL,
        wallet VARCHAR NOT NULL,
        asset_id VARCHAR NOT NULL,
        CONSTRAINT pk_license_moves PRIMARY KEY (subject, wallet)
    )
    """,
    "CREATE INDEX ix_license_moves_wallet ON license_moves (wallet, asset_id)",
    """
    CREATE TABLE losses (
        loss_id VARCHAR NOT NULL,
        lease_id VARCHAR NOT NULL,
        grant_id VARCHAR NOT NULL,
        account_id VARCHAR NOT NULL,
        units NUMERIC(78, 0) NOT NULL,
        reason VARCHAR NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_losses PRIMARY KEY (loss_id)
    )
    """,
    "CREATE INDEX ix_losses_reason ON losses (reason)",
    """
    CREATE TABLE mirrors (
        chain_id BIGINT NOT NULL,
        block_number BIGINT NOT NULL,
        block_hash VARCHAR NOT NULL,
        final_block BIGINT NOT NULL,
        heard_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_mirrors PRIMARY KEY (chain_id)
    )
    """,
    """
    CREATE TABLE plans (
        plan_key VARCHAR NOT NULL,
        chain_id BIGINT NOT NULL,
        plan_id VARCHAR NOT NULL,
        asset_id VARCHAR NOT NULL,
        currency VARCHAR NOT NULL,
        period_s BIGINT NOT NULL,
        included_units NUMERIC(78, 0) NOT NULL,
        unit_price NUMERIC(78, 0) NOT NULL,
        metering_rule VARCHAR NOT NULL,
        requests_per_s BIGINT NOT NULL,
        transferable BOOLEAN NOT NULL,
        optimistic_units NUMERIC(78, 0) NOT NULL,
        optimistic_amount NUMERIC(78, 0) NOT NULL,
        server VARCHAR NOT NULL,
        CONSTRAINT pk_plans PRIMARY KEY (plan_key)
    )
    """,
    "CREATE INDEX ix_plans_server ON plans (chain_id, server, currency)",
    """
    CREATE TABLE sign_ins (
        message_hash BYTEA NOT NULL,
        nonce VARCHAR NOT NULL,
        address VARCHAR NOT NULL,
        used_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_sign_ins PRIMARY KEY (message_hash),
        CONSTRAINT uq_sign_ins_nonce UNIQUE (nonce)
    )
    """,
    """
    CREATE TABLE workers (
        worker_id VARCHAR NOT NULL,
        seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_workers PRIMARY KEY (worker_id)
    )
    """,
    "CREATE INDEX ix_workers_seen_at ON workers (seen_at)",
    """
    CREATE TABLE api_keys (
        key_id VARCHAR NOT NULL,
        account_id VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        hint VARCHAR NOT NULL,
        key_hash BYTEA NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        revoked_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_api_keys PRIMARY KEY (key_id),
        CONSTRAINT fk_api_keys_account_id_accounts FOREIGN KEY(account_id) REFERENCES accounts (account_id),
        CONSTRAINT uq_api_keys_key_hash UNIQUE (key_hash)
    )
    """,
    "CREATE INDEX ix_api_keys_account_id ON api_keys (account_id)",
    """
    CREATE TABLE sessions (
        token_hash BYTEA NOT NULL,
        account_id VARCHAR NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_sessions PRIMARY KEY (token_hash),
        CONSTRAINT fk_sessions_account_id_accounts FOREIGN KEY(account_id) REFERENCES accounts (account_id)
    )
    """,
    "CREATE INDEX ix_sessions_expires_at ON sessions (expires_at)",
    """
    CREATE TABLE wallets (
        address VARCHAR NOT NULL,
        account_id VARCHAR NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_wallets PRIMARY KEY (address),
        CONSTRAINT fk_wallets_account_id_accounts FOREIGN KEY(account_id) REFERENCES accounts (account_id)
    )
    """,
    "CREATE INDEX ix_wallets_account_id ON wallets (account_id)",
)


def upgrade() -> None:
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    messaging_v1(op)
    for statement in STATEMENTS:
        op.execute(statement)
