//! Access tokens: what they say, how they are made, checked and taken back.
//!
//! A token lives shorter than its session, which a refresh token prolongs. The signature costs some 40 µs to check, so it
//! is checked once per token: after that the SHA-256 of the token leads to what it said. A token itself is kept nowhere.
//!
//! Invariants: only ES256 by our own key counts, whatever a token's header claims; expiry and
//! revocation are looked at on every use, cached or not, so a cached entry can never outlive them.

use super::api_keys::{KeyId, Scope, Scopes};
use super::error::AuthError;
use super::keys::SigningKey;
use crate::domain::ids::AccountId;
use crate::domain::time::{MINUTE, SECOND, Timestamp};
use crate::persistence::sessions::SessionId;
use crate::persistence::users::Role;
use jsonwebtoken::{Algorithm, Header, Validation};
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The `iss` claim of every token.
const ISSUER: &str = "agora";
/// Ours have some 350 bytes; what is much longer is not worth hashing.
const LONGEST_TOKEN: usize = 2048;
/// Ended sessions that are remembered (some 50 bytes each).
const MOST_REVOKED: usize = 1 << 20;
/// A session's use is noted at most once in this time, µs.
const NOTE_EVERY: i64 = MINUTE;

/// What a caller proved itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An access token of this session.
    Session(SessionId),
    /// A signature with this API key.
    Key(KeyId),
}

/// Who sends a request, as its token or signature proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user, which is also the account in the ledger.
    pub user: AccountId,
    /// What proves it.
    pub credential: Credential,
    /// The role at the time of signing in; a change of role ends the session. With a key always that of a user.
    pub role: Role,
    /// What the caller may do with what is the user's own.
    pub scopes: Scopes,
    /// From this moment on the token or key counts no more.
    pub expires_at: Timestamp,
    /// From this moment on the session or key counts no more, nor what was opened with it.
    pub ends_at: Timestamp,
}

impl Caller {
    /// The session of somebody who signed in.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`] for API keys: they cannot change what signs people in.
    pub fn session(&self) -> Result<SessionId, AuthError> {
        match self.credential {
            Credential::Session(session) => Ok(session),
            Credential::Key(_) => Err(AuthError::Forbidden),
        }
    }

    /// Passes callers who may do this with what is the user's own.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`].
    pub fn may(&self, scope: Scope) -> Result<(), AuthError> {
        if self.scopes.contains(scope) { Ok(()) } else { Err(AuthError::Forbidden) }
    }

    /// Passes callers who have this role or a higher one.
    ///
    /// # Errors
    /// [`AuthError::RoleTooLow`].
    pub fn require(&self, needed: Role) -> Result<(), AuthError> {
        if self.role >= needed { Ok(()) } else { Err(AuthError::RoleTooLow { needed }) }
    }
}

/// The token in the value of an `Authorization` header (`Bearer <token>`).
///
/// # Errors
/// [`AuthError::TokenMissing`] for any other scheme and for no token.
pub fn bearer(header: &str) -> Result<&str, AuthError> {
    let (scheme, token) = header.trim().split_once(' ').ok_or(AuthError::TokenMissing)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Ok(token) } else { Err(AuthError::TokenMissing) }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// The user's id in decimal digits.
    sub: String,
    sid: SessionId,
    role: Role,
    /// Seconds since the Unix epoch.
    iat: i64,
    /// Seconds since the Unix epoch; the token counts before, not at, this second.
    exp: i64,
    /// When the session ends, likewise; tokens of older versions do not say.
    #[serde(default)]
    session_exp: Option<i64>,
}

/// What a token that passed said.
struct Verified {
    caller: Caller,
    session: SessionId,
    /// When the session's use was last noted, µs.
    noted_at: AtomicI64,
}

/// Makes and checks tokens.
pub(super) struct Tokens {
    key: SigningKey,
    validation: Validation,
    verified: Cache<[u8; 32], Arc<Verified>>,
    /// Sessions that were ended, with the moment when the last of their tokens expires.
    revoked: RwLock<FxHashMap<SessionId, Timestamp>>,
    /// Sessions that were used since they were last asked for, with the time of use.
    used: Mutex<FxHashMap<SessionId, Timestamp>>,
}

impl Tokens {
    /// `remembered` is how many checked tokens are kept at most (some 200 bytes each).
    pub(super) fn new(key: SigningKey, remembered: usize) -> Tokens {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // The expiry is compared with the clock that was handed in, not with the system's.
        validation.validate_exp = false;
        Tokens { key, validation, verified: Cache::new(remembered), revoked: RwLock::default(), used: Mutex::default() }
    }

    /// The public key as a JWKS document in JSON.
    pub(super) fn jwks(&self) -> &str {
        &self.key.jwks
    }

    /// Signs a token for this caller.
    ///
    /// # Errors
    /// [`AuthError::Interrupted`] when the signature fails, which it does not with an intact key.
    pub(super) fn issue(&self, caller: &Caller, now: Timestamp) -> Result<String, AuthError> {
        let session = caller.session()?;
        let header = Header { kid: Some(self.key.id.clone()), ..Header::new(Algorithm::ES256) };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: caller.user.0.to_string(),
            sid: session,
            role: caller.role,
            iat: now.seconds(),
            exp: caller.expires_at.seconds(),
            session_exp: Some(caller.ends_at.seconds()),
        };
        jsonwebtoken::encode(&header, &claims, &self.key.encoding).map_err(|error| {
            tracing::error!(%error, "an access token could not be signed");
            AuthError::Interrupted
        })
    }

    /// Checks a token: some 40 µs the first time, a hash and two look-ups after that.
    ///
    /// # Errors
    /// [`AuthError::TokenMissing`] when it is empty, [`AuthError::TokenInvalid`],
    /// [`AuthError::TokenExpired`], [`AuthError::TokenRevoked`].
    pub(super) fn check(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        if token.is_empty() {
            return Err(AuthError::TokenMissing);
        }
        if token.len() > LONGEST_TOKEN {
            return Err(AuthError::TokenInvalid);
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.verified.get(&digest);
        let fresh = known.is_none();
        let verified = match known {
            Some(verified) => verified,
            None => {
                let caller = self.verify(token)?;
                Arc::new(Verified { session: caller.session()?, caller, noted_at: AtomicI64::new(i64::MIN) })
            }
        };
        let refusal = if now >= verified.caller.expires_at {
            Some(AuthError::TokenExpired)
        } else if self.revoked.read().contains_key(&verified.session) {
            Some(AuthError::TokenRevoked)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            if !fresh {
                self.verified.remove(&digest);
            }
            return Err(refusal);
        }
        self.note(&verified, now);
        let caller = verified.caller;
        if fresh {
            self.verified.insert(digest, verified);
        }
        Ok(caller)
    }

    /// Checks signature and content, not time and revocation.
    fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        let data = jsonwebtoken::decode::<Claims>(token, &self.key.decoding, &self.validation)
            .map_err(|_| AuthError::TokenInvalid)?;
        if data.header.kid.as_deref() != Some(self.key.id.as_str()) {
            return Err(AuthError::TokenInvalid);
        }
        let user = data.claims.sub.parse().map_err(|_| AuthError::TokenInvalid)?;
        let time = |seconds: i64| Timestamp(seconds.saturating_mul(SECOND));
        Ok(Caller {
            user: AccountId(user),
            credential: Credential::Session(data.claims.sid),
            role: data.claims.role,
            scopes: Scopes::ALL,
            expires_at: time(data.claims.exp),
            ends_at: time(data.claims.session_exp.unwrap_or(data.claims.exp)),
        })
    }

    fn note(&self, verified: &Verified, now: Timestamp) {
        let noted_at = verified.noted_at.load(Ordering::Relaxed);
        if noted_at.saturating_add(NOTE_EVERY) <= now.0 {
            verified.noted_at.store(now.0, Ordering::Relaxed);
            self.used.lock().insert(verified.session, now);
        }
    }

    /// Ends sessions here and now. The time is when the last token of the session expires. Of more than
    /// [`MOST_REVOKED`] the half is forgotten whose tokens expire first.
    pub(super) fn revoke(&self, sessions: impl IntoIterator<Item = (SessionId, Timestamp)>) {
        let mut revoked = self.revoked.write();
        revoked.extend(sessions);
        if revoked.len() > MOST_REVOKED {
            let mut ends: Vec<Timestamp> = revoked.values().copied().collect();
            let (_, middle, _) = ends.select_nth_unstable(MOST_REVOKED / 2);
            let middle = *middle;
            revoked.retain(|_, expires_at| *expires_at > middle);
            tracing::warn!(left = revoked.len(), "too many sessions were ended at once to remember all of them");
        }
    }

    /// Whether a session was ended a short while ago, or has tokens that would count otherwise.
    pub(super) fn is_revoked(&self, session: SessionId) -> bool {
        self.revoked.read().contains_key(&session)
    }

    /// Forgets revocations of tokens that have expired by themselves.
    pub(super) fn forget_expired(&self, now: Timestamp) {
        self.revoked.write().retain(|_, expires_at| *expires_at > now);
    }

    /// The sessions that were used since the last call, with the time of a recent use.
    pub(super) fn take_used(&self) -> Vec<(SessionId, Timestamp)> {
        self.used.lock().drain().collect()
    }

    /// Puts back what [`Tokens::take_used`] gave when it could not be stored.
    pub(super) fn put_back_used(&self, used: Vec<(SessionId, Timestamp)>) {
        let mut newer = self.used.lock();
        for (session, at) in used {
            newer.entry(session).or_insert(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::HOUR;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;

    const NOW: Timestamp = Timestamp(1_800_000_000 * SECOND);

    fn tokens() -> Tokens {
        let data = tempfile::tempdir().unwrap();
        Tokens::new(SigningKey::load_or_create(data.path()).unwrap(), 100)
    }

    fn caller() -> Caller {
        Caller {
            user: AccountId(7),
            credential: Credential::Session(SessionId::random()),
            role: Role::Moderator,
            scopes: Scopes::ALL,
            expires_at: NOW + 60 * SECOND,
            ends_at: NOW + HOUR,
        }
    }

    fn claims(change: impl FnOnce(&mut serde_json::Value)) -> serde_json::Value {
        let caller = caller();
        let mut claims = serde_json::json!({
            "iss": "agora", "sub": "7", "sid": caller.session().unwrap(), "role": "moderator",
            "iat": NOW.seconds(), "exp": caller.expires_at.seconds(),
        });
        change(&mut claims);
        claims
    }

    fn header(tokens: &Tokens, algorithm: Algorithm) -> Header {
        Header { kid: Some(tokens.key.id.clone()), ..Header::new(algorithm) }
    }

    #[test]
    fn a_token_says_who_calls_also_from_the_cache() {
        let (tokens, caller) = (tokens(), caller());
        let token = tokens.issue(&caller, NOW).unwrap();
        assert_eq!(tokens.check(&token, NOW), Ok(caller));
        assert_eq!(tokens.verified.len(), 1);
        assert_eq!(tokens.check(&token, NOW), Ok(caller));
        assert_eq!(tokens.check("", NOW), Err(AuthError::TokenMissing));
    }

    #[test]
    fn a_token_ends_with_its_time_cached_or_not_and_leaves_the_cache() {
        let (tokens, caller) = (tokens(), caller());
        let token = tokens.issue(&caller, NOW).unwrap();
        assert_eq!(tokens.check(&token, caller.expires_at), Err(AuthError::TokenExpired));
        assert_eq!(tokens.verified.len(), 0);
        assert_eq!(tokens.check(&token, Timestamp(caller.expires_at.0 - 1)), Ok(caller));
        assert_eq!(tokens.check(&token, caller.expires_at), Err(AuthError::TokenExpired));
        assert_eq!(tokens.verified.len(), 0);
    }

    #[test]
    fn a_revoked_session_ends_at_once_cached_or_not_until_its_tokens_expire() {
        let (tokens, caller) = (tokens(), caller());
        let token = tokens.issue(&caller, NOW).unwrap();
        assert_eq!(tokens.check(&token, NOW), Ok(caller));
        tokens.revoke([(caller.session().unwrap(), caller.expires_at)]);
        assert_eq!(tokens.check(&token, NOW), Err(AuthError::TokenRevoked));
        assert_eq!(tokens.verified.len(), 0);
        assert_eq!(tokens.check(&token, NOW), Err(AuthError::TokenRevoked));
        tokens.forget_expired(Timestamp(caller.expires_at.0 - 1));
        assert_eq!(tokens.check(&token, NOW), Err(AuthError::TokenRevoked));
        tokens.forget_expired(caller.expires_at);
        assert!(tokens.revoked.read().is_empty());
    }

    #[test]
    fn of_too_many_ended_sessions_those_are_forgotten_that_end_first() {
        let tokens = tokens();
        let (soon, late) = (SessionId::random(), SessionId::random());
        tokens.revoke([(soon, NOW), (late, NOW + HOUR)]);
        tokens.revoke((0..MOST_REVOKED as u128).map(|n| {
            let end = if n % 2 == 0 { NOW + MINUTE } else { NOW + 2 * MINUTE };
            (SessionId(uuid::Uuid::from_u128(n)), end)
        }));
        assert!(tokens.revoked.read().len() <= MOST_REVOKED / 2 + 1);
        assert!(!tokens.is_revoked(soon) && tokens.is_revoked(late));
    }

    #[test]
    fn any_altered_byte_makes_a_token_invalid() {
        let (tokens, caller) = (tokens(), caller());
        let token = tokens.issue(&caller, NOW).unwrap();
        assert_eq!(tokens.check(&token, NOW), Ok(caller));
        for place in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(tokens.check(&altered, NOW), Err(AuthError::TokenInvalid), "byte {place}");
        }
        for altered in
            [format!("{token}A"), format!("{token}."), token[1..].to_owned(), "a.b.c".into(), "x".repeat(9999)]
        {
            assert_eq!(tokens.check(&altered, NOW), Err(AuthError::TokenInvalid), "{altered}");
        }
    }

    #[test]
    fn tokens_without_a_signature_are_invalid() {
        let tokens = tokens();
        let payload = URL_SAFE_NO_PAD.encode(claims(|_| ()).to_string());
        for algorithm in ["none", "None", "NONE", "nOnE", ""] {
            let header = serde_json::json!({ "typ": "JWT", "alg": algorithm, "kid": tokens.key.id }).to_string();
            let unsigned = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(tokens.check(&unsigned, NOW), Err(AuthError::TokenInvalid), "{algorithm}");
        }
        let header = URL_SAFE_NO_PAD.encode(serde_json::json!({ "alg": "ES256", "kid": tokens.key.id }).to_string());
        // An all-zero signature passed in verifiers that forgot to check its range (CVE-2022-21449).
        let zeros = URL_SAFE_NO_PAD.encode([0_u8; 64]);
        for signature in ["", &zeros] {
            assert_eq!(tokens.check(&format!("{header}.{payload}.{signature}"), NOW), Err(AuthError::TokenInvalid));
        }
    }

    #[test]
    fn the_public_key_is_no_shared_secret() {
        let tokens = tokens();
        let public = tokens.key.decoding.try_get_as_bytes().unwrap();
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for secret in [public, tokens.key.jwks.as_bytes(), tokens.key.id.as_bytes()] {
                let key = EncodingKey::from_secret(secret);
                let forged = jsonwebtoken::encode(&header(&tokens, algorithm), &claims(|_| ()), &key).unwrap();
                assert_eq!(tokens.check(&forged, NOW), Err(AuthError::TokenInvalid));
            }
        }
    }

    #[test]
    fn a_token_of_another_key_is_invalid_whatever_key_it_names() {
        let (ours, theirs, caller) = (tokens(), tokens(), caller());
        assert_eq!(ours.check(&theirs.issue(&caller, NOW).unwrap(), NOW), Err(AuthError::TokenInvalid));
        let forged =
            jsonwebtoken::encode(&header(&ours, Algorithm::ES256), &claims(|_| ()), &theirs.key.encoding).unwrap();
        assert_eq!(ours.check(&forged, NOW), Err(AuthError::TokenInvalid));
        // A key sent along in the header is not looked at.
        let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(theirs.jwks()).unwrap();
        let with_key = Header { jwk: Some(jwks.keys[0].clone()), ..header(&ours, Algorithm::ES256) };
        let forged = jsonwebtoken::encode(&with_key, &claims(|_| ()), &theirs.key.encoding).unwrap();
        assert_eq!(ours.check(&forged, NOW), Err(AuthError::TokenInvalid));
    }

    #[test]
    fn our_own_signature_over_unfit_claims_is_invalid() {
        let tokens = tokens();
        let sign = |header: &Header, claims| jsonwebtoken::encode(header, &claims, &tokens.key.encoding).unwrap();
        let fit = header(&tokens, Algorithm::ES256);
        assert!(tokens.check(&sign(&fit, claims(|_| ())), NOW).is_ok());
        let unfit: [fn(&mut serde_json::Value); 7] = [
            |claims| claims["iss"] = "elsewhere".into(),
            |claims| claims["sub"] = "seven".into(),
            |claims| claims["sub"] = "4294967296".into(),
            |claims| claims["role"] = "owner".into(),
            |claims| claims["sid"] = "not a session".into(),
            |claims| claims["exp"] = "never".into(),
            |claims| drop(claims.as_object_mut().unwrap().remove("exp")),
        ];
        for (case, change) in unfit.into_iter().enumerate() {
            assert_eq!(tokens.check(&sign(&fit, claims(change)), NOW), Err(AuthError::TokenInvalid), "case {case}");
        }
        for kid in [None, Some("another".to_owned())] {
            let unnamed = Header { kid, ..Header::new(Algorithm::ES256) };
            assert_eq!(tokens.check(&sign(&unnamed, claims(|_| ())), NOW), Err(AuthError::TokenInvalid));
        }
    }

    #[test]
    fn the_cache_is_bounded_and_use_is_noted_once_a_minute() {
        let tokens = tokens();
        let caller = Caller { expires_at: NOW + 3600 * SECOND, ..caller() };
        let token = tokens.issue(&caller, NOW).unwrap();
        for (at, noted) in [(NOW, 1), (NOW + 59 * SECOND, 0), (NOW + 60 * SECOND, 1), (NOW + 61 * SECOND, 0)] {
            assert_eq!(tokens.check(&token, at), Ok(caller));
            let used = tokens.take_used();
            assert_eq!(used, vec![(caller.session().unwrap(), at)][..noted]);
        }
        for _ in 0..300 {
            let other = Caller { credential: Credential::Session(SessionId::random()), ..caller };
            assert_eq!(tokens.check(&tokens.issue(&other, NOW).unwrap(), NOW), Ok(other));
        }
        assert!(tokens.verified.len() <= 100, "{}", tokens.verified.len());
    }

    #[test]
    fn the_header_names_its_scheme() {
        for header in ["Bearer abc", "bearer abc", "BEARER  abc ", " Bearer abc"] {
            assert_eq!(bearer(header), Ok("abc"), "{header}");
        }
        for header in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(bearer(header), Err(AuthError::TokenMissing), "{header}");
        }
    }
}
