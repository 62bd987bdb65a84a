//! What may serve as an e-mail address and as a password.

use super::error::AuthError;
use super::secret::Secret;
use std::fmt;
use thiserror::Error;

/// Fewest characters of a password.
const SHORTEST: usize = 8;
/// Most characters of a password: hashing must not be a way to make the venue work.
const LONGEST: usize = 128;

/// An e-mail address in the one form in which it is stored and compared: trimmed and lower-cased.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Reads an address. Only the shape is checked (`local@domain.tld`, at most 254 bytes, no
    /// spaces, control or quoting characters); whether mail arrives is for a mailed code to find out.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`].
    pub fn parse(text: &str) -> Result<Email, AuthError> {
        let text = text.trim().to_lowercase();
        if looks_like_email(&text) { Ok(Email(text)) } else { Err(AuthError::InvalidEmail) }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_ok = (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(|c| {
            if c.is_ascii() {
                c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c)
            } else {
                c.is_alphanumeric()
            }
        });
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c == '-' || c.is_alphanumeric())
    };
    text.len() <= 254 && local_ok && domain.contains('.') && domain.split('.').all(label_ok)
}

/// The rule that a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Weakness {
    /// Too few characters.
    #[error("The password needs at least {SHORTEST} characters.")]
    TooShort,
    /// Too many characters.
    #[error("The password may have at most {LONGEST} characters.")]
    TooLong,
    /// The password is the e-mail address.
    #[error("The password must not be the e-mail address.")]
    SameAsEmail,
}

/// Checks a password that somebody chooses.
///
/// # Errors
/// [`AuthError::WeakPassword`] with the first rule that is broken.
pub(super) fn check_new_password(password: &Secret, email: &Email) -> Result<(), AuthError> {
    let length = password.expose().chars().count();
    if length < SHORTEST {
        return Err(AuthError::WeakPassword(Weakness::TooShort));
    }
    if length > LONGEST {
        return Err(AuthError::WeakPassword(Weakness::TooLong));
    }
    if password.expose().trim().to_lowercase() == email.as_str() {
        return Err(AuthError::WeakPassword(Weakness::SameAsEmail));
    }
    Ok(())
}

/// Whether a password can be anybody's at all; others need not be hashed to know that they are wrong.
pub(super) fn could_be_a_password(password: &Secret) -> bool {
    (SHORTEST..=LONGEST).contains(&password.expose().chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(Email::parse("  Ada.Lovelace+Bots@Example.ORG ").unwrap().as_str(), "ada.lovelace+bots@example.org");
        assert_eq!(Email::parse("müller@bücher.example").unwrap().as_str(), "müller@bücher.example");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long_domain = format!("a@{}.org", "b.".repeat(130));
        for text in [
            "",
            " ",
            "ada",
            "ada@",
            "@example.org",
            "ada@example",
            "a b@example.org",
            "ada@exa mple.org",
            "a@b@c.org",
            ".ada@example.org",
            "ada.@example.org",
            "a..b@example.org",
            "ada@-example.org",
            "ada@example-.org",
            "ada@.org",
            "ada@example.",
            "ada@example..org",
            "\"ada\"@example.org",
            "ada\0@example.org",
            "ada@example.org\nbcc: x@y.z",
            "<ada@example.org>",
            &long_local,
            &long_domain,
        ] {
            assert_eq!(Email::parse(text), Err(AuthError::InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn passwords_meet_the_rules_in_order() {
        let email = Email::parse("ada@example.org").unwrap();
        let check = |text: &str| check_new_password(&Secret::new(text), &email);
        assert_eq!(check("1234567"), Err(AuthError::WeakPassword(Weakness::TooShort)));
        assert_eq!(check("ééééééé"), Err(AuthError::WeakPassword(Weakness::TooShort)));
        assert_eq!(check("12345678"), Ok(()));
        assert_eq!(check(&"é".repeat(128)), Ok(()));
        assert_eq!(check(&"x".repeat(129)), Err(AuthError::WeakPassword(Weakness::TooLong)));
        assert_eq!(check("ADA@example.org"), Err(AuthError::WeakPassword(Weakness::SameAsEmail)));
    }
}
