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
    /// The refresh token was used before, so its session was ended.
    #[error("This refresh token was used before, so the session was ended. Please sign in again.")]
    TokenReused,
    /// A request that is authenticated by a cookie lacks what only our own pages know.
    #[error("The X-CSRF-Token header is missing or wrong.")]
    CsrfToken,
    /// The mailed code is wrong, was used, or is too old; or nobody has this address.
    #[error("The code is wrong or does not count any more.")]
    WrongCode,
    /// This server cannot send mail.
    #[error("This server cannot send mail. Ask its operator for a new password.")]
    MailNotConfigured,
    /// The user has no such session.
    #[error("NotFound")]
    NoSuchSession,
    /// The password is right; a code of the second factor is needed too.
    #[error("Please enter the code of your authenticator as well.")]
    SecondFactorRequired,
    /// The user has a second factor already.
    #[error("There is a second factor already; remove it first.")]
    SecondFactorPresent,
    /// There is no such provider, or the user is not linked to it.
    #[error("NotFound")]
    NoSuchProvider,
    /// The provider cannot be reached, or speaks nonsense.
    #[error("The sign-in provider cannot be reached. Please try again later.")]
    ProviderUnavailable,
    /// The provider does not confirm who this is.
    #[error("The sign-in provider did not confirm who you are.")]
    ProviderRefused,
    /// The way to the provider began in another browser, or too long ago.
    #[error("This sign-in was not begun here, or took too long. Please begin again.")]
    ProviderFlow,
    /// Without this identity the user could not sign in any more.
    #[error("This is your only way to sign in.")]
    LastWayIn,
    /// The identity belongs to another user, or the user has another one there.
    #[error("That identity is linked to an account already.")]
    IdentityTaken,
    /// Not an outlet, or not an address for one.
    #[error("The outlet must be email, line, or webhook with an http or https address.")]
    BadOutlet,
    /// The user has no such outlet, alert or message.
    #[error("NotFound")]
    NoSuchOutlet,
    /// The user waits for as many prices as is allowed.
    #[error("There are too many price alerts already; remove one first.")]
    TooManyAlerts,
    /// There is no setting of this name.
    #[error("NotFound")]
    NoSuchSetting,
    /// Somebody else has changed the setting meanwhile.
    #[error("The setting has changed meanwhile; look at it again.")]
    SettingChanged,
    /// An administrator has closed sign-up.
    #[error("New accounts cannot be made at the moment.")]
    SignUpClosed,
    /// A name or picture that cannot be shown.
    #[error("The name may have 64 characters, the photo must be an http or https address.")]
    BadProfile,
    /// The token was not issued by this venue, or was altered.
    #[error("The access token is not valid. Please sign in again.")]
    TokenInvalid,
    /// The caller's role does not allow this.
    #[error("Your role does not allow this.")]
    RoleTooLow {
        /// The least role that would do.
        needed: Role,
    },
    /// A header of a signed request is missing or empty.
    #[error("{0} header is required")]
    HeaderMissing(&'static str),
    /// No API key has this id, or it expired or was revoked.
    #[error("Invalid API Key")]
    UnknownKey,
    /// The signature is not that of this request with this key.
    #[error("invalid signature")]
    WrongSignature,
    /// Not the passphrase of this key.
    #[error("Invalid Passphrase")]
    WrongPassphrase,
    /// The timestamp is more than 30 s away from the venue's clock.
    #[error("request timestamp expired")]
    StaleTimestamp,
    /// The timestamp is not a number of seconds.
    #[error("invalid timestamp")]
    BadTimestamp,
    /// This signature was used before.
    #[error("request timestamp expired: this signature was used before")]
    Replayed,
    /// The key may not be used from this address.
    #[error("Forbidden")]
    NetworkNotAllowed,
    /// The key, or the way of signing in, does not allow this.
    #[error("Forbidden")]
    Forbidden,
    /// A text holds U+0000, which the store keeps in no text.
    #[error("A text must not hold the character NUL.")]
    NulCharacter,
    /// A choice for a new key is unfit.
    #[error("{0}")]
    BadKey(KeyFlaw),
    /// The user has no such key.
    #[error("NotFound")]
    NoSuchKey,
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

/// Whole seconds after which an unavailable service is worth another try.
const RETRY_SOON_S: u32 = 2;
/// Whole seconds after which those who were turned away together come back, each after another number of them, so that
/// they do not come back together.
const RETRY_SPREAD_S: u32 = 8;

impl AuthError {
    /// The HTTP status that fits.
    pub fn status(&self) -> u16 {
        match self {
            AuthError::InvalidEmail
            | AuthError::WeakPassword(_)
            | AuthError::StaleTimestamp
            | AuthError::BadTimestamp
            | AuthError::Replayed
            | AuthError::WrongCode
            | AuthError::ProviderFlow
            | AuthError::BadOutlet
            | AuthError::TooManyAlerts
            | AuthError::BadProfile
            | AuthError::NulCharacter
            | AuthError::BadKey(_) => 400,
            AuthError::HeaderMissing(_)
            | AuthError::UnknownKey
            | AuthError::WrongSignature
            | AuthError::WrongPassphrase
            | AuthError::WrongCredentials
            | AuthError::TokenMissing
            | AuthError::TokenExpired
            | AuthError::TokenRevoked
            | AuthError::TokenReused
            | AuthError::SecondFactorRequired
            | AuthError::ProviderRefused
            | AuthError::TokenInvalid => 401,
            AuthError::RoleTooLow { .. }
            | AuthError::NetworkNotAllowed
            | AuthError::CsrfToken
            | AuthError::SignUpClosed
            | AuthError::Forbidden => 403,
            AuthError::UnknownUser
            | AuthError::NoSuchKey
            | AuthError::NoSuchSession
            | AuthError::NoSuchProvider
            | AuthError::NoSuchOutlet
            | AuthError::NoSuchSetting => 404,
            AuthError::EmailTaken
            | AuthError::SettingChanged
            | AuthError::SecondFactorPresent
            | AuthError::LastWayIn
            | AuthError::IdentityTaken => 409,
            AuthError::TooManyAttempts { .. } => 429,
            AuthError::Interrupted => 500,
            AuthError::Overloaded
            | AuthError::StoreUnavailable
            | AuthError::MailNotConfigured
            | AuthError::ProviderUnavailable => 503,
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
            AuthError::TokenReused => "token_reused",
            AuthError::CsrfToken => "csrf_token",
            AuthError::WrongCode => "wrong_code",
            AuthError::MailNotConfigured => "mail_not_configured",
            AuthError::NoSuchSession
            | AuthError::NoSuchSetting
            | AuthError::NoSuchProvider
            | AuthError::NoSuchOutlet => "not_found",
            AuthError::ProviderUnavailable => "provider_unavailable",
            AuthError::ProviderRefused => "provider_refused",
            AuthError::ProviderFlow => "provider_flow",
            AuthError::IdentityTaken => "identity_taken",
            AuthError::LastWayIn => "last_way_in",
            AuthError::BadOutlet => "invalid_outlet",
            AuthError::TooManyAlerts => "too_many_alerts",
            AuthError::SecondFactorRequired => "second_factor_required",
            AuthError::SecondFactorPresent => "second_factor_present",
            AuthError::SettingChanged => "setting_changed",
            AuthError::SignUpClosed => "sign_up_closed",
            AuthError::BadProfile => "invalid_profile",
            AuthError::TokenInvalid => "token_invalid",
            AuthError::RoleTooLow { .. } => "role_too_low",
            AuthError::HeaderMissing(_) => "header_missing",
            AuthError::UnknownKey => "unknown_key",
            AuthError::WrongSignature => "wrong_signature",
            AuthError::WrongPassphrase => "wrong_passphrase",
            AuthError::StaleTimestamp => "stale_timestamp",
            AuthError::BadTimestamp => "invalid_timestamp",
            AuthError::Replayed => "replayed",
            AuthError::NetworkNotAllowed => "network_not_allowed",
            AuthError::Forbidden => "forbidden",
            AuthError::NulCharacter => "invalid_text",
            AuthError::BadKey(flaw) => flaw.code(),
            AuthError::NoSuchKey => "not_found",
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
            AuthError::MailNotConfigured => None,
            AuthError::Overloaded => Some(rand::random_range(1..=RETRY_SPREAD_S)),
            _ if self.status() == 503 => Some(RETRY_SOON_S),
            _ => None,
        }
    }
}

/// What is wrong with the choices for a new API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyFlaw {
    /// Too short, too long, or not fit for a header.
    #[error("The passphrase needs 1 to 100 printable ASCII characters, without a space at either end.")]
    Passphrase,
    /// Too long, or not fit to be shown.
    #[error("The label may have at most 100 characters, and no control characters.")]
    Label,
    /// Nothing is allowed.
    #[error("The key needs at least one permission: view, trade, transfer or links.")]
    NoScope,
    /// Unreadable, or too many.
    #[error("The allow-list takes at most 50 addresses or networks like 10.0.0.0/8.")]
    Network,
    /// In the past.
    #[error("The key would have expired already.")]
    Expired,
    /// The user has the most that are allowed.
    #[error("There are too many keys already; revoke one first.")]
    TooMany,
}

impl KeyFlaw {
    fn code(self) -> &'static str {
        match self {
            KeyFlaw::Passphrase => "invalid_passphrase",
            KeyFlaw::Label => "invalid_label",
            KeyFlaw::NoScope => "invalid_permissions",
            KeyFlaw::Network => "invalid_networks",
            KeyFlaw::Expired => "invalid_expiry",
            KeyFlaw::TooMany => "too_many_keys",
        }
    }
}
