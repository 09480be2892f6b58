"""Facts of the chain, uploads, manifests, and what became of each version."""

from alembic import op
from licet_kit.migrations import messaging_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    messaging_v1(op)
    op.execute("""
        CREATE TABLE asset_fact (
            chain_id BIGINT NOT NULL,
            block_hash TEXT NOT NULL,
            log_index INTEGER NOT NULL,
            asset_id TEXT NOT NULL,
            kind TEXT NOT NULL
                CONSTRAINT ck_asset_fact_kind CHECK (kind IN ('registered', 'transferred', 'published', 'activated')),
            block_number BIGINT NOT NULL,
            rank BIGINT NOT NULL,
            live BOOLEAN NOT NULL,
            owner TEXT NOT NULL,
            slug TEXT NOT NULL,
            digest TEXT NOT NULL,
            uri TEXT NOT NULL,
            CONSTRAINT pk_asset_fact PRIMARY KEY (chain_id, block_hash, log_index)
        )
    """)
    # The order of the query for active versions, which runs every second.
    op.execute("""
        CREATE INDEX ix_asset_fact_live ON asset_fact (kind, asset_id, block_number DESC, log_index DESC) WHERE live
    """)
    op.execute("""
        CREATE TABLE upload (
            account_id TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            size_bytes BIGINT NOT NULL CONSTRAINT ck_upload_size_bytes CHECK (size_bytes >= 0),
            uploaded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            CONSTRAINT pk_upload PRIMARY KEY (account_id, sha256)
        )
    """)
    op.execute("""
        CREATE TABLE manifest (
            digest TEXT NOT NULL CONSTRAINT pk_manifest PRIMARY KEY,
            body BYTEA NOT NULL,
            stored_at TIMESTAMPTZ NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE manifest_wallet (
            digest TEXT NOT NULL CONSTRAINT fk_manifest_wallet_digest_manifest REFERENCES manifest (digest),
            account_id TEXT NOT NULL,
            wallet TEXT NOT NULL,
            CONSTRAINT pk_manifest_wallet PRIMARY KEY (digest, account_id, wallet)
        )
    """)
    op.execute("""
        CREATE TABLE version_state (
            asset_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            triton_url TEXT NOT NULL,
            slug TEXT NOT NULL,
            triton_model TEXT NOT NULL,
            state TEXT NOT NULL
                CONSTRAINT ck_version_state_state CHECK (state IN ('ready', 'unloaded', 'refused')),
            reason TEXT NOT NULL,
            metering_rule TEXT NOT NULL,
            schema_json TEXT NOT NULL,
            number BIGINT NOT NULL,
            changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
            CONSTRAINT pk_version_state PRIMARY KEY (asset_id, digest, triton_url)
        )
    """)
