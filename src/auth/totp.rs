//! The second factor: codes that change every 30 seconds (RFC 6238), and recovery codes.
//!
//! A code counts for its own step and the one before and after, since clocks differ, and once. Ten
//! recovery codes, each of which counts once, are for whoever has lost the device.

use super::credentials::Email;
use super::error::AuthError;
use super::secret::Secret;
use super::service::Accounts;
use super::settings::Device;
use super::shared::Target;
use super::vault::{random, same};
use crate::domain::ids::AccountId;
use crate::domain::time::{SECOND, Timestamp};
use crate::persistence::audit::Entry;
use crate::persistence::second_factors as store;
use aws_lc_rs::hmac;

/// Seconds of a step.
const STEP_S: i64 = 30;
/// Digits of a code.
const DIGITS: u32 = 6;
/// Recovery codes that a user gets.
const RECOVERY_CODES: usize = 10;
/// RFC 4648; 32 signs that say five bits each.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What somebody showed beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Nothing was asked for.
    Nothing,
    /// The code of an authenticator.
    Code,
    /// One of the recovery codes.
    RecoveryCode,
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

    /// Begins to ask for codes, once the user has shown one. Gives recovery codes, shown this once.
    ///
    /// # Errors
    /// [`AuthError::WrongCode`], [`AuthError::TooManyAttempts`], or a failure.
    pub async fn confirm_totp(&self, user: AccountId, code: &str) -> Result<Vec<Secret>, AuthError> {
        self.factor_guard().admit(&user, self.now())?;
        let stored = self.read(move |conn| store::totp_of(conn, user)).await?.filter(|totp| !totp.confirmed);
        let seed = stored.and_then(|totp| self.vault().open_sealed(&seal_name(user), &totp.secret));
        let step = seed.and_then(|seed| step_of(&seed, code, self.now())).ok_or(AuthError::WrongCode)?;
        let mut codes = Vec::with_capacity(RECOVERY_CODES);
        for _ in 0..RECOVERY_CODES {
            let text = base32(&random::<10>().ok_or(AuthError::Interrupted)?);
            let (one, other) = text.split_at(text.len() / 2);
            codes.push(Secret::new(format!("{one}-{other}")));
        }
        let digests: Vec<_> = codes.iter().map(|code| self.recovery_digest(user, code.expose())).collect();
        let confirmed = self.write(move |conn| {
            let unused = store::use_step(conn, user, step)?;
            if unused {
                store::confirm_totp(conn, user, &digests)?;
            }
            Ok(unused)
        });
        if !confirmed.await? {
            return Err(AuthError::WrongCode);
        }
        self.factor_guard().succeeded(&user);
        Ok(codes)
    }

    /// Whether the user is asked for codes.
    ///
    /// # Errors
    /// A failure.
    pub async fn has_totp(&self, user: AccountId) -> Result<bool, AuthError> {
        Ok(self.read(move |conn| store::totp_of(conn, user)).await?.is_some_and(|totp| totp.confirmed))
    }

    /// Checks the second factor of somebody whose password was right, and remembers a wrong code and the
    /// use of a recovery code: both are something that the owner may want to know of.
    ///
    /// # Errors
    /// [`AuthError::SecondFactorRequired`] when it is missing, [`AuthError::WrongCode`],
    /// [`AuthError::TooManyAttempts`], or a failure.
    pub(super) async fn check_second_factor(&self, user: AccountId, device: &Device) -> Result<(), AuthError> {
        let shown = self.check_totp(user, device.second_factor.as_ref().map(Secret::expose)).await;
        let action = match shown {
            Ok(Shown::RecoveryCode) => "recovery_code_used",
            Err(AuthError::WrongCode) => "second_factor_failed",
            Ok(Shown::Nothing | Shown::Code) | Err(_) => return shown.map(drop),
        };
        let detail = serde_json::json!({"device": device.name()});
        self.record(Entry { action, actor: None, subject: Some(user), address: device.address, detail }).await;
        shown.map(drop)
    }

    async fn check_totp(&self, user: AccountId, code: Option<&str>) -> Result<Shown, AuthError> {
        let stored = self.read(move |conn| store::totp_of(conn, user)).await?;
        let Some(totp) = stored.filter(|totp| totp.confirmed) else { return Ok(Shown::Nothing) };
        let code = code.map(str::trim).filter(|code| !code.is_empty()).ok_or(AuthError::SecondFactorRequired)?;
        self.factor_guard().admit(&user, self.now())?;
        let seed = self.vault().open_sealed(&seal_name(user), &totp.secret).ok_or_else(|| {
            tracing::error!(user = user.0, "a TOTP seed cannot be opened with this venue's key");
            AuthError::Interrupted
        })?;
        let (right, shown) = match step_of(&seed, code, self.now()) {
            Some(step) => (self.write(move |conn| store::use_step(conn, user, step)).await?, Shown::Code),
            None => {
                let digest = self.recovery_digest(user, code);
                let used = self.write(move |conn| store::use_recovery_code(conn, user, &digest)).await?;
                (used, Shown::RecoveryCode)
            }
        };
        self.tell_guess(Target::Factor(user.0), right);
        if !right {
            return Err(AuthError::WrongCode);
        }
        self.factor_guard().succeeded(&user);
        Ok(shown)
    }

    /// Stops to ask for codes; password and a code are needed for it.
    ///
    /// # Errors
    /// As for a sign-in.
    pub async fn remove_totp(&self, user: AccountId, password: Secret, code: &str) -> Result<(), AuthError> {
        let email = Email::parse(&self.user(user).await?.email)?;
        self.prove_guarded(&email, password).await?;
        self.check_totp(user, Some(code)).await?;
        self.write(move |conn| store::remove_totp(conn, user)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{Venue, password, sign_up};

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

    #[actix_rt::test]
    async fn nobody_without_the_password_makes_a_user_wait_for_the_second_factor() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let sealed = {
            accounts.begin_totp(ada).await.unwrap();
            accounts.read(move |conn| store::totp_of(conn, ada)).await.unwrap().unwrap().secret
        };
        let seed = accounts.vault().open_sealed(&seal_name(ada), &sealed).unwrap();
        let code = |steps| code_at(&seed, accounts.now().0 / SECOND / STEP_S + steps);
        accounts.confirm_totp(ada, &code(-1)).await.unwrap();
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
