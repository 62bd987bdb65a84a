-- Projections of the log: they can be rebuilt from it. Prices are ticks and sizes lots of their
-- market; amounts are whole atoms as text, since they may need 128 bits; times are microseconds
-- since 1970-01-01T00:00:00Z.

CREATE TABLE orders (
    market INTEGER NOT NULL,
    -- Accepted orders of the market, counted from 1; with the slot it is the order's id.
    number BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    account BIGINT NOT NULL,
    -- UUID in its hyphenated form.
    client_id TEXT,
    -- buy, sell
    side TEXT NOT NULL,
    -- Absent for market orders, as is the time in force: GTC, GTT, IOC, FOK.
    price BIGINT,
    time_in_force TEXT,
    expires_at BIGINT,
    post_only BOOLEAN NOT NULL,
    -- What a market buy may spend, as it was asked for.
    funds TEXT,
    -- Zero for a market buy by funds alone.
    size BIGINT NOT NULL,
    -- loss, entry
    stop TEXT,
    stop_price BIGINT,
    -- dc, co, cn, cb
    self_trade TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    filled BIGINT NOT NULL,
    executed TEXT NOT NULL,
    fees TEXT NOT NULL,
    hold TEXT NOT NULL,
    -- active (a stop that sleeps), open, done
    status TEXT NOT NULL,
    done_reason TEXT,
    done_at BIGINT,
    PRIMARY KEY (market, number)
);
CREATE INDEX orders_by_account ON orders (account, created_at, market, number);
CREATE INDEX orders_by_client_id ON orders (account, client_id) WHERE client_id IS NOT NULL;

CREATE TABLE fills (
    market INTEGER NOT NULL,
    -- The trade's number in its market, from 1 without gaps.
    trade BIGINT NOT NULL,
    at BIGINT NOT NULL,
    feed_sequence BIGINT NOT NULL,
    maker BIGINT NOT NULL,
    maker_slot BIGINT NOT NULL,
    maker_account BIGINT NOT NULL,
    taker BIGINT NOT NULL,
    taker_slot BIGINT NOT NULL,
    taker_account BIGINT NOT NULL,
    -- buy, sell
    maker_side TEXT NOT NULL,
    price BIGINT NOT NULL,
    size BIGINT NOT NULL,
    base TEXT NOT NULL,
    quote TEXT NOT NULL,
    maker_fee TEXT NOT NULL,
    taker_fee TEXT NOT NULL,
    PRIMARY KEY (market, trade)
);
CREATE INDEX fills_by_maker ON fills (maker_account, market, trade);
CREATE INDEX fills_by_taker ON fills (taker_account, market, trade);
CREATE INDEX fills_by_maker_order ON fills (market, maker);
CREATE INDEX fills_by_taker_order ON fills (market, taker);

CREATE TABLE candles (
    market INTEGER NOT NULL,
    -- Seconds.
    granularity INTEGER NOT NULL,
    start BIGINT NOT NULL,
    open BIGINT NOT NULL,
    high BIGINT NOT NULL,
    low BIGINT NOT NULL,
    close BIGINT NOT NULL,
    volume BIGINT NOT NULL,
    trades INTEGER NOT NULL,
    PRIMARY KEY (market, granularity, start)
);

CREATE TABLE ledger_entries (
    -- Counted from 1 in the order of the log.
    id BIGINT PRIMARY KEY NOT NULL,
    account BIGINT NOT NULL,
    currency INTEGER NOT NULL,
    -- Signed.
    amount TEXT NOT NULL,
    -- Available and hold after it.
    balance TEXT NOT NULL,
    -- match, fee, or a kind of transfer
    kind TEXT NOT NULL,
    market INTEGER,
    order_number BIGINT,
    order_slot BIGINT,
    trade BIGINT,
    transfer TEXT,
    at BIGINT NOT NULL
);
CREATE INDEX ledger_entries_by_account ON ledger_entries (account, currency, id);

CREATE TABLE transfers (
    account BIGINT NOT NULL,
    -- Of the entry in the ledger's stream.
    sequence BIGINT NOT NULL,
    -- UUID in its hyphenated form; payer and payee of an internal transfer have a row each.
    id TEXT NOT NULL,
    -- deposit, withdraw, internal_deposit, internal_withdraw
    kind TEXT NOT NULL,
    currency INTEGER NOT NULL,
    amount TEXT NOT NULL,
    -- The other user of an internal transfer.
    counterpart BIGINT,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, sequence)
);
CREATE INDEX transfers_by_id ON transfers (id);

-- How far the log was projected; one row, changed in the same transaction as the rows above.
CREATE TABLE watermark (
    id INTEGER PRIMARY KEY NOT NULL,
    position BIGINT NOT NULL,
    -- The newest sequence of each stream, as JSON.
    streams TEXT NOT NULL,
    -- The id of the newest row of ledger_entries.
    ledger_entries BIGINT NOT NULL
);
INSERT INTO watermark (id, position, streams, ledger_entries) VALUES (1, 0, '{}', 0);

CREATE TABLE log_archive (
    first BIGINT PRIMARY KEY NOT NULL,
    last BIGINT NOT NULL,
    length BIGINT NOT NULL,
    checksum BYTEA NOT NULL,
    content BYTEA NOT NULL
);

-- Snapshots for nodes that have none of their own; only where nodes share the database.
CREATE TABLE snapshots (
    position BIGINT PRIMARY KEY NOT NULL,
    -- The snapshot file, compressed.
    content BYTEA NOT NULL
);
