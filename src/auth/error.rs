//! Why somebody was not let in.

use super::credentials::Weakness;
use crate::persistence::users::Role;
use thiserror::Error;

/// A refusal or failure of sign-up, sign-in or of a token. The texts are meant for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    /// Not the shape of an e-mail address.
    #[error("This does not look like an e-mail address.")]
    InvalidEmail,
    /// The password breaks a rule.
    #[error("{0}")]
    WeakPassword(Weakness),
    /// There is an account with this address already.
    #[error("An account with this e-mail address exists already.")]
    EmailTaken,
    /// Unknown e-mail or wrong password; which of the two is not told.
    #[error("The e-mail address or the password is wrong.")]
    WrongCredentials,
    /// Too many failed sign-ins for this address in a row.
    #[error("Too many failed attempts. Please try again in {retry_after_s} seconds.")]
    TooManyAttempts {
        /// Whole seconds to wait, at least 1.
        retry_after_s: u32,
    },
    /// No token was sent.
    #[error("Please sign in first.")]
    TokenMissing,
    /// The token's time is over.
    #[error("Your session has expired. Please sign in again.")]
    TokenExpired,
    /// The session was signed out.
    #[error("Your session was ended. Please sign in again.")]
    TokenRevoked,
    /// The token was not issued by this venue, or was altered.
    #[error("The access token is not valid. Please sign in again.")]
    TokenInvalid,
    /// The caller's role does not allow this.
    #[error("Your role does not allow this.")]
    RoleTooLow {
        /// The least role that would do.
        needed: Role,
    },
    /// No user has this id or address.
    #[error("There is no such user.")]
    UnknownUser,
    /// The queue for password checks or for the store is full.
    #[error("Too many people are signing in at this moment. Please try again in a few seconds.")]
    Overloaded,
    /// The store of users cannot be read or written now.
    #[error("Accounts are out of reach at the moment. Please try again in a few seconds.")]
    StoreUnavailable,
    /// The work broke off before there was an outcome: a bug, logged where it happened.
    #[error("Something went wrong on our side. Please try again.")]
    Interrupted,
}

/// Whole seconds after which an overloaded or unavailable service is worth another try.
const RETRY_SOON_S: u32 = 2;

impl AuthError {
    /// The HTTP status that fits.
    pub fn status(&self) -> u16 {
        match self {
            AuthError::InvalidEmail | AuthError::WeakPassword(_) => 400,
            AuthError::WrongCredentials
            | AuthError::TokenMissing
            | AuthError::TokenExpired
            | AuthError::TokenRevoked
            | AuthError::TokenInvalid => 401,
            AuthError::RoleTooLow { .. } => 403,
            AuthError::UnknownUser => 404,
            AuthError::EmailTaken => 409,
            AuthError::TooManyAttempts { .. } => 429,
            AuthError::Interrupted => 500,
            AuthError::Overloaded | AuthError::StoreUnavailable => 503,
        }
    }

    /// A name for programs; it never changes.
    pub fn code(&self) -> &'static str {
        match self {
            AuthError::InvalidEmail => "invalid_email",
            AuthError::WeakPassword(_) => "weak_password",
            AuthError::EmailTaken => "email_taken",
            AuthError::WrongCredentials => "wrong_credentials",
            AuthError::TooManyAttempts { .. } => "too_many_attempts",
            AuthError::TokenMissing => "token_missing",
            AuthError::TokenExpired => "token_expired",
            AuthError::TokenRevoked => "token_revoked",
            AuthError::TokenInvalid => "token_invalid",
            AuthError::RoleTooLow { .. } => "role_too_low",
            AuthError::UnknownUser => "unknown_user",
            AuthError::Overloaded => "overloaded",
            AuthError::StoreUnavailable => "store_unavailable",
            AuthError::Interrupted => "interrupted",
        }
    }

    /// Whole seconds for a `Retry-After` header, when waiting helps.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            AuthError::TooManyAttempts { retry_after_s } => Some(*retry_after_s),
            AuthError::Overloaded | AuthError::StoreUnavailable => Some(RETRY_SOON_S),
            AuthError::InvalidEmail
            | AuthError::WeakPassword(_)
            | AuthError::EmailTaken
            | AuthError::WrongCredentials
            | AuthError::TokenMissing
            | AuthError::TokenExpired
            | AuthError::TokenRevoked
            | AuthError::TokenInvalid
            | AuthError::RoleTooLow { .. }
            | AuthError::UnknownUser
            | AuthError::Interrupted => None,
        }
    }
}
