//! The second factor: codes that change every 30 seconds (RFC 6238), and recovery codes.
//!
//! A code counts for its own step and the one before and after, since clocks differ, and once. Ten
//! recovery codes, each of which counts once, are for whoever has lost the device.

use super::audit::{by_owner, note};
use super::credentials::Email;
use super::error::AuthError;
use super::secret::Secret;
use super::service::Accounts;
use super::shared::Target;
use super::vault::{random, same};
use crate::domain::ids::AccountId;
use crate::domain::time::{SECOND, Timestamp};
use crate::persistence::db::Connection;
use crate::persistence::second_factors as store;
use aws_lc_rs::hmac;
use diesel::QueryResult;
use diesel::result::Error;
use serde_json::json;
use std::net::IpAddr;

/// Seconds of a step.
const STEP_S: i64 = 30;
/// Digits of a code.
const DIGITS: u32 = 6;
/// Recovery codes that a user gets.
const RECOVERY_CODES: usize = 10;
/// RFC 4648; 32 signs that say five bits each.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What somebody shows beside the password.
pub(super) enum Factor {
    /// Nothing: none is asked for.
    Nothing,
    /// The code of an authenticator.
    Code {
        /// Its seed as it is stored.
        sealed: Vec<u8>,
        /// The step whose code it is.
        step: i64,
    },
    /// What can only be a recovery code: its keyed hash.
    RecoveryCode(Vec<u8>),
}

impl Factor {
    /// Whether anything was asked for.
    pub(super) fn is_shown(&self) -> bool {
        !matches!(self, Factor::Nothing)
    }

    /// Uses it up; false when it does not count. To be part of the transaction that does what it is shown for, so that
    /// nothing else uses it up.
    pub(super) fn use_up(&self, conn: &mut Connection, user: AccountId) -> QueryResult<bool> {
        match self {
            Factor::Nothing => Ok(true),
            Factor::Code { sealed, step } => store::use_step(conn, user, sealed, *step),
            Factor::RecoveryCode(digest) => store::use_recovery_code(conn, user, digest),
        }
    }
}

/// What a user puts into an authenticator.
#[derive(Debug)]
pub struct TotpSeed {
    /// The seed in base32.
    pub secret: Secret,
    /// The same as an `otpauth` address, for a QR code.
    pub uri: Secret,
}

fn base32(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).collect();
    let sign = |five: &[u8]| {
        let value = (0..5).fold(0_usize, |value, place| value << 1 | usize::from(*five.get(place).unwrap_or(&0)));
        BASE32.get(value).map_or('A', |sign| char::from(*sign))
    };
    bits.chunks(5).map(sign).collect()
}

/// The code of a step: RFC 4226 with SHA-1, which is what authenticators agree on.
fn code_at(seed: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
    let four = tag.get(offset..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
    let number = (u32::from_be_bytes(four) & 0x7fff_ffff) % 10_u32.pow(DIGITS);
    format!("{number:0width$}", width = DIGITS as usize)
}

/// The step of which this is the code, at this time or one step off.
fn step_of(seed: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let present = now.0 / SECOND / STEP_S;
    // All three are compared, so that time tells nothing.
    let fitting =
        [present, present - 1, present + 1].map(|step| (step, same(code_at(seed, step).as_bytes(), code.as_bytes())));
    fitting.into_iter().find(|(_, fits)| *fits).map(|(step, _)| step)
}

fn seal_name(user: AccountId) -> String {
    format!("totp seed {}", user.0)
}

impl Accounts {
    fn recovery_digest(&self, user: AccountId, code: &str) -> Vec<u8> {
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        self.vault().digest("recovery code", &[&user.0.to_le_bytes(), plain.to_uppercase().as_bytes()]).to_vec()
    }

    /// Makes a seed. It is not asked for before it is confirmed with a code.
    ///
    /// # Errors
    /// [`AuthError::SecondFactorPresent`], or a failure.
    pub async fn begin_totp(&self, user: AccountId) -> Result<TotpSeed, AuthError> {
        let seed = random::<20>().ok_or(AuthError::Interrupted)?;
        let sealed = self.vault().seal(&seal_name(user), &seed)?;
        let email = self.user(user).await?.email;
        let stored = self.write(move |conn| store::begin_totp(conn, user, &sealed)).await;
        stored.map_err(|error| if error == AuthError::EmailTaken { AuthError::SecondFactorPresent } else { error })?;
        let secret = base32(&seed);
        let label: String = email
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        let uri = format!("otpauth://totp/Agora:{label}?secret={secret}&issuer=Agora");
        Ok(TotpSeed { secret: Secret::new(secret), uri: Secret::new(uri) })
    }

    /// Begins to ask for codes, once the user has shown one. Gives recovery codes, shown this once. `from` is whence it
    /// is wanted.
    ///
    /// # Errors
    /// [`AuthError::WrongCode`], also for a code of another seed than the newest; [`AuthError::TooManyAttempts`]; or a
    /// failure. After that no codes are asked for, unless the database fell silent while it committed.
    pub async fn confirm_totp(
        &self,
        user: AccountId,
        code: &str,
        from: Option<IpAddr>,
    ) -> Result<Vec<Secret>, AuthError> {
        self.factor_guard().admit(&user, self.now())?;
        let confirmed = self.confirm_seed(user, code, from).await;
        self.factor_guard().settle(&user, &confirmed);
        confirmed
    }

    async fn confirm_seed(&self, user: AccountId, code: &str, from: Option<IpAddr>) -> Result<Vec<Secret>, AuthError> {
        let now = self.now();
        let stored = self.read(move |conn| store::totp_of(conn, user)).await?;
        let sealed = stored.filter(|totp| !totp.confirmed).ok_or(AuthError::WrongCode)?.secret;
        let step = step_of(&self.open_seed(user, &sealed)?, code, now).ok_or(AuthError::WrongCode)?;
        let mut codes = Vec::with_capacity(RECOVERY_CODES);
        for _ in 0..RECOVERY_CODES {
            let text = base32(&random::<10>().ok_or(AuthError::Interrupted)?);
            let (one, other) = text.split_at(text.len() / 2);
            codes.push(Secret::new(format!("{one}-{other}")));
        }
        let digests: Vec<_> = codes.iter().map(|code| self.recovery_digest(user, code.expose())).collect();
        let confirmed = self.awaited(move |database, is_awaited| {
            database.write_durably(|conn| {
                // The seed of the code and no other: there may be a newer one by now.
                if !store::confirm_totp(conn, user, (sealed.as_slice(), step), &digests)? {
                    return Ok(false);
                }
                note(conn, &by_owner("totp_enabled", user, from, json!({})), now)?;
                // Who gave up would never see the recovery codes.
                if is_awaited() { Ok(true) } else { Err(Error::RollbackTransaction) }
            })
        });
        if confirmed.await? { Ok(codes) } else { Err(AuthError::WrongCode) }
    }

    fn open_seed(&self, user: AccountId, sealed: &[u8]) -> Result<Vec<u8>, AuthError> {
        self.vault().open_sealed(&seal_name(user), sealed).ok_or_else(|| {
            tracing::error!(user = user.0, "a TOTP seed cannot be opened with this venue's key");
            AuthError::Interrupted
        })
    }

    /// Whether the user is asked for codes.
    ///
    /// # Errors
    /// A failure.
    pub async fn has_totp(&self, user: AccountId) -> Result<bool, AuthError> {
        Ok(self.read(move |conn| store::totp_of(conn, user)).await?.is_some_and(|totp| totp.confirmed))
    }

    /// What somebody shows whose password was right, or what else is asked for beside a factor. Whether it counts is
    /// found out where it is used up ([`Factor::use_up`]); [`Accounts::judge_factor`] has to be told.
    ///
    /// # Errors
    /// [`AuthError::SecondFactorRequired`] when it is missing, [`AuthError::TooManyAttempts`], or a failure.
    pub(super) async fn shown_factor(&self, user: AccountId, code: Option<&Secret>) -> Result<Factor, AuthError> {
        let stored = self.read(move |conn| store::totp_of(conn, user)).await?;
        let Some(totp) = stored.filter(|totp| totp.confirmed) else { return Ok(Factor::Nothing) };
        let code = code.map(|code| code.expose().trim()).filter(|code| !code.is_empty());
        let code = code.ok_or(AuthError::SecondFactorRequired)?;
        let seed = self.open_seed(user, &totp.secret)?;
        self.factor_guard().admit(&user, self.now())?;
        Ok(match step_of(&seed, code, self.now()) {
            Some(step) => Factor::Code { sealed: totp.secret, step },
            None => Factor::RecoveryCode(self.recovery_digest(user, code)),
        })
    }

    /// Counts a factor that was shown, here and on the other nodes: whether it was right, or `None` when nobody knows,
    /// since something else went wrong. Then it was no guess.
    pub(super) fn judge_factor(&self, user: AccountId, right: Option<bool>) {
        let Some(right) = right else { return self.factor_guard().undo(&user) };
        self.tell_guess(Target::Factor(user.0), right);
        if right {
            self.factor_guard().succeeded(&user);
        }
    }

    /// Stops to ask for codes; password and a code are needed for it. `from` is whence it is wanted.
    ///
    /// # Errors
    /// As for a sign-in.
    pub async fn remove_totp(
        &self,
        user: AccountId,
        password: Secret,
        code: &Secret,
        from: Option<IpAddr>,
    ) -> Result<(), AuthError> {
        let email = Email::parse(&self.user(user).await?.email)?;
        self.prove_guarded(&email, password).await?;
        let factor = self.shown_factor(user, Some(code)).await?;
        let (now, is_shown) = (self.now(), factor.is_shown());
        let removed = self.write(move |conn| {
            if !factor.use_up(conn, user)? {
                return Ok(false);
            }
            store::remove_totp(conn, user)?;
            note(conn, &by_owner("totp_disabled", user, from, json!({})), now)?;
            Ok(true)
        });
        let removed = removed.await;
        if is_shown {
            self.judge_factor(user, removed.as_ref().ok().copied());
        }
        if removed? { Ok(()) } else { Err(AuthError::WrongCode) }
    }
}

#[cfg(test)]
mod given_up;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::settings::Device;
    use crate::auth::tests::{Venue, password, run, sign_up};
    use crate::persistence::audit::Filter;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, SHA-1; the last six of its eight digits.
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            let now = Timestamp(seconds * SECOND);
            assert_eq!(step_of(b"12345678901234567890", code, now), Some(seconds / STEP_S), "{seconds}");
        }
        // RFC 4648, section 10.
        for (plain, encoded) in [("", ""), ("f", "MY"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_clock_may_be_one_step_off() {
        let now = Timestamp(1_800_000_000 * SECOND);
        let present = now.0 / SECOND / STEP_S;
        for (step, expected) in [(-2, None), (-1, Some(-1)), (0, Some(0)), (1, Some(1)), (2, None)] {
            let found = step_of(b"seed", &code_at(b"seed", present + step), now).map(|found| found - present);
            assert_eq!(found, expected, "{step}");
        }
        assert_eq!(step_of(b"seed", "", now), None);
    }

    /// A new seed of this user.
    pub(super) async fn begin(accounts: &Accounts, user: AccountId) -> Vec<u8> {
        accounts.begin_totp(user).await.unwrap();
        let sealed = accounts.read(move |conn| store::totp_of(conn, user)).await.unwrap().unwrap().secret;
        accounts.open_seed(user, &sealed).unwrap()
    }

    /// Somebody who is told to come again has the same code, or the last of the recovery codes.
    #[actix_rt::test]
    async fn a_failure_uses_nothing_up_and_is_no_guess() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let seed = begin(&accounts, ada).await;
        let code = |steps| Secret::new(code_at(&seed, accounts.now().0 / SECOND / STEP_S + steps));
        run(&accounts, "CREATE TRIGGER deny BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await;
        for _ in 0..6 {
            let confirmed = accounts.confirm_totp(ada, code(-1).expose(), None).await;
            assert_eq!(confirmed.map(drop), Err(AuthError::StoreUnavailable));
        }
        assert_eq!(accounts.has_totp(ada).await, Ok(false), "what cannot be remembered is not done");
        run(&accounts, "DROP TRIGGER deny").await;
        let recovery = accounts.confirm_totp(ada, code(-1).expose(), None).await.unwrap().swap_remove(0);

        let sign_in = |code: Secret| {
            let device = Device { second_factor: Some(code), ..Device::default() };
            let accounts = &accounts;
            async move {
                let entered = accounts.sign_in("ada@example.org", password(), &device).await;
                entered.map(|entered| entered.factor_used)
            }
        };
        run(&accounts, "CREATE TRIGGER deny BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'no'); END").await;
        for _ in 0..6 {
            assert_eq!(sign_in(code(0)).await, Err(AuthError::StoreUnavailable));
            assert_eq!(sign_in(recovery.clone()).await, Err(AuthError::StoreUnavailable));
        }
        run(&accounts, "DROP TRIGGER deny").await;
        for shown in [code(0), recovery] {
            assert_eq!(sign_in(shown.clone()).await, Ok(true));
            assert_eq!(sign_in(shown).await, Err(AuthError::WrongCode));
        }
        for (action, times) in [("recovery_code_used", 1), ("second_factor_failed", 2)] {
            let found = Filter { action: Some(action.into()), limit: 99, ..Filter::default() };
            assert_eq!(accounts.audit(found).await.unwrap().0.len(), times, "{action}");
        }

        run(&accounts, "CREATE TRIGGER deny BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await;
        let remove = || async { accounts.remove_totp(ada, password(), &code(1), None).await };
        assert_eq!(remove().await, Err(AuthError::StoreUnavailable));
        run(&accounts, "DROP TRIGGER deny").await;
        assert_eq!(remove().await, Ok(()));
        assert_eq!(accounts.has_totp(ada).await, Ok(false));
    }

    #[actix_rt::test]
    async fn nobody_without_the_password_makes_a_user_wait_for_the_second_factor() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let seed = begin(&accounts, ada).await;
        let code = |steps| code_at(&seed, accounts.now().0 / SECOND / STEP_S + steps);
        accounts.confirm_totp(ada, &code(-1), None).await.unwrap();
        let reset = || accounts.reset_password("ada@example.org", "000000000", Secret::new("a new good one"), None);
        for _ in 0..5 {
            assert_eq!(reset().await, Err(AuthError::WrongCode));
        }
        assert!(matches!(reset().await, Err(AuthError::TooManyAttempts { .. })));
        let sign_in = |code: String| {
            let device = Device { second_factor: Some(Secret::new(code)), ..Device::default() };
            let accounts = &accounts;
            async move { accounts.sign_in("ada@example.org", password(), &device).await.map(|entered| entered.user.id) }
        };
        assert_eq!(sign_in(code(0)).await, Ok(ada));
        // Whoever has the password is slowed down.
        for _ in 0..5 {
            assert_eq!(sign_in("nonsense".into()).await, Err(AuthError::WrongCode));
        }
        assert!(matches!(sign_in(code(1)).await, Err(AuthError::TooManyAttempts { .. })));
    }
}
