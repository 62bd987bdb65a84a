DROP TABLE identities;
DROP TABLE recovery_codes;
DROP TABLE totp;
