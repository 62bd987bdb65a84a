//! Passwords of things, not of people: hashed and checked by the same workers in the same way.

use super::passwords::is_hash;
use super::{Accounts, AuthError, Secret};

impl Accounts {
    /// Whether a text is such a string, and costs no more to check than ours.
    pub fn takes_shared_hash(text: &str) -> bool {
        is_hash(text)
    }

    /// The PHC string of a password that people share, such as that of a link.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`] when too many are waiting, [`AuthError::Interrupted`].
    pub async fn hash_shared(&self, password: Secret) -> Result<String, AuthError> {
        self.passwords().hash(password).await
    }

    /// Whether a password fits such a string.
    ///
    /// # Errors
    /// As [`Accounts::hash_shared`].
    pub async fn fits_shared(&self, password: Secret, hash: String) -> Result<bool, AuthError> {
        self.passwords().fits(password, Some(hash)).await
    }
}
