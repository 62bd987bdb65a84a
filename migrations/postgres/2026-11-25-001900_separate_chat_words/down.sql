DROP INDEX chat_words;
CREATE INDEX chat_words ON chat_messages USING GIN (to_tsvector('simple', body));
