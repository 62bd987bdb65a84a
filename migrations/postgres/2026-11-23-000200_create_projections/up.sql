-- Projections of the log. Amounts are whole atoms as text, times microseconds since 1970 UTC.
CREATE TABLE orders (
    market INTEGER NOT NULL,
    number BIGINT NOT NULL,
    account BIGINT NOT NULL,
    client_id TEXT,
    created_at BIGINT NOT NULL,
    done BOOLEAN NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (market, number)
);
CREATE INDEX orders_by_account ON orders (account, created_at, market, number);
CREATE UNIQUE INDEX orders_by_client_id ON orders (account, client_id);

CREATE TABLE fills (
    market INTEGER NOT NULL,
    trade BIGINT NOT NULL,
    maker_account BIGINT NOT NULL,
    taker_account BIGINT NOT NULL,
    at BIGINT NOT NULL,
    feed_sequence BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (market, trade)
);
CREATE INDEX fills_by_maker ON fills (maker_account, market, trade);
CREATE INDEX fills_by_taker ON fills (taker_account, market, trade);

CREATE TABLE candles (
    market INTEGER NOT NULL,
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
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account BIGINT NOT NULL,
    currency INTEGER NOT NULL,
    amount TEXT NOT NULL,
    balance TEXT NOT NULL,
    kind TEXT NOT NULL,
    market INTEGER,
    order_number BIGINT,
    order_slot BIGINT,
    trade BIGINT,
    transfer TEXT,
    at BIGINT NOT NULL
);
CREATE INDEX ledger_entries_by_account ON ledger_entries (account, currency, id);

-- How far the log was projected; one row, changed in the same transaction as the rows above.
CREATE TABLE watermark (
    id INTEGER PRIMARY KEY NOT NULL,
    position BIGINT NOT NULL,
    streams TEXT NOT NULL
);

CREATE TABLE log_archive (
    first BIGINT PRIMARY KEY NOT NULL,
    last BIGINT NOT NULL,
    length BIGINT NOT NULL,
    checksum BYTEA NOT NULL,
    content BYTEA NOT NULL
);
