//! Checking signed requests. The price of a known key is two hashes and a look-up; the database is
//! asked once for each key, and again only when the key has fallen out of the cache.

use super::replay::Replays;
use super::{KeyId, Scopes, passphrase_digest, seal_name};
use crate::auth::error::AuthError;
use crate::auth::service::Accounts;
use crate::auth::signature::{self, SignatureError};
use crate::auth::tokens::{Caller, Credential};
use crate::auth::vault::{Vault, same};
use crate::domain::ids::AccountId;
use crate::domain::time::{MINUTE, Timestamp};
use crate::persistence::api_keys::{self as store, KeyUse, StoredKey};
use crate::persistence::users::Role;
use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Keys that are kept in memory (some 400 bytes each).
const REMEMBERED_KEYS: usize = 65_536;
/// A key's use is noted at most once in this time, µs.
const NOTE_EVERY: i64 = MINUTE;
/// How long a revocation is remembered: longer than any look-up that began before it, µs.
const REMEMBER_ENDED: i64 = 10 * MINUTE;

/// A request as it was sent, with what signs it.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The key's id.
    pub key: &'a str,
    /// The text of the signature, base64.
    pub signature: &'a str,
    /// The text of the timestamp.
    pub timestamp: &'a str,
    /// The passphrase.
    pub passphrase: &'a str,
    /// In capitals.
    pub method: &'a str,
    /// Path and query as on the request line.
    pub target: &'a str,
    /// As sent.
    pub body: &'a [u8],
    /// Who sent it, if that is known.
    pub address: Option<IpAddr>,
    /// Whether the signature counts once: for requests that change something, and for whatever opens a way to do so.
    pub once: bool,
}

/// A key with what it takes to check it.
struct Known {
    user: AccountId,
    secret: Vec<u8>,
    passphrase: Vec<u8>,
    scopes: Scopes,
    networks: Vec<IpNet>,
    expires_at: Timestamp,
    noted_at: AtomicI64,
}

/// Keys in memory.
pub(in crate::auth) struct Keys {
    known: Cache<KeyId, Arc<Known>>,
    ended: RwLock<FxHashMap<KeyId, Timestamp>>,
    used: Mutex<FxHashMap<KeyId, (Timestamp, Option<IpAddr>)>>,
    replays: Replays,
}

impl Keys {
    pub(in crate::auth) fn new() -> Keys {
        Keys {
            known: Cache::new(REMEMBERED_KEYS),
            ended: RwLock::default(),
            used: Mutex::default(),
            replays: Replays::new(),
        }
    }

    /// Keys that count no more, from now on.
    pub(in crate::auth) fn ended(&self, vault: &Vault, ids: impl IntoIterator<Item = String>, now: Timestamp) {
        let mut ended = self.ended.write();
        for id in ids.into_iter().filter_map(|text| KeyId::parse(vault, &text)) {
            ended.insert(id, now + REMEMBER_ENDED);
            self.known.remove(&id);
        }
    }

    /// Whether this key was ended a short while ago; an older end is seen when the key is looked up.
    pub(in crate::auth) fn has_ended(&self, id: KeyId) -> bool {
        self.ended.read().contains_key(&id)
    }

    /// Forgets revocations that every look-up knows of by now.
    pub(in crate::auth) fn forget(&self, now: Timestamp) {
        self.ended.write().retain(|_, until| *until > now);
    }

    /// The uses since the last call.
    pub(in crate::auth) fn take_used(&self) -> Vec<KeyUse> {
        let used: Vec<_> = self.used.lock().drain().collect();
        let row = |(id, (at, from)): (KeyId, (Timestamp, Option<IpAddr>))| KeyUse {
            id: id.to_string(),
            at,
            from: from.map(|address| address.to_string()).unwrap_or_default(),
        };
        used.into_iter().map(row).collect()
    }

    fn note(&self, id: KeyId, known: &Known, address: Option<IpAddr>, now: Timestamp) {
        let noted_at = known.noted_at.load(Ordering::Relaxed);
        if noted_at.saturating_add(NOTE_EVERY) <= now.0 {
            known.noted_at.store(now.0, Ordering::Relaxed);
            self.used.lock().insert(id, (now, address));
        }
    }
}

impl Accounts {
    /// Who signed this request. A key that is not in memory costs one look-up in the database.
    ///
    /// # Errors
    /// The refusals of the dialect: [`AuthError::UnknownKey`] (also for one that expired or was
    /// revoked), [`AuthError::WrongSignature`], [`AuthError::WrongPassphrase`],
    /// [`AuthError::BadTimestamp`], [`AuthError::StaleTimestamp`], [`AuthError::NetworkNotAllowed`],
    /// [`AuthError::Replayed`]; or a failure.
    pub async fn authenticate_signed(&self, request: SignedRequest<'_>) -> Result<Caller, AuthError> {
        let now = self.now();
        signature::check_clock(request.timestamp, now)?;
        let id = KeyId::parse(self.vault(), request.key).ok_or(AuthError::UnknownKey)?;
        let keys = self.api_keys();
        let known = match keys.known.get(&id) {
            Some(known) => known,
            None => {
                let known = Arc::new(self.look_up(id).await?);
                keys.known.insert(id, known.clone());
                known
            }
        };
        // Looked at after the insertion: a revocation that came in between is seen here.
        if keys.has_ended(id) {
            keys.known.remove(&id);
            return Err(AuthError::UnknownKey);
        }
        check_signature(&known.secret, &request)?;
        let passphrase = passphrase_digest(self.vault(), id, request.passphrase);
        if !same(&passphrase, &known.passphrase) {
            return Err(AuthError::WrongPassphrase);
        }
        if now >= known.expires_at {
            return Err(AuthError::UnknownKey);
        }
        let inside = |address: IpAddr| known.networks.iter().any(|network| network.contains(&address));
        if !known.networks.is_empty() && !request.address.is_some_and(inside) {
            return Err(AuthError::NetworkNotAllowed);
        }
        if request.once {
            let signature = self.vault().digest("signature", &[id.0.as_slice(), request.signature.as_bytes()]);
            let signature = signature.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
            let whole_seconds = !request.timestamp.contains('.');
            keys.replays.admit(signature, whole_seconds, now)?;
            self.first_anywhere(signature, whole_seconds).await?;
        }
        keys.note(id, &known, request.address, now);
        Ok(Caller {
            user: known.user,
            credential: Credential::Key(id),
            role: Role::User,
            scopes: known.scopes,
            expires_at: known.expires_at,
            ends_at: known.expires_at,
        })
    }

    /// Whether it is worth while to read a large body before its signature is checked: the key is one that this venue has
    /// given out, and the time is now.
    ///
    /// # Errors
    /// [`AuthError::UnknownKey`], [`AuthError::BadTimestamp`], [`AuthError::StaleTimestamp`].
    pub fn may_sign(&self, key: &str, timestamp: &str) -> Result<(), AuthError> {
        signature::check_clock(timestamp, self.now())?;
        let id = KeyId::parse(self.vault(), key).ok_or(AuthError::UnknownKey)?;
        if self.api_keys().has_ended(id) { Err(AuthError::UnknownKey) } else { Ok(()) }
    }

    async fn look_up(&self, id: KeyId) -> Result<Known, AuthError> {
        let text = id.to_string();
        let stored = self.read(move |conn| store::by_id(conn, &text)).await?;
        let stored = stored.filter(|key| key.revoked_at.is_none()).ok_or(AuthError::UnknownKey)?;
        let opened = self.vault().open_sealed(&seal_name(id), &stored.secret);
        let secret = opened.ok_or_else(|| {
            tracing::error!(key = %id, "the secret of an API key cannot be opened with this venue's key");
            AuthError::Interrupted
        })?;
        known(&stored, secret).map_err(|error| {
            tracing::error!(key = %id, %error, "an API key is stored with an owner or network that cannot be read");
            AuthError::Interrupted
        })
    }
}

fn known(stored: &StoredKey, secret: Vec<u8>) -> Result<Known, Box<dyn std::error::Error>> {
    let networks = stored.networks.split(',').filter(|text| !text.is_empty());
    Ok(Known {
        user: stored.owner()?,
        secret,
        passphrase: stored.passphrase.clone(),
        scopes: Scopes::parse(&stored.scopes),
        networks: networks.map(str::parse).collect::<Result<_, _>>()?,
        expires_at: stored.expires_at.map_or(Timestamp(i64::MAX), Timestamp),
        noted_at: AtomicI64::new(i64::MIN),
    })
}

/// The signature may be over the target as sent, or over the same path with or without `/v1`: some
/// clients cannot put a path into their base URL, others sign only what follows it.
fn check_signature(secret: &[u8], request: &SignedRequest<'_>) -> Result<(), AuthError> {
    let SignedRequest { timestamp, method, target, body, .. } = *request;
    let fits = |target: &str| signature::fits(secret, timestamp, method, target, body, request.signature);
    let other = || match target.strip_prefix("/v1").filter(|rest| rest.starts_with('/')) {
        Some(rest) => fits(rest),
        None => fits(&format!("/v1{target}")),
    };
    if fits(target) || other() { Ok(()) } else { Err(AuthError::WrongSignature) }
}

impl From<SignatureError> for AuthError {
    fn from(error: SignatureError) -> AuthError {
        match error {
            SignatureError::MalformedTimestamp => AuthError::BadTimestamp,
            SignatureError::ClockSkew => AuthError::StaleTimestamp,
            SignatureError::Mismatch => AuthError::WrongSignature,
        }
    }
}
