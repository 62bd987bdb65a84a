//! The names of links: random ones that cannot be misread, and chosen ones that do no harm.

use thiserror::Error;

/// What random slugs are made of: letters and digits without those that look alike (0 O o, 1 l I i).
pub const ALPHABET: &[u8; 55] = b"23456789abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";
/// The fewest characters of a chosen slug.
pub const SHORTEST: usize = 3;
/// The most characters of any slug.
pub const LONGEST: usize = 64;

/// Names that mean something to the program or to people, so that nobody may have them.
const RESERVED: &[&str] = &[
    "about",
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "agora",
    "api",
    "app",
    "assets",
    "auth",
    "billing",
    "blog",
    "chat",
    "contact",
    "dashboard",
    "docs",
    "download",
    "downloads",
    "favicon",
    "feed",
    "health",
    "help",
    "home",
    "imprint",
    "index",
    "info",
    "js",
    "legal",
    "link",
    "links",
    "login",
    "logout",
    "metrics",
    "moderator",
    "new",
    "null",
    "official",
    "openapi",
    "password",
    "pay",
    "payment",
    "press",
    "privacy",
    "reset",
    "robots",
    "root",
    "security",
    "sign-in",
    "sign-out",
    "sign-up",
    "signin",
    "signup",
    "sitemap",
    "staff",
    "static",
    "status",
    "support",
    "system",
    "terms",
    "trade",
    "undefined",
    "verify",
    "wallet",
    "webmaster",
    "well-known",
    "www",
];

/// Parts of names that insult; the operator's own list comes on top.
const OFFENSIVE: &[&str] = &[
    "asshole", "bitch", "cunt", "faggot", "fuck", "hitler", "nazi", "nigga", "nigger", "porn", "rape", "retard",
    "shit", "whore",
];

/// Why a slug will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SlugError {
    /// Too short, too long, or with other characters.
    #[error("a slug has {SHORTEST} to {LONGEST} letters (a–z, A–Z), digits, hyphens and underscores")]
    Form,
    /// It is the program's own.
    #[error("this slug is reserved")]
    Reserved,
    /// It insults.
    #[error("this slug is not allowed")]
    Offensive,
}

impl SlugError {
    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            SlugError::Form => "invalid_slug",
            SlugError::Reserved => "slug_reserved",
            SlugError::Offensive => "slug_not_allowed",
        }
    }
}

/// Checks a chosen slug; `more_words` are refused as parts too, in lower case.
///
/// # Errors
/// [`SlugError`].
pub fn check(slug: &str, more_words: &[String]) -> Result<(), SlugError> {
    if slug.len() < SHORTEST || !could_be(slug) {
        return Err(SlugError::Form);
    }
    harmless(&slug.to_ascii_lowercase(), more_words)
}

/// Whether a lower-case name means nothing to the program and insults nobody.
fn harmless(plain: &str, more_words: &[String]) -> Result<(), SlugError> {
    if RESERVED.contains(&plain.trim_matches(['-', '_'])) {
        return Err(SlugError::Reserved);
    }
    if insults(plain, more_words) { Err(SlugError::Offensive) } else { Ok(()) }
}

/// Whether a link could have this slug at all; what cannot needs no looking up.
pub fn could_be(slug: &str) -> bool {
    (1..=LONGEST).contains(&slug.len())
        && slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The slug of `length` characters that these random bytes make, unless nobody could choose it: an export tells random
/// slugs as chosen ones, and its import must take them. Bytes that would make some characters likelier than others are
/// passed over, so hand in about twice as many as characters.
pub fn random(length: usize, bytes: &[u8], more_words: &[String]) -> Option<String> {
    let limit = 256 / ALPHABET.len() * ALPHABET.len();
    let slug: String = bytes
        .iter()
        .map(|byte| usize::from(*byte))
        .filter(|byte| *byte < limit)
        .filter_map(|byte| ALPHABET.get(byte % ALPHABET.len()).map(|c| char::from(*c)))
        .take(length)
        .collect();
    let good = slug.len() == length && harmless(&slug.to_ascii_lowercase(), more_words).is_ok();
    good.then_some(slug)
}

/// Whether a lower-case name holds a word that insults, also with digits for letters and separators between.
fn insults(plain: &str, more_words: &[String]) -> bool {
    let read: String = plain
        .chars()
        .filter(|c| *c != '-' && *c != '_')
        .map(|c| match c {
            '0' => 'o',
            '1' => 'i',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            other => other,
        })
        .collect();
    OFFENSIVE.iter().any(|word| read.contains(word))
        || more_words
            .iter()
            .any(|word| !word.is_empty() && (plain.contains(word.as_str()) || read.contains(word.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_slugs() {
        let more = vec!["acme".to_string()];
        for (slug, expected) in [
            ("abc", Ok(())),
            ("My_own-2", Ok(())),
            ("ab", Err(SlugError::Form)),
            ("", Err(SlugError::Form)),
            ("a b", Err(SlugError::Form)),
            ("ümlaut", Err(SlugError::Form)),
            ("a/b", Err(SlugError::Form)),
            ("abc+", Err(SlugError::Form)),
            ("admin", Err(SlugError::Reserved)),
            ("Admin-", Err(SlugError::Reserved)),
            ("_API_", Err(SlugError::Reserved)),
            ("sh1t-happens", Err(SlugError::Offensive)),
            ("f-u-c-k", Err(SlugError::Offensive)),
            ("my-ACME-shop", Err(SlugError::Offensive)),
        ] {
            assert_eq!(check(slug, &more), expected, "{slug}");
        }
        assert_eq!(check(&"x".repeat(64), &[]), Ok(()));
        assert_eq!(check(&"x".repeat(65), &[]), Err(SlugError::Form));
    }

    #[test]
    fn random_slugs_have_their_length_and_no_look_alikes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let slug = random(7, &bytes, &[]).unwrap();
        assert_eq!(slug.len(), 7);
        let all = random(220, &bytes, &[]).unwrap();
        for c in "0Oo1lIi".chars() {
            assert!(!all.contains(c), "{c}");
        }
        // Each character comes equally often: four times in the 220 bytes below the limit.
        for c in ALPHABET {
            assert_eq!(all.bytes().filter(|byte| byte == c).count(), 4);
        }
        assert_eq!(random(7, &[255; 100], &[]), None);
    }

    #[test]
    fn a_random_slug_is_one_that_could_be_chosen() {
        let words = vec!["acme".to_string()];
        let drawn = |text: &str| {
            let byte = |c: u8| ALPHABET.iter().position(|other| *other == c).unwrap() as u8;
            random(text.len(), &text.bytes().map(byte).collect::<Vec<_>>(), &words)
        };
        assert_eq!(drawn("xK7mPqz").as_deref(), Some("xK7mPqz"));
        for refused in ["payment", "PaYmenT", "abuse", "xxACMEx", "xacm3yy", "xnaz5Lu", "cunt234"] {
            let checked = check(refused, &words);
            assert_eq!(drawn(refused).is_some(), checked.is_ok(), "{refused}: {checked:?}");
        }
        assert_eq!([drawn("payment"), drawn("abuse"), drawn("xxACMEx")], [None, None, None]);
    }
}
