//! Who there is: finding users, and what is noted of them.

use super::Accounts;
use crate::auth::credentials::Email;
use crate::auth::error::AuthError;
use crate::domain::ids::AccountId;
use crate::persistence::sessions::{self, SessionId};
use crate::persistence::users::{self, Role, User};

/// Characters of a name, and bytes of a picture's address, at most.
const LONGEST_NAME: usize = 64;
const LONGEST_PHOTO: usize = 1024;

impl Accounts {
    /// The user with this id.
    ///
    /// # Errors
    /// [`AuthError::UnknownUser`], or a failure.
    pub async fn user(&self, id: AccountId) -> Result<User, AuthError> {
        self.read(move |conn| users::by_id(conn, id)).await?.ok_or(AuthError::UnknownUser)
    }

    /// The user with this e-mail address.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::UnknownUser`], or a failure.
    pub async fn user_by_email(&self, email: &str) -> Result<User, AuthError> {
        let email = Email::parse(email)?;
        let found = self.read(move |conn| users::by_email(conn, email.as_str())).await?;
        found.map(|credentials| credentials.user).ok_or(AuthError::UnknownUser)
    }

    /// Users whose address contains this text, by rising id above `above`, `limit` at most.
    ///
    /// # Errors
    /// A failure.
    pub async fn search_users(&self, text: String, above: AccountId, limit: i64) -> Result<Vec<User>, AuthError> {
        self.read(move |conn| users::search(conn, &text, above, limit)).await
    }

    /// Notes whether an account is frozen, for looking at; the ledger enforces it.
    ///
    /// # Errors
    /// A failure.
    pub async fn note_frozen(&self, user: AccountId, frozen: bool) -> Result<(), AuthError> {
        self.write(move |conn| users::set_frozen(conn, user, frozen)).await
    }

    /// Changes what a user calls itself and the address of its picture; either may be empty.
    ///
    /// # Errors
    /// [`AuthError::BadProfile`], or a failure.
    pub async fn set_profile(&self, user: AccountId, name: &str, photo: &str) -> Result<User, AuthError> {
        let name = name.trim().to_owned();
        let photo = photo.trim().to_owned();
        let shown = name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control);
        // An uploaded picture has an address on our own origin.
        let linked =
            photo.is_empty() || ["https://", "http://", "/api/files/"].iter().any(|way| photo.starts_with(way));
        if !shown || !linked || photo.len() > LONGEST_PHOTO || photo.chars().any(|c| c.is_control() || c == ' ') {
            return Err(AuthError::BadProfile);
        }
        let found = self.write(move |conn| {
            users::set_profile(conn, user, &name, &photo)?;
            users::by_id(conn, user)
        });
        found.await?.ok_or(AuthError::UnknownUser)
    }

    /// Gives a user another role and ends the user's sessions, since their tokens name the old
    /// one. Says which sessions ended.
    ///
    /// # Errors
    /// [`AuthError::UnknownUser`], or a failure.
    pub async fn set_role(&self, user: AccountId, role: Role) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        self.user(user).await?;
        self.end(move |conn| {
            users::set_role(conn, user, role)?;
            sessions::revoke_all_of(conn, user, None, now)
        })
        .await
    }
}
