-- Pictures that users have uploaded for their profiles. The pictures themselves are objects named by their id.
CREATE TABLE profile_pictures (
    id TEXT PRIMARY KEY NOT NULL,
    account BIGINT NOT NULL,
    media_type TEXT NOT NULL,
    uploaded_at BIGINT NOT NULL
);
CREATE INDEX profile_pictures_by_account ON profile_pictures (account, uploaded_at);
