-- Settings that administrators change while the program runs. Every version stays; the highest counts.
CREATE TABLE runtime_config (
    key TEXT NOT NULL,
    -- From 1 on, without gaps.
    version BIGINT NOT NULL,
    -- JSON.
    value TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    -- An account number.
    set_by BIGINT,
    PRIMARY KEY (key, version)
);
