-- What billing learns of rights and terms, absolute states with their position.
CREATE TABLE grants (
    grant_id text PRIMARY KEY,
    version numeric(78, 0) NOT NULL,
    source text NOT NULL CHECK (source IN ('license', 'deposit')),
    state text NOT NULL,
    account_id text NOT NULL,
    wallet text NOT NULL,
    chain_id bigint NOT NULL,
    contract text NOT NULL,
    token_id text NOT NULL,
    plan_id text NOT NULL,
    asset_id text NOT NULL,
    currency text NOT NULL,
    operator text NOT NULL,
    granted numeric(78, 0) NOT NULL CHECK (granted >= 0),
    -- What charges have taken of it: units for a license, smallest currency units for a deposit.
    charged numeric(78, 0) NOT NULL DEFAULT 0 CHECK (charged >= 0),
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE plans (
    chain_id bigint NOT NULL,
    contract text NOT NULL,
    plan_id text NOT NULL,
    asset_id text NOT NULL,
    currency text NOT NULL,
    unit_price numeric(78, 0) NOT NULL CHECK (unit_price >= 0),
    metering_rule text NOT NULL,
    server text NOT NULL,
    -- The truth it comes from; a retraction of that truth takes it away.
    position_id text NOT NULL,
    PRIMARY KEY (chain_id, contract, plan_id)
);

CREATE TABLE operator_keys (
    position_id text PRIMARY KEY,
    chain_id bigint NOT NULL,
    operator text NOT NULL,
    receipt_key text NOT NULL,
    valid_from bigint NOT NULL,
    valid_until bigint NOT NULL,
    block_number bigint NOT NULL,
    log_index integer NOT NULL
);
CREATE INDEX operator_keys_of ON operator_keys (chain_id, operator, receipt_key, block_number, log_index);

-- Truths that left the chain before billing heard of them.
CREATE TABLE retracted_positions (
    position_id text PRIMARY KEY,
    retracted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE finality (
    chain_id bigint PRIMARY KEY,
    block_number bigint NOT NULL,
    block_hash text NOT NULL,
    block_time bigint NOT NULL
);

CREATE TABLE fences (
    lease_id text PRIMARY KEY,
    grant_id text NOT NULL,
    event_id text NOT NULL,
    fenced_at timestamptz NOT NULL
);

CREATE TABLE charges (
    request_id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    lease_id text NOT NULL,
    sequence numeric(78, 0) NOT NULL,
    account_id text NOT NULL,
    account_lease numeric(78, 0) NOT NULL,
    grant_id text NOT NULL REFERENCES grants (grant_id),
    source text NOT NULL CHECK (source IN ('license', 'deposit')),
    chain_id bigint NOT NULL,
    operator text NOT NULL,
    payer text NOT NULL,
    deposit_id text NOT NULL,
    asset_id text NOT NULL,
    plan_id text NOT NULL,
    price_book_version text NOT NULL,
    currency text NOT NULL,
    units numeric(78, 0) NOT NULL,
    unit_price numeric(78, 0) NOT NULL,
    value numeric(78, 0) NOT NULL CHECK (value >= 0),
    amount numeric(78, 0) NOT NULL CHECK (amount >= 0),
    disposition text NOT NULL CHECK (disposition IN ('billed', 'fenced', 'uncovered')),
    outcome smallint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    receipt_hash bytea NOT NULL,
    salt bytea NOT NULL,
    -- The usage record as it arrived, with the segment that signs its receipt.
    record bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    batch bigint,
    item integer,
    leaf integer,
    CHECK (amount = CASE WHEN disposition = 'billed' AND source = 'deposit' THEN value ELSE 0 END),
    CHECK ((source = 'deposit') = (deposit_id <> '')),
    CHECK (batch IS NULL OR amount > 0),
    CHECK ((batch IS NULL) = (item IS NULL) AND (batch IS NULL) = (leaf IS NULL))
);
CREATE INDEX charges_of_account ON charges (account_id, seq DESC);
CREATE INDEX charges_open ON charges (chain_id, operator, seq) WHERE batch IS NULL AND amount > 0;
CREATE INDEX charges_uncovered ON charges (grant_id, seq) WHERE disposition = 'uncovered';
CREATE UNIQUE INDEX charges_leaf ON charges (chain_id, operator, batch, item, leaf) WHERE batch IS NOT NULL;
