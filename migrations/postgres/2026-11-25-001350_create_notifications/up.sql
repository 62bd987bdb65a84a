-- What users want to be told, and what is on its way to them.

CREATE TABLE outlets (
    user_id BIGINT NOT NULL REFERENCES users (id),
    -- email, line or webhook.
    kind TEXT NOT NULL,
    -- Where webhooks go; empty for the others, which go to the user's address or linked identity.
    target TEXT NOT NULL,
    -- What signs webhooks, encrypted with the venue's key; empty for the others.
    secret BYTEA NOT NULL,
    -- Names of the events that are wanted, with commas between them.
    events TEXT NOT NULL,
    PRIMARY KEY (user_id, kind)
);

CREATE TABLE price_alerts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    market INTEGER NOT NULL,
    -- Whether it waits for a price at or above, rather than at or below.
    above BOOLEAN NOT NULL,
    -- In ticks.
    price BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX price_alerts_by_user ON price_alerts (user_id);
CREATE INDEX price_alerts_by_market ON price_alerts (market, above, price);

CREATE TABLE deliveries (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    event TEXT NOT NULL,
    -- JSON.
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    -- When it is to be tried; NULL when it has been given up.
    due_at BIGINT,
    last_error TEXT NOT NULL
);
CREATE INDEX deliveries_by_due ON deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_by_user ON deliveries (user_id, id);

-- How far each source of events was read.
CREATE TABLE notified (
    source TEXT PRIMARY KEY NOT NULL,
    position BIGINT NOT NULL
);
