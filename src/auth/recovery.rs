//! Another password: by the old one, or by a code that was mailed.
//!
//! Whether an address has an account is told to nobody: asking for a code answers the same at once, and
//! the work goes on behind. A code counts once, for half an hour and five tries.

use super::audit::{by_owner, note};
use super::credentials::{Email, check_new_password};
use super::error::AuthError;
use super::secret::Secret;
use super::service::Accounts;
use super::sessions::ids;
use super::shared::Target;
use super::vault::{random, same};
use crate::domain::ids::AccountId;
use crate::domain::time::{MINUTE, Timestamp};
use crate::persistence::addresses;
use crate::persistence::audit::Entry;
use crate::persistence::mailed_codes as store;
use crate::persistence::sessions::{self, SessionId};
use crate::persistence::users;
use serde_json::json;
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
    /// Changes the password of somebody who knows the old one, and ends the other sessions; says which. `from` is
    /// whence it is wanted.
    ///
    /// # Errors
    /// [`AuthError::WrongCredentials`], [`AuthError::TooManyAttempts`], [`AuthError::WeakPassword`], or a failure.
    pub async fn change_password(
        &self,
        user: AccountId,
        kept: SessionId,
        old: Secret,
        new: Secret,
        from: Option<IpAddr>,
    ) -> Result<Vec<SessionId>, AuthError> {
        let email = Email::parse(&self.user(user).await?.email)?;
        check_new_password(&new, &email)?;
        let old = self.prove_guarded(&email, old).await?.password_hash;
        let hash = self.passwords().hash(new).await?;
        let now = self.now();
        let ended = self.end_if(move |conn| {
            // Whoever has set another one meanwhile, maybe by a mailed code, has not been asked for it.
            if !users::replace_password(conn, user, &old, &hash)? {
                return Ok(None);
            }
            store::remove(conn, user, RESET)?;
            let ended = sessions::revoke_all_of(conn, user, Some(kept), now)?;
            let detail = json!({"ended_sessions": ids(&ended)});
            note(conn, &by_owner("password_changed", user, from, detail), now)?;
            Ok(Some(ended))
        });
        ended.await?.ok_or(AuthError::WrongCredentials)
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
        let (subject, detail) = (Some(user.id), json!({}));
        self.record(Entry { action: "password_reset_requested", actor: None, subject, address, detail }).await;
        let code = random_code().ok_or(AuthError::Interrupted)?;
        let digest = self.code_digest(user.id, email, &code);
        let expires_at = self.now() + CODE_LIFETIME;
        self.write(move |conn| store::put(conn, user.id, RESET, &digest, expires_at)).await?;
        let text = format!(
            "Somebody, hopefully you, asked for a new password for this address.\n\n\
             Your code: {code}\n\nIt counts for 30 minutes, once. If you did not ask for it, do nothing.\n"
        );
        self.settings().mailer.send(email.as_str(), "Your code for a new password", text).await?;
        Ok(())
    }

    /// A code counts while its user has the address that it was mailed to.
    fn code_digest(&self, user: AccountId, email: &Email, code: &str) -> Vec<u8> {
        let parts = [&user.0.to_le_bytes()[..], email.as_str().as_bytes(), code.as_bytes()];
        self.vault().digest("reset code", &parts).to_vec()
    }

    /// Counts a try at a mailed code, here and on the other nodes, once it is known what became of it.
    pub(super) fn judge_code<T>(&self, email: &Email, outcome: &Result<T, AuthError>) {
        if matches!(outcome, Ok(_) | Err(AuthError::WrongCode)) {
            self.tell_guess(Target::Code(email.to_string()), outcome.is_ok());
        }
        self.code_guard().settle(email, outcome);
    }

    /// Sets the password by a mailed code and ends all sessions; says whose and which. `address` is whence it is wanted.
    ///
    /// # Errors
    /// [`AuthError::WrongCode`] for a wrong, used or old code and for an unknown address alike;
    /// [`AuthError::WeakPassword`]; [`AuthError::TooManyAttempts`]; or a failure.
    pub async fn reset_password(
        &self,
        email: &str,
        code: &str,
        new: Secret,
        address: Option<IpAddr>,
    ) -> Result<(AccountId, Vec<SessionId>), AuthError> {
        let email = Email::parse(email)?;
        check_new_password(&new, &email)?;
        self.code_guard().admit(&email, self.now())?;
        let reset = self.reset_by_code(&email, code, new, address).await;
        self.judge_code(&email, &reset);
        reset
    }

    async fn reset_by_code(
        &self,
        email: &Email,
        code: &str,
        new: Secret,
        address: Option<IpAddr>,
    ) -> Result<(AccountId, Vec<SessionId>), AuthError> {
        // Hashed first, so that a right code takes no longer than a wrong one.
        let hash = self.passwords().hash(new).await?;
        let now = self.now();
        let wanted = email.clone();
        let found = self.read(move |conn| users::by_email(conn, wanted.as_str())).await?;
        let subject = found.map(|found| found.user.id);
        let id = subject.unwrap_or(AccountId(0));
        let digest = self.code_digest(id, email, code.trim());
        let detail = json!({"email": email.as_str()});
        let reached = email.clone();
        let refused = Entry { action: "password_reset_failed", actor: None, subject, address, detail };
        // All at once, so that a code is used up by nothing but a new password. What was refused is written down for
        // unknown addresses too: each answer waits for the store alike.
        let ended = self.end_if(move |conn| {
            if !take_code(conn, id, RESET, &digest, now)? {
                note(conn, &refused, now)?;
                return Ok(None);
            }
            users::set_password(conn, id, &hash)?;
            // Whoever has the code reads the mail of this address.
            addresses::confirm(conn, id, reached.as_str(), now)?;
            let ended = sessions::revoke_all_of(conn, id, None, now)?;
            let detail = json!({"ended_sessions": ids(&ended)});
            note(conn, &by_owner("password_reset", id, address, detail), now)?;
            Ok(Some(ended))
        });
        Ok((id, ended.await?.ok_or(AuthError::WrongCode)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::settings::Device;
    use crate::auth::tests::{Venue, password, run, sign_up};
    use crate::auth::totp::Factor;
    use crate::persistence::audit::Filter;

    const NEW: &str = "a new good one";

    async fn reset(accounts: &Accounts, email: &str, code: &str) -> Result<AccountId, AuthError> {
        accounts.reset_password(email, code, Secret::new(NEW), None).await.map(|(user, _)| user)
    }

    /// A mailed code of this user, who has this address.
    async fn mail(accounts: &Accounts, user: AccountId, email: &str) -> &'static str {
        let code = "123456789";
        let digest = accounts.code_digest(user, &Email::parse(email).unwrap(), code);
        let expires_at = accounts.now() + CODE_LIFETIME;
        accounts.write(move |conn| store::put(conn, user, RESET, &digest, expires_at)).await.unwrap();
        code
    }

    #[actix_rt::test]
    async fn a_code_is_used_up_by_nothing_but_a_new_password() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await;
        let code = mail(&accounts, ada.user.id, "ada@example.org").await;
        for deny in [
            "CREATE TRIGGER deny BEFORE UPDATE OF password_hash ON users BEGIN SELECT RAISE(ABORT, 'no'); END",
            "CREATE TRIGGER deny BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END",
        ] {
            run(&accounts, deny).await;
            assert_eq!(reset(&accounts, "ada@example.org", code).await, Err(AuthError::StoreUnavailable));
            assert!(accounts.authenticate(ada.token.expose()).is_ok(), "nothing has changed");
            run(&accounts, "DROP TRIGGER deny").await;
        }
        assert_eq!(reset(&accounts, "ada@example.org", code).await, Ok(ada.user.id));
        assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
        assert_eq!(reset(&accounts, "ada@example.org", code).await, Err(AuthError::WrongCode));
        let device = Device::default();
        assert!(accounts.sign_in("ada@example.org", password(), &device).await.is_err());
        assert!(accounts.sign_in("ada@example.org", Secret::new(NEW), &device).await.is_ok());
    }

    /// A store that is out of reach tells nobody whether a code is right, so it makes nobody wait either.
    #[actix_rt::test]
    async fn a_failure_is_no_wrong_code() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let code = mail(&accounts, ada, "ada@example.org").await;
        run(&accounts, "ALTER TABLE mailed_codes RENAME TO lost").await;
        for _ in 0..20 {
            assert_eq!(reset(&accounts, "ada@example.org", code).await, Err(AuthError::StoreUnavailable));
            let confirmed = accounts.confirm_address(ada, "ada@example.net", code, None).await;
            assert_eq!(confirmed.map(drop), Err(AuthError::StoreUnavailable));
        }
        run(&accounts, "ALTER TABLE lost RENAME TO mailed_codes").await;
        assert_eq!(reset(&accounts, "ada@example.org", code).await, Ok(ada));
    }

    /// What is on its way to the old address when another one is confirmed is stored after that.
    #[actix_rt::test]
    async fn a_code_that_was_mailed_to_another_address_does_not_count() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        accounts.write(move |conn| users::set_email(conn, ada, "ada@example.net")).await.unwrap();
        let code = mail(&accounts, ada, "ada@example.org").await;
        for email in ["ada@example.net", "ada@example.org"] {
            assert_eq!(reset(&accounts, email, code).await, Err(AuthError::WrongCode), "{email}");
        }
        let code = mail(&accounts, ada, "ada@example.net").await;
        assert_eq!(reset(&accounts, "ada@example.net", code).await, Ok(ada));
    }

    /// Whoever resets a password wants somebody out who knows the old one, and who may be about to come in with it.
    #[actix_rt::test]
    async fn what_was_proved_with_the_old_password_counts_no_more() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let email = Email::parse("ada@example.org").unwrap();
        let proved = accounts.prove_guarded(&email, password()).await.unwrap();
        let code = mail(&accounts, ada, "ada@example.org").await;
        assert_eq!(reset(&accounts, "ada@example.org", code).await, Ok(ada));
        let device = Device::default();
        let late = accounts
            .enter(ada, Some(proved.password_hash), Factor::Nothing, &device)
            .await
            .map(|entered| entered.user.id);
        assert_eq!(late, Err(AuthError::WrongCredentials));
        assert_eq!(accounts.sessions(ada).await.unwrap(), []);
        assert!(accounts.sign_in("ada@example.org", Secret::new(NEW), &device).await.is_ok());
    }

    /// Nor does it use up what was shown beside it.
    #[actix_rt::test]
    async fn a_factor_that_was_shown_with_the_old_password_counts_still() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        assert_eq!(ada, AccountId::FIRST_USER);
        run(&accounts, "INSERT INTO recovery_codes (user_id, code) VALUES (2, x'07')").await;
        let email = Email::parse("ada@example.org").unwrap();
        let device = Device::default();
        let enter = |proved| async {
            let entered = accounts.enter(ada, Some(proved), Factor::RecoveryCode(vec![7]), &device).await;
            entered.map(|entered| entered.factor_used)
        };
        let proved = accounts.prove_guarded(&email, password()).await.unwrap().password_hash;
        let code = mail(&accounts, ada, "ada@example.org").await;
        assert_eq!(reset(&accounts, "ada@example.org", code).await, Ok(ada));
        assert_eq!(enter(proved).await, Err(AuthError::WrongCredentials));
        let proved = accounts.prove_guarded(&email, Secret::new(NEW)).await.unwrap().password_hash;
        assert_eq!(enter(proved.clone()).await, Ok(true));
        assert_eq!(enter(proved).await, Err(AuthError::WrongCode), "it counts once");
    }

    #[actix_rt::test]
    async fn what_is_refused_is_written_down_whether_or_not_there_is_an_account_or_a_code() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let bob = sign_up(&accounts, "bob@example.org").await.user.id;
        mail(&accounts, ada, "ada@example.org").await;
        for email in ["ada@example.org", "bob@example.org", "nobody@example.org"] {
            assert_eq!(reset(&accounts, email, "000000000").await, Err(AuthError::WrongCode));
        }
        let filter = Filter { action: Some("password_reset_failed".into()), limit: 10, ..Filter::default() };
        let (rows, _) = accounts.audit(filter).await.unwrap();
        let subjects: Vec<_> = rows.iter().map(|row| row.subject).collect();
        assert_eq!(subjects, [None, Some(i64::from(bob.0)), Some(i64::from(ada.0))]);
    }
}
