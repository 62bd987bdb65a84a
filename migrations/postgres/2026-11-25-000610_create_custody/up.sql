-- Withdrawals with all that the ledger does not know of them. Amounts are whole atoms as text.
CREATE TABLE withdrawals (
    id TEXT PRIMARY KEY NOT NULL,
    account BIGINT NOT NULL,
    currency INTEGER NOT NULL,
    amount TEXT NOT NULL,
    fee TEXT NOT NULL,
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    tag TEXT,
    created_at BIGINT NOT NULL,
    -- requested, pending, done, canceled, refused
    stage TEXT NOT NULL,
    approved_at BIGINT,
    approved_by BIGINT,
    hash TEXT,
    ended_at BIGINT
);
CREATE INDEX withdrawals_by_account ON withdrawals (account, created_at);
CREATE INDEX withdrawals_by_stage ON withdrawals (stage, created_at);

CREATE TABLE deposit_addresses (
    address TEXT PRIMARY KEY NOT NULL,
    account BIGINT NOT NULL,
    currency INTEGER NOT NULL,
    network TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX deposit_addresses_by_account ON deposit_addresses (account, currency, network, created_at);
