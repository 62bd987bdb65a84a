-- What was given up too long ago is looked for at each message that is given up, among all that wait.
CREATE INDEX deliveries_given_up ON deliveries (created_at) WHERE due_at IS NULL;
-- A user's history is read from a place on, which is a time and an id.
CREATE INDEX transfers_by_time ON transfers (account, at, id);
