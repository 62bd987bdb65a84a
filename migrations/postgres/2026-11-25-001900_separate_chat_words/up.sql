-- Punctuation separates words, as it does in queries and on SQLite: `agora.example` is two words, not the name of a host.
DROP INDEX chat_words;
CREATE INDEX chat_words ON chat_messages
    USING GIN (to_tsvector('simple', regexp_replace(body, '[[:punct:]]+', ' ', 'g')));
