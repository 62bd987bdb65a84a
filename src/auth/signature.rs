//! Signed requests, as Coinbase's exchange does them: base64 of an HMAC-SHA256 over
//! `timestamp + method + target + body`, keyed with the decoded secret of an API key.
//!
//! `timestamp` is the text of the header (seconds since the Unix epoch, a fraction is allowed),
//! `method` is in capitals, `target` is path and query as they stand in the request line.

use crate::domain::time::{SECOND, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// How far the request's clock may be from ours, µs, either way.
pub const CLOCK_SKEW: i64 = 30 * SECOND;

/// Why a signed request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The timestamp is not a number of seconds.
    #[error("The timestamp must be a number of seconds since 1970.")]
    MalformedTimestamp,
    /// The timestamp is more than [`CLOCK_SKEW`] away from the venue's clock.
    #[error("The request timestamp is too far from the time of the venue.")]
    ClockSkew,
    /// The signature is not that of this request with this secret.
    #[error("The signature does not fit the request.")]
    Mismatch,
}

/// The signature of a request, as its header wants it. `secret` is the decoded key.
pub fn sign(secret: &[u8], timestamp: &str, method: &str, target: &str, body: &[u8]) -> String {
    mac(secret, timestamp, method, target, body)
        .map(|mac| STANDARD.encode(mac.finalize().into_bytes()))
        .unwrap_or_default()
}

/// Checks the signature of a request, in constant time for equally long requests.
///
/// # Errors
/// See [`SignatureError`]; the clock is looked at first.
pub fn verify(
    secret: &[u8],
    timestamp: &str,
    method: &str,
    target: &str,
    body: &[u8],
    signature: &str,
    now: Timestamp,
) -> Result<(), SignatureError> {
    check_clock(timestamp, now)?;
    if fits(secret, timestamp, method, target, body, signature) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Checks that a timestamp is close to the venue's clock.
///
/// # Errors
/// [`SignatureError::MalformedTimestamp`], [`SignatureError::ClockSkew`].
pub fn check_clock(timestamp: &str, now: Timestamp) -> Result<(), SignatureError> {
    let sent_at = parse_seconds(timestamp).ok_or(SignatureError::MalformedTimestamp)?;
    if (sent_at - now).checked_abs().is_none_or(|away| away > CLOCK_SKEW) {
        return Err(SignatureError::ClockSkew);
    }
    Ok(())
}

/// Whether a signature is that of this request, in constant time for equally long requests.
pub fn fits(secret: &[u8], timestamp: &str, method: &str, target: &str, body: &[u8], signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    mac(secret, timestamp, method, target, body).is_some_and(|mac| mac.verify_slice(&signature).is_ok())
}

/// `None` never happens, since HMAC takes keys of any length; the type system does not know that.
fn mac(secret: &[u8], timestamp: &str, method: &str, target: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    for part in [timestamp.as_bytes(), method.as_bytes(), target.as_bytes(), body] {
        mac.update(part);
    }
    Some(mac)
}

/// Digits with an optional fraction, of which six places count; no sign, no exponent.
fn parse_seconds(text: &str) -> Option<Timestamp> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(fraction) || text.len() > 32 {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    Some(Timestamp(whole.checked_mul(SECOND)?.checked_add(micros)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"an API key's decoded secret";
    const BODY: &[u8] = br#"{"size":"1.0"}"#;
    const NOW: Timestamp = Timestamp(1_700_000_000 * SECOND);

    #[test]
    fn a_known_signature_is_made_and_checked() {
        // printf '1700000000POST/orders{"size":"1.0"}' | openssl dgst -sha256 -hmac KEY -binary | base64
        let expected = "e9F83mP/c/j+fwXUxxe0cria7JDui+4mk05HgymZKrQ=";
        assert_eq!(sign(SECRET, "1700000000", "POST", "/orders", BODY), expected);
        assert_eq!(verify(SECRET, "1700000000", "POST", "/orders", BODY, expected, NOW), Ok(()));
    }

    #[test]
    fn any_change_breaks_it() {
        let good = sign(SECRET, "1700000000", "POST", "/orders?a=1", BODY);
        let check = |secret: &[u8], time: &str, method: &str, target: &str, body: &[u8], signature: &str| {
            verify(secret, time, method, target, body, signature, NOW)
        };
        let wrong = Err(SignatureError::Mismatch);
        assert_eq!(check(SECRET, "1700000000", "POST", "/orders?a=1", BODY, &good), Ok(()));
        assert_eq!(check(b"other", "1700000000", "POST", "/orders?a=1", BODY, &good), wrong);
        assert_eq!(check(SECRET, "1700000001", "POST", "/orders?a=1", BODY, &good), wrong);
        assert_eq!(check(SECRET, "1700000000", "PUT", "/orders?a=1", BODY, &good), wrong);
        assert_eq!(check(SECRET, "1700000000", "POST", "/orders?a=2", BODY, &good), wrong);
        assert_eq!(check(SECRET, "1700000000", "POST", "/orders?a=1", b"", &good), wrong);
        assert_eq!(check(SECRET, "1700000000", "POST", "/orders?a=1", BODY, &good[..40]), wrong);
        assert_eq!(check(SECRET, "1700000000", "POST", "/orders?a=1", BODY, ""), wrong);
        assert_eq!(check(SECRET, "1700000000", "POST", "/orders?a=1", BODY, "not base64!"), wrong);
    }

    #[test]
    fn the_clock_may_be_off_by_thirty_seconds() {
        for (time, expected) in [
            ("1700000030", Ok(())),
            ("1699999970", Ok(())),
            ("1699999970.0", Ok(())),
            ("1700000029.9999999", Ok(())),
            ("1700000030.000001", Err(SignatureError::ClockSkew)),
            ("1699999969.999999", Err(SignatureError::ClockSkew)),
            ("0", Err(SignatureError::ClockSkew)),
            ("9223372036854", Err(SignatureError::ClockSkew)),
            ("9223372036855", Err(SignatureError::MalformedTimestamp)),
            ("", Err(SignatureError::MalformedTimestamp)),
            ("-1", Err(SignatureError::MalformedTimestamp)),
            ("+1700000000", Err(SignatureError::MalformedTimestamp)),
            ("1.7e9", Err(SignatureError::MalformedTimestamp)),
            ("1700000000.", Err(SignatureError::MalformedTimestamp)),
            ("1700000000.1.2", Err(SignatureError::MalformedTimestamp)),
            ("2023-11-14T22:13:20Z", Err(SignatureError::MalformedTimestamp)),
        ] {
            let signature = sign(SECRET, time, "GET", "/accounts", b"");
            assert_eq!(verify(SECRET, time, "GET", "/accounts", b"", &signature, NOW), expected, "{time}");
        }
    }
}
