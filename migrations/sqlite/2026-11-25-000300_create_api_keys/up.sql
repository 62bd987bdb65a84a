-- Keys for programs. This table is the truth, not a projection of a log.
-- Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE api_keys (
    -- 32 hexadecimal digits.
    id TEXT PRIMARY KEY NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    label TEXT NOT NULL,
    -- The HMAC secret, encrypted with the venue's key.
    secret BLOB NOT NULL,
    -- A keyed hash of the passphrase.
    passphrase BLOB NOT NULL,
    -- Names of what the key may do, with commas between them.
    scopes TEXT NOT NULL,
    -- Networks from which it may be used, with commas between them; empty means from anywhere.
    networks TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used BIGINT,
    last_used_from TEXT
);

CREATE INDEX api_keys_by_user ON api_keys (user_id);
CREATE INDEX api_keys_by_revocation ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
