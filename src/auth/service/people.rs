//! Who there is: finding users, and what is noted of them.

use super::Accounts;
use crate::auth::audit::note;
use crate::auth::credentials::Email;
use crate::auth::error::AuthError;
use crate::auth::secret::Secret;
use crate::auth::vault::{random, same};
use crate::domain::ids::AccountId;
use crate::persistence::audit::Entry;
use crate::persistence::pictures;
use crate::persistence::sessions::{self, SessionId};
use crate::persistence::users::{self, Role, User};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Characters of a name, and bytes of a picture's address, at most.
const LONGEST_NAME: usize = 64;
const LONGEST_PHOTO: usize = 1024;
/// The database's lock of a user's profile; the account number follows.
const PROFILES: i64 = 0x7072_6f66 << 32;

fn is_name(name: &str) -> bool {
    name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

/// An uploaded picture has an address on our own origin.
fn is_photo(photo: &str) -> bool {
    let linked =
        photo.is_empty() || ["https://", "http://", pictures::ADDRESS].iter().any(|way| photo.starts_with(way));
    linked && photo.len() <= LONGEST_PHOTO && !photo.chars().any(|c| c.is_control() || c == ' ')
}

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

    /// Changes what a user calls itself and the address of its picture, as far as they are given; either may be empty.
    /// Gives the user as it was and as it is.
    ///
    /// # Errors
    /// [`AuthError::BadProfile`], [`AuthError::UnknownUser`], or a failure.
    pub async fn set_profile(
        &self,
        user: AccountId,
        name: Option<&str>,
        photo: Option<&str>,
    ) -> Result<(User, User), AuthError> {
        let (name, photo) = (name.map(|name| name.trim().to_owned()), photo.map(|photo| photo.trim().to_owned()));
        if !name.as_deref().is_none_or(is_name) || !photo.as_deref().is_none_or(is_photo) {
            return Err(AuthError::BadProfile);
        }
        let changed = self.write(move |conn| {
            // One change after the other: whoever is told what there was before removes it.
            conn.lock(PROFILES | i64::from(user.0))?;
            let Some(before) = users::by_id(conn, user)? else { return Ok(None) };
            let (name, photo) = (name.as_ref().unwrap_or(&before.name), photo.as_ref().unwrap_or(&before.photo));
            users::set_profile(conn, user, name, photo)?;
            let after = User { name: name.clone(), photo: photo.clone(), ..before.clone() };
            Ok(Some((before, after)))
        });
        changed.await?.ok_or(AuthError::UnknownUser)
    }

    /// A name for a picture that this user alone may put there. It is as good as random, and half of it is a MAC.
    ///
    /// # Errors
    /// [`AuthError::Interrupted`] when the random source fails.
    pub fn new_picture(&self, user: AccountId) -> Result<Uuid, AuthError> {
        let random: [u8; 8] = random().ok_or(AuthError::Interrupted)?;
        Ok(self.picture(user, random))
    }

    /// Whether a name for a picture was given to this user.
    pub fn may_put_picture(&self, user: AccountId, id: Uuid) -> bool {
        let Some(random) = id.as_bytes().first_chunk() else { return false };
        same(self.picture(user, *random).as_bytes(), id.as_bytes())
    }

    fn picture(&self, user: AccountId, random: [u8; 8]) -> Uuid {
        let mac = self.vault().digest("profile picture", &[&user.0.to_le_bytes(), &random]);
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(random.iter().chain(&mac)).for_each(|(byte, made)| *byte = *made);
        Uuid::from_bytes(bytes)
    }

    /// The password of a demo bot of this venue: nobody knows it who does not know the venue's key.
    pub fn bot_password(&self, role: &str) -> Secret {
        let digest = self.vault().digest("demo bot", &[role.as_bytes()]);
        Secret::new(URL_SAFE_NO_PAD.encode(digest))
    }

    /// Makes new users' numbers begin at `first`, since the database gave one below it, and says what whoever would
    /// have got it is told.
    pub(in crate::auth) async fn number_refused(&self, first: AccountId) -> AuthError {
        let newest = AccountId(first.0.saturating_sub(1));
        match self.write(move |conn| users::begin_above(conn, newest)).await {
            Ok(()) => tracing::error!(
                newest = newest.0,
                "the database would have given a new user the number of an account that the log knows; further ones \
                 get numbers above the newest"
            ),
            Err(error) => tracing::error!(
                newest = newest.0,
                %error,
                "the database would have given a new user the number of an account that the log knows, and still may; \
                 such a user is refused"
            ),
        }
        AuthError::StoreUnavailable
    }

    /// Takes back a user that was made a moment ago, since there was an account of its number before, and makes new
    /// users' numbers begin above `newest`. Whoever has signed in again meanwhile stays, since that opens the account
    /// as well. Says whether the user was taken back.
    ///
    /// # Errors
    /// A failure: the user may be there still.
    pub async fn take_back(&self, user: AccountId, newest: AccountId) -> Result<bool, AuthError> {
        let now = self.now();
        let ended = self.end_if(move |conn| {
            if users::came_in_again(conn, user)? {
                return Ok(None);
            }
            let ended = sessions::revoke_all_of(conn, user, None, now)?;
            users::remove(conn, user)?;
            Ok(Some(ended))
        });
        if ended.await?.is_none() {
            return Ok(false);
        }
        self.write(move |conn| users::begin_above(conn, newest)).await?;
        Ok(true)
    }

    /// Gives a user another role and ends the user's sessions, since their tokens name the old
    /// one. Says which sessions ended.
    ///
    /// # Errors
    /// [`AuthError::UnknownUser`], or a failure.
    pub async fn set_role(&self, user: AccountId, role: Role) -> Result<Vec<SessionId>, AuthError> {
        self.set_role_noted(user, role, |_| None).await
    }

    /// The same, with what is to be remembered of it, stored together with the role; `noted` is told who the user was
    /// before.
    ///
    /// # Errors
    /// As [`Accounts::set_role`].
    pub async fn set_role_noted(
        &self,
        user: AccountId,
        role: Role,
        noted: impl FnOnce(&User) -> Option<Entry> + Send + 'static,
    ) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        let ended = self.end_if(move |conn| {
            let Some(before) = users::by_id(conn, user)? else { return Ok(None) };
            users::set_role(conn, user, role)?;
            let ended = sessions::revoke_all_of(conn, user, None, now)?;
            if let Some(entry) = noted(&before) {
                note(conn, &entry, now)?;
            }
            Ok(Some(ended))
        });
        ended.await?.ok_or(AuthError::UnknownUser)
    }
}
