-- How far outcomes were published for other services; one row.
CREATE TABLE bridge_watermark (
    id INTEGER PRIMARY KEY NOT NULL,
    position BIGINT NOT NULL
);
INSERT INTO bridge_watermark (id, position) VALUES (1, 0);
