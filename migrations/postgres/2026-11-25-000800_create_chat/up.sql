-- What follows from the chat streams. Times are microseconds since 1970 UTC.
CREATE TABLE chat_rooms (
    id BIGINT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    topic TEXT NOT NULL,
    closed BOOLEAN NOT NULL,
    members INTEGER NOT NULL,
    last_sequence BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX chat_rooms_by_kind ON chat_rooms (kind, closed, members);

CREATE TABLE chat_members (
    room BIGINT NOT NULL,
    account BIGINT NOT NULL,
    role TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    read_to BIGINT NOT NULL,
    muted_until BIGINT,
    last_sent BIGINT,
    PRIMARY KEY (room, account)
);
CREATE INDEX chat_members_by_account ON chat_members (account, room);

CREATE TABLE chat_messages (
    id BIGSERIAL PRIMARY KEY,
    room BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    author BIGINT NOT NULL,
    client_id TEXT,
    system BOOLEAN NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    reply_to BIGINT,
    edited_at BIGINT,
    deleted_at BIGINT,
    deleted_by BIGINT,
    details TEXT NOT NULL,
    changed BIGINT NOT NULL,
    UNIQUE (room, sequence)
);
CREATE UNIQUE INDEX chat_messages_by_client_id ON chat_messages (author, client_id, room) WHERE client_id IS NOT NULL;
CREATE INDEX chat_messages_by_author ON chat_messages (room, author, sequence);
CREATE INDEX chat_messages_deleted ON chat_messages (room, sequence) WHERE deleted_at IS NOT NULL;

-- The index of words; it is always what the messages say now.
CREATE INDEX chat_words ON chat_messages USING GIN (to_tsvector('simple', body));

CREATE TABLE chat_reports (
    room BIGINT NOT NULL,
    number BIGINT NOT NULL,
    message BIGINT NOT NULL,
    author BIGINT NOT NULL,
    reporter BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    resolved_at BIGINT,
    resolved_by BIGINT,
    note TEXT,
    PRIMARY KEY (room, number)
);
CREATE INDEX chat_reports_open ON chat_reports (at) WHERE resolved_at IS NULL;

-- One row for each side of a relation.
CREATE TABLE chat_friends (
    account BIGINT NOT NULL,
    other BIGINT NOT NULL,
    status TEXT NOT NULL,
    blocked BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (account, other)
);

-- How far each chat stream was projected, and the log as a whole; changed with the rows above.
CREATE TABLE chat_streams (
    shard INTEGER PRIMARY KEY NOT NULL,
    epoch_counter BIGINT NOT NULL,
    epoch_node INTEGER NOT NULL,
    batch BIGINT NOT NULL,
    sequence BIGINT NOT NULL
);
CREATE TABLE chat_watermark (
    id INTEGER PRIMARY KEY NOT NULL,
    position BIGINT NOT NULL
);

-- What stands in no log: how people want to be seen, and their images.
CREATE TABLE chat_people (
    account BIGINT PRIMARY KEY NOT NULL,
    nick TEXT NOT NULL,
    nick_folded TEXT NOT NULL UNIQUE,
    visible_to TEXT NOT NULL,
    last_seen BIGINT
);
CREATE TABLE chat_uploads (
    id TEXT PRIMARY KEY NOT NULL,
    account BIGINT NOT NULL,
    room BIGINT NOT NULL,
    media_type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    at BIGINT NOT NULL,
    message BIGINT,
    gone BOOLEAN NOT NULL
);
CREATE INDEX chat_uploads_by_message ON chat_uploads (room, message);
CREATE INDEX chat_uploads_to_remove ON chat_uploads (gone, message, at);
