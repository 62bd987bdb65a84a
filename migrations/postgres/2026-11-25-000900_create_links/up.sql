-- Short links. Times are microseconds since 1970 UTC.
CREATE TABLE links (
    id BIGINT PRIMARY KEY NOT NULL,
    domain TEXT NOT NULL,
    slug TEXT NOT NULL,
    owner BIGINT,
    target TEXT NOT NULL,
    -- Of owner and site in the upper half, of the target in the lower: duplicates are found by it.
    target_hash BIGINT NOT NULL,
    title TEXT NOT NULL,
    notes TEXT NOT NULL,
    -- Between commas, with one at each end.
    tags TEXT NOT NULL,
    code INTEGER NOT NULL,
    starts_at BIGINT,
    expires_at BIGINT,
    max_clicks BIGINT,
    clicks_left BIGINT,
    password_hash TEXT,
    -- JSON; empty when there are none.
    rules TEXT NOT NULL,
    forward_query BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    -- Goes up with every edit.
    version BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- What the roll-up has counted.
    clicks BIGINT NOT NULL DEFAULT 0,
    bot_clicks BIGINT NOT NULL DEFAULT 0,
    last_click_at BIGINT
);
-- A name is given once, also when its link was deleted.
CREATE UNIQUE INDEX links_by_name ON links (slug, domain);
CREATE INDEX links_by_owner ON links (owner, id);
CREATE INDEX links_by_target ON links (target_hash);

-- What became of links after they were made: their history, and what other nodes learn from.
CREATE TABLE link_changes (
    seq BIGSERIAL PRIMARY KEY,
    link BIGINT NOT NULL,
    domain TEXT NOT NULL,
    slug TEXT NOT NULL,
    at BIGINT NOT NULL,
    -- Nobody: the program itself.
    by_account BIGINT,
    what TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX link_changes_by_link ON link_changes (link, seq);

CREATE TABLE link_reports (
    id BIGSERIAL PRIMARY KEY,
    link BIGINT NOT NULL,
    reason TEXT NOT NULL,
    comment TEXT NOT NULL,
    reporter BIGINT,
    at BIGINT NOT NULL,
    resolved_at BIGINT,
    resolved_by BIGINT,
    action TEXT,
    note TEXT
);
CREATE INDEX link_reports_open ON link_reports (resolved_at, id);
CREATE INDEX link_reports_by_link ON link_reports (link, id);

-- Hosts that no link may lead to.
CREATE TABLE link_hosts (
    host TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    by_account BIGINT,
    note TEXT NOT NULL
);

-- Settings of short domains, JSON.
CREATE TABLE link_domains (
    host TEXT PRIMARY KEY NOT NULL,
    settings TEXT NOT NULL,
    at BIGINT NOT NULL,
    by_account BIGINT
);

-- How far the clicks of each buffer were rolled up: their ids are the buffer's number and a counter.
CREATE TABLE link_click_marks (
    buffer BIGINT PRIMARY KEY NOT NULL,
    click BIGINT NOT NULL
);

CREATE TABLE link_stats (
    link BIGINT NOT NULL,
    dimension INTEGER NOT NULL,
    grain INTEGER NOT NULL,
    bucket BIGINT NOT NULL,
    value TEXT NOT NULL,
    clicks BIGINT NOT NULL,
    PRIMARY KEY (link, dimension, grain, bucket, value)
);
CREATE INDEX link_stats_by_age ON link_stats (grain, bucket);

-- Who came on which day, as a hash whose salt is forgotten after the day.
CREATE TABLE link_visitors (
    day BIGINT NOT NULL,
    link BIGINT NOT NULL,
    visitor BIGINT NOT NULL,
    PRIMARY KEY (day, link, visitor)
);
CREATE TABLE link_salts (
    day BIGINT PRIMARY KEY NOT NULL,
    salt TEXT NOT NULL
);

CREATE TABLE link_clicks (
    link BIGINT NOT NULL,
    at BIGINT NOT NULL,
    buffer BIGINT NOT NULL,
    click BIGINT NOT NULL,
    visitor BIGINT NOT NULL,
    referrer TEXT NOT NULL,
    device TEXT NOT NULL,
    os TEXT NOT NULL,
    browser TEXT NOT NULL,
    language TEXT NOT NULL,
    country TEXT NOT NULL,
    bot TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (link, at, buffer, click)
);
CREATE INDEX link_clicks_by_age ON link_clicks (at);
