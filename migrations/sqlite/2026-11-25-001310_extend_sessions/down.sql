DROP TABLE mailed_codes;
ALTER TABLE users DROP COLUMN photo;
ALTER TABLE users DROP COLUMN name;
ALTER TABLE sessions DROP COLUMN address;
ALTER TABLE sessions DROP COLUMN refresh_number;
ALTER TABLE sessions DROP COLUMN token_expires_at;
