-- Users and their sessions. These tables are the truth, not a projection of a log.
-- Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE users (
    -- The user's account number in the ledger. AUTOINCREMENT never gives a number twice.
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- Trimmed and lower-cased.
    email TEXT NOT NULL UNIQUE,
    -- PHC string.
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'support', 'moderator', 'admin')),
    demo BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    last_sign_in_at BIGINT
);

-- The ledger's accounts 0 and 1 are the outside world and the venue itself: users begin at 2.
INSERT INTO sqlite_sequence (name, seq) VALUES ('users', 1);

CREATE TABLE sessions (
    -- UUID in its hyphenated form.
    id TEXT PRIMARY KEY NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    last_used BIGINT NOT NULL,
    user_agent TEXT NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_revocation ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
