-- Addresses whose mail their user has shown to read: by a mailed code, or because a provider says so. Mail that nobody
-- has asked for goes to no other.
CREATE TABLE confirmed_addresses (
    user_id BIGINT PRIMARY KEY NOT NULL REFERENCES users (id),
    -- It counts only while it is still the user's.
    email TEXT NOT NULL,
    confirmed_at BIGINT NOT NULL
);

-- Those of whom it is known already: they took a code from their mail, or a provider vouched for the address. A
-- provider that named none left one that no mail reaches. `detail` is JSON without spaces, and quotes within its texts
-- are escaped, so no name of a device reads like the field of a provider.
INSERT INTO confirmed_addresses (user_id, email, confirmed_at)
SELECT u.id, u.email, u.created_at
FROM users u
WHERE u.email NOT LIKE '%@users.invalid'
  AND EXISTS (
      SELECT 1 FROM audit a
      WHERE a.subject = u.id
        AND (a.action IN ('email_changed', 'password_reset')
             OR (a.action = 'sign_up' AND a.detail LIKE '%"provider":"%'))
  );
