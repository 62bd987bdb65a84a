-- The events of each market, as the feed numbers them: one row for a run of entries of the market's stream. For
-- readers that come back after longer than memory goes, and for the history of an order.
CREATE TABLE market_events (
    market INTEGER NOT NULL,
    -- The first entry of the run in the market's stream.
    entry BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    events BLOB NOT NULL,
    PRIMARY KEY (market, entry)
);
CREATE INDEX market_events_by_sequence ON market_events (market, last_sequence);
CREATE INDEX market_events_by_time ON market_events (market, last_at);
