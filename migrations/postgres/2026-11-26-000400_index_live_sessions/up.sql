-- Each sign-in counts the sessions of its user that count; those that ended stay in the table for a while, and of a
-- client that signs in for each request there are many.
CREATE INDEX sessions_live ON sessions (user_id) WHERE revoked_at IS NULL;
