-- Whether an administrator has frozen the account. The ledger enforces it; this is for looking at.
ALTER TABLE users ADD COLUMN frozen BOOLEAN NOT NULL DEFAULT FALSE;

-- Security events and what administrators did. Rows are only ever added.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    -- Who did it, an account number; nobody when it is not known or was the program itself.
    actor BIGINT,
    -- Whose account it was done to.
    subject BIGINT,
    -- From where; may be empty.
    address TEXT NOT NULL,
    -- JSON: before, after and whatever else there is to say.
    detail TEXT NOT NULL
);
CREATE INDEX audit_by_actor ON audit (actor, id);
CREATE INDEX audit_by_subject ON audit (subject, id);
