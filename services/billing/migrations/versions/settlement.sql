-- One row a sending key and chain: who may write for it. A sender that lost its lock holds an older epoch.
CREATE TABLE senders (
    chain_id bigint NOT NULL,
    address text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (chain_id, address)
);

CREATE TABLE batch_contents (
    digest text PRIMARY KEY,
    body bytea NOT NULL
);

CREATE TABLE settlement_batches (
    chain_id bigint NOT NULL,
    operator text NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    state text NOT NULL CHECK (state IN (
        'prepared', 'submitted', 'unknown', 'included', 'reorged', 'final', 'conflict')),
    -- Counts the changes of its state; part of the event id.
    version integer NOT NULL DEFAULT 1,
    root text NOT NULL,
    digest text NOT NULL REFERENCES batch_contents (digest),
    due numeric(78, 0) NOT NULL CHECK (due > 0),
    charges integer NOT NULL CHECK (charges > 0),
    tx_hash text,
    block_number bigint,
    block_hash text,
    last_error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, operator, number)
);
CREATE INDEX settlement_batches_open ON settlement_batches (chain_id, operator, number) WHERE state <> 'final';

CREATE TABLE settlement_items (
    chain_id bigint NOT NULL,
    operator text NOT NULL,
    number bigint NOT NULL,
    position integer NOT NULL,
    deposit_id text NOT NULL,
    asset_id text NOT NULL,
    currency text NOT NULL,
    payer text NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    payer_root text NOT NULL,
    records integer NOT NULL CHECK (records > 0),
    -- From the final ItemSettled, when the ledger has posted it.
    paid numeric(78, 0),
    settled_by text REFERENCES ledger_transactions (id),
    PRIMARY KEY (chain_id, operator, number, position),
    FOREIGN KEY (chain_id, operator, number) REFERENCES settlement_batches,
    CHECK ((paid IS NULL) = (settled_by IS NULL))
);

ALTER TABLE charges ADD FOREIGN KEY (chain_id, operator, batch, item)
    REFERENCES settlement_items (chain_id, operator, number, position);

CREATE TABLE settlement_attempts (
    tx_hash text PRIMARY KEY,
    chain_id bigint NOT NULL,
    operator text NOT NULL,
    number bigint NOT NULL,
    nonce bigint NOT NULL,
    raw bytea NOT NULL,
    max_fee_wei numeric(78, 0) NOT NULL,
    priority_fee_wei numeric(78, 0) NOT NULL,
    state text NOT NULL CHECK (state IN ('signed', 'sent', 'unknown', 'included', 'reverted', 'replaced')),
    epoch bigint NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    FOREIGN KEY (chain_id, operator, number) REFERENCES settlement_batches
);
CREATE INDEX settlement_attempts_of ON settlement_attempts (chain_id, operator, number);

CREATE TABLE reconciliations (
    id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    chain_id bigint NOT NULL,
    block_number bigint NOT NULL,
    block_hash text NOT NULL,
    exact boolean NOT NULL,
    counts jsonb NOT NULL,
    differences jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reconciliations_latest ON reconciliations (chain_id, seq DESC);
