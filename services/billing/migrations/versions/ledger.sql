CREATE TABLE ledger_accounts (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN (
        'customer', 'receivable', 'accrued', 'exits', 'clearing', 'earnings', 'protocol_fee', 'payouts',
        'operator_loss', 'uncollected')),
    chain_id bigint NOT NULL,
    currency text NOT NULL,
    owner text NOT NULL,
    -- +1 where debits raise the balance, -1 where credits do.
    normal smallint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN kind IN ('receivable', 'clearing', 'operator_loss') THEN 1 ELSE -1 END) STORED,
    -- Guarded accounts may not be negative; they alone have a balance row that postings lock.
    guarded boolean NOT NULL GENERATED ALWAYS AS (
        kind NOT IN ('clearing', 'operator_loss', 'uncollected')) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, chain_id, currency, owner)
);

CREATE TABLE ledger_balances (
    account_id text PRIMARY KEY REFERENCES ledger_accounts (id),
    -- In the account's normal direction.
    balance numeric(78, 0) NOT NULL DEFAULT 0
);

-- One row for each posting transaction of the database: a hash chain over commitments, so that the details of a
-- transaction can be erased without breaking the chain.
CREATE TABLE ledger_posting_batches (
    number bigint PRIMARY KEY,
    previous bytea NOT NULL,
    hash bytea NOT NULL UNIQUE,
    transactions integer NOT NULL CHECK (transactions > 0),
    sealed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ledger_transactions (
    id text PRIMARY KEY,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'posted', 'voided')),
    cause text NOT NULL,
    chain_id bigint NOT NULL,
    currency text NOT NULL,
    -- Where the chain event stands; null for what follows from usage.
    block_number bigint,
    block_hash text,
    log_index integer,
    incarnation integer,
    tx_hash text,
    details jsonb NOT NULL DEFAULT '{}',
    salt bytea NOT NULL,
    commitment bytea NOT NULL,
    posting_batch bigint REFERENCES ledger_posting_batches (number),
    posting_index integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    posted_at timestamptz,
    created_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    CHECK ((state = 'posted') = (posting_batch IS NOT NULL)),
    CHECK ((posting_batch IS NULL) = (posting_index IS NULL)),
    CHECK (kind NOT IN ('deposited', 'exit_requested', 'exit_drawn', 'withdrawn', 'item_settled',
                        'revenue_received', 'distributed', 'claimed') OR tx_hash IS NOT NULL)
);
CREATE UNIQUE INDEX ledger_transactions_posting ON ledger_transactions (posting_batch, posting_index);
CREATE INDEX ledger_transactions_pending ON ledger_transactions (chain_id, block_number, log_index)
    WHERE state = 'pending';
CREATE INDEX ledger_transactions_log ON ledger_transactions (chain_id, block_number, log_index)
    WHERE block_number IS NOT NULL;

CREATE TABLE ledger_entries (
    transaction_id text NOT NULL REFERENCES ledger_transactions (id),
    position smallint NOT NULL,
    account_id text NOT NULL REFERENCES ledger_accounts (id),
    -- A debit is positive, a credit negative.
    amount numeric(78, 0) NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (transaction_id, position)
);
CREATE INDEX ledger_entries_account ON ledger_entries (account_id);

-- Append-only: what is written stays as it is.
CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger: % is append-only, % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_append_only';
END $$;
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_accounts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_posting_batches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_posting_batches
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_transactions_kept BEFORE DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_balances_kept BEFORE DELETE OR TRUNCATE ON ledger_balances
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- The one change of a transaction: a pending one is posted or voided, and nothing else of it moves.
CREATE FUNCTION ledger_check_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'pending' OR NEW.state = 'pending'
        OR (to_jsonb(NEW) - '{state,posting_batch,posting_index,posted_at}'::text[])
           <> (to_jsonb(OLD) - '{state,posting_batch,posting_index,posted_at}'::text[])
    THEN
        RAISE EXCEPTION 'ledger: transaction % is append-only, % -> % refused', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_append_only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_transactions_transition BEFORE UPDATE ON ledger_transactions
    FOR EACH ROW EXECUTE FUNCTION ledger_check_transition();

-- Checked when the database transaction commits: all legs are there by then.
CREATE FUNCTION ledger_check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    legs record;
BEGIN
    SELECT count(*) AS entries, coalesce(sum(e.amount), 0) AS total,
           count(*) FILTER (WHERE (a.chain_id, a.currency) <> (NEW.chain_id, NEW.currency)) AS foreign_legs
      INTO legs
      FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
     WHERE e.transaction_id = NEW.id;
    IF legs.entries < 2 OR legs.total <> 0 OR legs.foreign_legs > 0 THEN
        RAISE EXCEPTION 'ledger: transaction % is unbalanced: % entries, off by %, % in another currency',
            NEW.id, legs.entries, legs.total, legs.foreign_legs
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_balanced';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_transactions_balanced AFTER INSERT ON ledger_transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_balanced();

-- Postings move the balances of guarded accounts; an entry joins only a transaction of the same commit.
CREATE FUNCTION ledger_apply_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    late text;
BEGIN
    SELECT t.id INTO late
      FROM added n JOIN ledger_transactions t ON t.id = n.transaction_id
     WHERE t.created_xid <> pg_current_xact_id() LIMIT 1;
    IF late IS NOT NULL THEN
        RAISE EXCEPTION 'ledger: transaction % is complete, no entry joins it', late
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_append_only';
    END IF;
    UPDATE ledger_balances b SET balance = b.balance + d.change
      FROM (SELECT n.account_id, sum(n.amount * a.normal) AS change
              FROM added n
              JOIN ledger_transactions t ON t.id = n.transaction_id AND t.state = 'posted'
              JOIN ledger_accounts a ON a.id = n.account_id AND a.guarded
             GROUP BY n.account_id) d
     WHERE b.account_id = d.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_entries_apply AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply_entries();

CREATE FUNCTION ledger_apply_posted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger_balances b SET balance = b.balance + d.change
      FROM (SELECT e.account_id, sum(e.amount * a.normal) AS change
              FROM changed n
              JOIN ledger_entries e ON e.transaction_id = n.id
              JOIN ledger_accounts a ON a.id = e.account_id AND a.guarded
             WHERE n.state = 'posted'
             GROUP BY e.account_id) d
     WHERE b.account_id = d.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_transactions_apply AFTER UPDATE ON ledger_transactions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_apply_posted();

-- Balances move by postings only: a direct update is refused (depth 1 is this trigger itself).
CREATE FUNCTION ledger_check_mover() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'ledger: balances move by postings only'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_append_only';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_balances_moved BEFORE INSERT OR UPDATE ON ledger_balances
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_mover();

CREATE FUNCTION ledger_open_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.guarded THEN
        INSERT INTO ledger_balances (account_id) VALUES (NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_accounts_open AFTER INSERT ON ledger_accounts
    FOR EACH ROW EXECUTE FUNCTION ledger_open_balance();

-- At commit, because within one posting an account may dip before the transaction that fills it is applied.
CREATE FUNCTION ledger_check_overdraft() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    current numeric;
BEGIN
    SELECT balance INTO current FROM ledger_balances WHERE account_id = NEW.account_id;
    IF current < 0 THEN
        RAISE EXCEPTION 'ledger: % would be overdrawn to %', NEW.account_id, current
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ledger_no_overdraft';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_balances_no_overdraft AFTER INSERT OR UPDATE ON ledger_balances
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_overdraft();
