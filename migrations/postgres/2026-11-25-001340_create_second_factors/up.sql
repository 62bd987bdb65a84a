-- Second factors and identities at other providers.

CREATE TABLE totp (
    user_id BIGINT PRIMARY KEY NOT NULL REFERENCES users (id),
    -- The seed, encrypted with the venue's key.
    secret BYTEA NOT NULL,
    -- Whether the user has shown that the seed arrived; before, it is not asked for.
    confirmed BOOLEAN NOT NULL,
    -- The newest time step whose code was used: no code counts twice.
    last_step BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
    user_id BIGINT NOT NULL REFERENCES users (id),
    -- A keyed hash of the code. A used code is removed.
    code BYTEA NOT NULL,
    PRIMARY KEY (user_id, code)
);

CREATE TABLE identities (
    provider TEXT NOT NULL,
    -- Who the user is there.
    subject TEXT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (provider, subject)
);
CREATE UNIQUE INDEX identities_by_user ON identities (user_id, provider);
