-- Letters with and without accents are different ones, as they are on PostgreSQL.
DROP TABLE chat_words;
CREATE VIRTUAL TABLE chat_words USING fts5 (
    body, content = 'chat_messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO chat_words (chat_words) VALUES ('rebuild');
