//! E-mail addresses: another one, or the own one confirmed, by a code that is mailed to it.
//!
//! Anybody can sign up with any address, so mail that nobody asked for (notifications) goes to confirmed ones alone:
//! those of which a code came back, or for which a sign-in provider vouches.
//!
//! Users whose sign-in provider told no address have one that no mail reaches; here they get a real one, with which they
//! may then set a password by a mailed code like everybody else. Whether an address is somebody else's already is told to
//! nobody but whoever reads its mail.

use super::audit::{by_owner, note};
use super::credentials::Email;
use super::error::AuthError;
use super::recovery::{CODE_LIFETIME, RESET, random_code, take_code};
use super::secret::Secret;
use super::service::Accounts;
use super::shared::Target;
use crate::domain::ids::AccountId;
use crate::persistence::addresses;
use crate::persistence::mailed_codes as store;
use crate::persistence::users::{self, User};
use serde_json::json;
use std::net::IpAddr;
use tokio::runtime::Handle;

/// Where the addresses of users end whose provider gave none: no mail gets there.
pub(super) const NO_ADDRESS: &str = "@users.invalid";
/// What a code is for.
const CHANGE: &str = "address";

/// Whether mail can reach a user at all.
pub fn has_address(user: &User) -> bool {
    !user.email.ends_with(NO_ADDRESS)
}

impl Accounts {
    /// The address of a user, if that has shown to read its mail.
    ///
    /// # Errors
    /// A failure.
    pub async fn confirmed_address(&self, user: AccountId) -> Result<Option<String>, AuthError> {
        self.read(move |conn| addresses::confirmed(conn, user)).await
    }

    /// Mails a code to an address that a user wants to have from now on, or has and wants to confirm. Whoever has another
    /// one that mail reaches must show the password, so that an open session alone gives no account away.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::MailNotConfigured`], [`AuthError::EmailTaken`] for the user's own address
    /// that is confirmed already, [`AuthError::WrongCredentials`], [`AuthError::TooManyAttempts`] (a mail a minute for a
    /// user and for an address), or a failure.
    pub async fn begin_address(
        &self,
        user: AccountId,
        wanted: &str,
        password: Option<Secret>,
    ) -> Result<(), AuthError> {
        let wanted = Email::parse(wanted)?;
        if wanted.as_str().ends_with(NO_ADDRESS) {
            return Err(AuthError::InvalidEmail);
        }
        if !self.settings().mailer.works() {
            return Err(AuthError::MailNotConfigured);
        }
        let known = self.user(user).await?;
        let own = Email::parse(&known.email)?;
        if own == wanted {
            if self.confirmed_address(user).await?.is_some() {
                return Err(AuthError::EmailTaken);
            }
        } else if has_address(&known) {
            self.prove_guarded(&own, password.ok_or(AuthError::WrongCredentials)?).await?;
        }
        // By user as well, or an account would be a way to send mail to everybody.
        self.sender_guard().admit(&user, self.now())?;
        self.mail_guard().admit(&wanted, self.now())?;
        self.tell_guess(Target::Mail(wanted.to_string()), false);
        let accounts = self.clone();
        actix_web::rt::spawn(async move {
            if let Err(error) = accounts.mail_address_code(user, &wanted).await {
                tracing::warn!(%error, "a code could not be mailed");
            }
        });
        Ok(())
    }

    async fn mail_address_code(&self, user: AccountId, wanted: &Email) -> anyhow::Result<()> {
        let mailer = &self.settings().mailer;
        if self.user_by_email(wanted.as_str()).await.is_ok_and(|holder| holder.id != user) {
            let text = "Somebody, hopefully you, wanted to give this address to another account. It belongs to yours \
                        already, so nothing has changed. Sign in with this address, or ask for a new password.\n";
            mailer.send(wanted.as_str(), "This address has an account already", text.to_owned()).await?;
            return Ok(());
        }
        let code = random_code().ok_or(AuthError::Interrupted)?;
        let (digest, expires_at) = (self.address_digest(user, wanted, &code), self.now() + CODE_LIFETIME);
        self.write(move |conn| store::put(conn, user, CHANGE, &digest, expires_at)).await?;
        let text = format!(
            "Somebody, hopefully you, wants to use this address for an account.\n\n\
             Your code: {code}\n\nIt counts for 30 minutes, once. If it was not you, do nothing.\n"
        );
        mailer.send(wanted.as_str(), "Your code for a new address", text).await?;
        Ok(())
    }

    /// A code counts for the address alone that it was mailed to.
    fn address_digest(&self, user: AccountId, wanted: &Email, code: &str) -> Vec<u8> {
        let parts = [&user.0.to_le_bytes()[..], wanted.as_str().as_bytes(), code.as_bytes()];
        self.vault().digest("address code", &parts).to_vec()
    }

    /// Gives a user the address that a code was mailed to; it is confirmed from now on. The address before is told,
    /// where it is another one that mail reaches, whether or not the caller waits for the outcome. `from` is whence it
    /// is wanted.
    ///
    /// # Errors
    /// [`AuthError::WrongCode`] for a wrong, used or old code and for one of another address; [`AuthError::EmailTaken`]
    /// when somebody was faster; [`AuthError::InvalidEmail`], [`AuthError::TooManyAttempts`], or a failure.
    pub async fn confirm_address(
        &self,
        user: AccountId,
        wanted: &str,
        code: &str,
        from: Option<IpAddr>,
    ) -> Result<User, AuthError> {
        let wanted = Email::parse(wanted)?;
        let before = self.user(user).await?;
        let own = Email::parse(&before.email)?;
        self.code_guard().admit(&own, self.now())?;
        let digest = self.address_digest(user, &wanted, code.trim());
        let changed = self.change_address(before, wanted.clone(), digest, from).await;
        self.judge_code(&own, &changed);
        let changed = changed?;
        // Whoever got this mail may want another one at once: a code for a password.
        self.mail_guard().succeeded(&wanted);
        self.tell_guess(Target::Mail(wanted.to_string()), true);
        Ok(changed)
    }

    async fn change_address(
        &self,
        before: User,
        wanted: Email,
        digest: Vec<u8>,
        from: Option<IpAddr>,
    ) -> Result<User, AuthError> {
        let (user, now) = (before.id, self.now());
        // For the worker, which has no place of its own for what waits for a mail server.
        let (accounts, here) = (self.clone(), Handle::current());
        let changed = self.awaited(move |database, _| {
            let changed = database.write_durably(|conn| {
                if !take_code(conn, user, CHANGE, &digest, now)? {
                    return Ok(None);
                }
                users::set_email(conn, user, wanted.as_str())?;
                addresses::confirm(conn, user, wanted.as_str(), now)?;
                // What was mailed to the address before counts no more.
                store::remove(conn, user, RESET)?;
                let detail = json!({"before": before.email, "after": wanted.as_str()});
                let action = if before.email == wanted.as_str() { "email_confirmed" } else { "email_changed" };
                note(conn, &by_owner(action, user, from, detail), now)?;
                users::by_id(conn, user)
            })?;
            // Here and now: whoever asked may have hung up, or been told that the store does not answer.
            if changed.is_some() && before.email != wanted.as_str() && has_address(&before) {
                here.spawn(accounts.told_to_old_address(before.email));
            }
            Ok(changed)
        });
        changed.await?.ok_or(AuthError::WrongCode)
    }

    /// Whoever lost an account this way can still read this.
    fn told_to_old_address(&self, before: String) -> impl Future<Output = ()> + Send + use<> {
        let mailer = self.settings().mailer.clone();
        async move {
            let text = "Your account has another e-mail address from now on. If it was not you who changed it, ask the \
                        operator for help.\n";
            if let Err(error) = mailer.send(&before, "Your address was changed", text.to_owned()).await {
                tracing::warn!(%error, "an old address could not be told");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{Venue, run, sign_up};
    use crate::persistence::audit::Filter;

    /// Whoever takes an account over must not be able to hang up in time.
    #[actix_rt::test]
    async fn another_address_and_what_is_remembered_of_it_are_one() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let (wanted, code) = (Email::parse("eve@example.org").unwrap(), "123456789");
        let (digest, expires_at) = (accounts.address_digest(ada, &wanted, code), accounts.now() + CODE_LIFETIME);
        accounts.write(move |conn| store::put(conn, ada, CHANGE, &digest, expires_at)).await.unwrap();
        run(&accounts, "CREATE TRIGGER deny BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await;
        let confirm = || accounts.confirm_address(ada, "eve@example.org", code, None);
        assert_eq!(confirm().await, Err(AuthError::StoreUnavailable));
        assert_eq!(accounts.user(ada).await.unwrap().email, "ada@example.org");
        run(&accounts, "DROP TRIGGER deny").await;
        assert_eq!(confirm().await.map(|user| user.email), Ok("eve@example.org".into()));
        let changed = Filter { action: Some("email_changed".into()), limit: 9, ..Filter::default() };
        let (rows, _) = accounts.audit(changed).await.unwrap();
        let expected = json!({"before": "ada@example.org", "after": "eve@example.org"}).to_string();
        assert_eq!(rows.into_iter().map(|row| row.detail).collect::<Vec<_>>(), [expected]);
    }
}
