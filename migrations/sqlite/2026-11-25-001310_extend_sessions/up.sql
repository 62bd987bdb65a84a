-- Refresh tokens, where a session was begun, profiles, mailed codes.

-- When the newest access token of the session expires.
ALTER TABLE sessions ADD COLUMN token_expires_at BIGINT NOT NULL DEFAULT 0;
UPDATE sessions SET token_expires_at = expires_at;
-- The number of the only refresh token that counts; -1 when the session has none.
ALTER TABLE sessions ADD COLUMN refresh_number BIGINT NOT NULL DEFAULT -1;
-- The address of the newest sign-in or refresh; may be empty.
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';

-- What the user calls itself, and the address of a picture; both may be empty.
ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN photo TEXT NOT NULL DEFAULT '';

-- Codes that were mailed; a new one replaces the old one of the same purpose.
CREATE TABLE mailed_codes (
    user_id BIGINT NOT NULL REFERENCES users (id),
    purpose TEXT NOT NULL,
    -- A keyed hash of the code.
    code BLOB NOT NULL,
    expires_at BIGINT NOT NULL,
    -- How often a wrong one was tried.
    attempts INTEGER NOT NULL,
    PRIMARY KEY (user_id, purpose)
);
