//! Another password: by the old one, or by a code that was mailed.
//!
//! Whether an address has an account is told to nobody: asking for a code answers the same at once, and
//! the work goes on behind. A code counts once, for half an hour and five tries.

use super::credentials::{Email, check_new_password};
use super::error::AuthError;
use super::secret::Secret;
use super::service::Accounts;
use super::shared::Target;
use super::vault::{random, same};
use crate::domain::ids::AccountId;
use crate::domain::time::{MINUTE, Timestamp};
use crate::persistence::audit::Entry;
use crate::persistence::mailed_codes as store;
use crate::persistence::sessions::{self, SessionId};
use crate::persistence::users;
use std::net::IpAddr;

/// How long a mailed code counts, µs.
pub(super) const CODE_LIFETIME: i64 = 30 * MINUTE;
/// Wrong tries after which a code counts no more.
const MOST_TRIES: i32 = 5;
/// Digits of a code. Five tries in a thousand million, and a new code at most once a minute.
const DIGITS: usize = 9;
/// What a code is for.
pub(super) const RESET: &str = "reset";

impl Accounts {
    /// Changes the password of somebody who knows the old one, and ends the other sessions.
    ///
    /// # Errors
    /// [`AuthError::WrongCredentials`], [`AuthError::TooManyAttempts`], [`AuthError::WeakPassword`], or a failure.
    pub async fn change_password(
        &self,
        user: AccountId,
        kept: SessionId,
        old: Secret,
        new: Secret,
    ) -> Result<Vec<SessionId>, AuthError> {
        let email = Email::parse(&self.user(user).await?.email)?;
        check_new_password(&new, &email)?;
        self.prove_guarded(&email, old).await?;
        let hash = self.passwords().hash(new).await?;
        let now = self.now();
        self.end(move |conn| {
            users::set_password(conn, user, &hash)?;
            store::remove(conn, user, RESET)?;
            sessions::revoke_all_of(conn, user, Some(kept), now)
        })
        .await
    }

    /// Mails a code with which the password can be set anew. The answer tells nothing about whether
    /// the address is known; at most one code a minute goes to one address.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::MailNotConfigured`], [`AuthError::TooManyAttempts`].
    pub fn forgot_password(&self, email: &str, address: Option<IpAddr>) -> Result<(), AuthError> {
        let email = Email::parse(email)?;
        if !self.settings().mailer.works() {
            return Err(AuthError::MailNotConfigured);
        }
        self.mail_guard().admit(&email, self.now())?;
        self.tell_guess(Target::Mail(email.to_string()), false);
        let accounts = self.clone();
        actix_web::rt::spawn(async move {
            if let Err(error) = accounts.mail_code(&email, address).await {
                tracing::warn!(%error, "a code could not be mailed");
            }
        });
        Ok(())
    }

    async fn mail_code(&self, email: &Email, address: Option<IpAddr>) -> anyhow::Result<()> {
        let Ok(user) = self.user_by_email(email.as_str()).await else { return Ok(()) };
        let (subject, detail) = (Some(user.id), serde_json::json!({}));
        self.record(Entry { action: "password_reset_requested", actor: None, subject, address, detail }).await;
        let code = random_code().ok_or(AuthError::Interrupted)?;
        let digest = self.code_digest(user.id, &code);
        let expires_at = self.now() + CODE_LIFETIME;
        self.write(move |conn| store::put(conn, user.id, RESET, &digest, expires_at)).await?;
        let text = format!(
            "Somebody, hopefully you, asked for a new password for this address.\n\n\
             Your code: {code}\n\nIt counts for 30 minutes, once. If you did not ask for it, do nothing.\n"
        );
        self.settings().mailer.send(email.as_str(), "Your code for a new password", text).await?;
        Ok(())
    }

    fn code_digest(&self, user: AccountId, code: &str) -> Vec<u8> {
        self.vault().digest("reset code", &[&user.0.to_le_bytes(), code.as_bytes()]).to_vec()
    }

    /// Sets the password by a mailed code and ends all sessions; says whose and which.
    ///
    /// # Errors
    /// [`AuthError::WrongCode`] for a wrong, used or old code and for an unknown address alike;
    /// [`AuthError::WeakPassword`]; [`AuthError::TooManyAttempts`]; or a failure.
    pub async fn reset_password(
        &self,
        email: &str,
        code: &str,
        new: Secret,
    ) -> Result<(AccountId, Vec<SessionId>), AuthError> {
        let email = Email::parse(email)?;
        check_new_password(&new, &email)?;
        self.code_guard().admit(&email, self.now())?;
        // Hashed first, so that a right code takes no longer than a wrong one.
        let hash = self.passwords().hash(new).await?;
        let now = self.now();
        let wanted = email.clone();
        let user = self.read(move |conn| users::by_email(conn, wanted.as_str())).await?.map(|found| found.user);
        let id = user.map_or(AccountId(0), |user| user.id);
        let digest = self.code_digest(id, code.trim());
        let right = self.write(move |conn| take_code(conn, id, RESET, &digest, now)).await?;
        self.tell_guess(Target::Code(email.to_string()), right);
        if !right {
            return Err(AuthError::WrongCode);
        }
        self.code_guard().succeeded(&email);
        let ended = self.end(move |conn| {
            users::set_password(conn, id, &hash)?;
            sessions::revoke_all_of(conn, id, None, now)
        });
        Ok((id, ended.await?))
    }
}

/// Whether the code is right; a right one is used up, a wrong one counted.
pub(super) fn take_code(
    conn: &mut crate::persistence::db::Connection,
    user: AccountId,
    purpose: &str,
    digest: &[u8],
    now: Timestamp,
) -> diesel::QueryResult<bool> {
    let Some(stored) = store::get(conn, user, purpose)? else { return Ok(false) };
    if stored.attempts >= MOST_TRIES || now >= stored.expires_at {
        return Ok(false);
    }
    if !same(&stored.code, digest) {
        store::missed(conn, user, purpose)?;
        return Ok(false);
    }
    store::remove(conn, user, purpose).map(|()| true)
}

/// Decimal digits, each as likely as the other.
pub(super) fn random_code() -> Option<String> {
    let number = u64::from_le_bytes(random()?);
    // 2^64 is so much more than 10^9 that the bias is below one in 10^10.
    let code = number % 10_u64.pow(DIGITS as u32);
    Some(format!("{code:0DIGITS$}"))
}
