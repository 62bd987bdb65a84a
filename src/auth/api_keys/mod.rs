//! API keys in the manner of Coinbase's exchange: what they are, who makes them, how they end.
//!
//! A key has an id, a secret of 64 random bytes that signs requests, and a passphrase of its owner's
//! choice. The secret has to be known to check a signature, so it is kept encrypted; of the
//! passphrase there is a hash, keyed with the venue's master key rather than slow, since it is checked
//! with every request: whoever could try passphrases against it holds the master key, and with it
//! the secrets themselves.
//!
//! Invariants: an id carries a check value that only we can make, so made-up ids never reach the
//! database; a secret is shown once, when it is made; a key's role is never above that of a user.

mod check;
mod replay;

pub(super) use check::Keys;
pub use check::SignedRequest;
pub(super) use replay::{LIFETIME, SAME_SECOND};

use super::audit::note;
use super::error::{AuthError, KeyFlaw};
use super::secret::Secret;
use super::service::Accounts;
use super::vault::{Vault, random, same};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::api_keys::{self as store, StoredKey};
use crate::persistence::audit::Entry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// Keys that a user may have at a time.
const MOST_KEYS: i64 = 50;
/// Characters of a passphrase and of a label, at most.
const LONGEST_TEXT: usize = 100;
/// Networks of a key's allow-list, at most.
const MOST_NETWORKS: usize = 50;
/// Bytes of an id that are random; the rest is the check value.
const RANDOM_BYTES: usize = 10;

/// Names a key: 16 bytes, outwardly 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    fn random(vault: &Vault) -> Option<KeyId> {
        Some(KeyId::with_check(vault, random()?))
    }

    fn with_check(vault: &Vault, random: [u8; RANDOM_BYTES]) -> KeyId {
        let check = vault.digest("api key id", &[&random]);
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().zip(random.iter().chain(check.iter())) {
            *place = *byte;
        }
        KeyId(id)
    }

    /// The id of this text, if it is one that this venue made.
    fn parse(vault: &Vault, text: &str) -> Option<KeyId> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut id = [0; 16];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        let own = id.first_chunk().map(|random| KeyId::with_check(vault, *random))?;
        same(&own.0, &id).then_some(own)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that a key may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reads what is the user's own.
    View,
    /// Places and cancels orders.
    Trade,
    /// Moves money in and out.
    Transfer,
    /// Makes, reads and changes short links.
    Links,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] = [Scope::View, Scope::Trade, Scope::Transfer, Scope::Links];

    /// The name on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Scope::View => "view",
            Scope::Trade => "trade",
            Scope::Transfer => "transfer",
            Scope::Links => "links",
        }
    }

    /// The scope of this name.
    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    fn bit(self) -> u8 {
        match self {
            Scope::View => 1,
            Scope::Trade => 2,
            Scope::Transfer => 4,
            Scope::Links => 8,
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// All scopes: what a signed-in user has.
    pub const ALL: Scopes = Scopes(15);

    /// Whether this scope is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Reads names with commas between them; unknown ones count for nothing.
    fn parse(text: &str) -> Scopes {
        text.split(',').filter_map(Scope::from_name).collect()
    }

    fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |all, scope| all | scope.bit()))
    }
}

/// What an owner chooses for a new key.
#[derive(Debug)]
pub struct NewKey {
    /// What the owner calls it; may be empty, and has no control characters.
    pub label: String,
    /// 1 to 100 characters of printable ASCII, none at either end a space; kept as a hash.
    pub passphrase: Secret,
    /// What it may do; at least one scope.
    pub scopes: Vec<Scope>,
    /// Addresses or networks (`10.0.0.0/8`) from which it may be used; none means from anywhere.
    pub networks: Vec<String>,
    /// From then on it counts no more.
    pub expires_at: Option<Timestamp>,
}

/// A new key with what its owner must keep.
#[derive(Debug)]
pub struct IssuedKey {
    /// The key.
    pub key: ApiKey,
    /// The secret in base64, as clients want it. It is shown this once.
    pub secret: Secret,
}

/// A key, without what is secret about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public name.
    pub id: String,
    /// What its owner calls it.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// From where it may be used; empty means from anywhere.
    pub networks: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it counts no more.
    pub expires_at: Option<Timestamp>,
    /// A recent use, exact to a minute or so.
    pub last_used: Option<Timestamp>,
    /// The address of that use.
    pub last_used_from: Option<String>,
}

impl From<StoredKey> for ApiKey {
    fn from(key: StoredKey) -> ApiKey {
        ApiKey {
            scopes: Scopes::parse(&key.scopes).iter().collect(),
            networks: key.networks.split(',').filter(|text| !text.is_empty()).map(str::to_owned).collect(),
            id: key.id,
            label: key.label,
            created_at: Timestamp(key.created_at),
            expires_at: key.expires_at.map(Timestamp),
            last_used: key.last_used.map(Timestamp),
            last_used_from: key.last_used_from,
        }
    }
}

/// A network from `10.1.2.3` or `10.0.0.0/8`, in its shortest form.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some(network.trunc())
}

fn seal_name(id: KeyId) -> String {
    format!("api key {id}")
}

/// Whether a passphrase is of a fit length and arrives in a header as it is: what is not printable ASCII cannot stand
/// there, and spaces at its ends get lost.
fn travels(passphrase: &str) -> bool {
    (1..=LONGEST_TEXT).contains(&passphrase.len())
        && passphrase.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && passphrase.trim() == passphrase
}

fn passphrase_digest(vault: &Vault, id: KeyId, passphrase: &str) -> [u8; 32] {
    vault.digest("api key passphrase", &[&id.0, passphrase.as_bytes()])
}

impl Accounts {
    /// Makes a key. It is durable when this answers.
    ///
    /// # Errors
    /// [`AuthError::BadKey`] when a choice is unfit or the user has too many keys, or a failure.
    pub async fn create_key(&self, user: AccountId, new: NewKey) -> Result<IssuedKey, AuthError> {
        self.create_key_noted(user, new, |_| None).await
    }

    /// The same, with what is to be remembered of it, stored together with the key.
    ///
    /// # Errors
    /// As [`Accounts::create_key`].
    pub async fn create_key_noted(
        &self,
        user: AccountId,
        new: NewKey,
        noted: impl FnOnce(&ApiKey) -> Option<Entry>,
    ) -> Result<IssuedKey, AuthError> {
        let now = self.now();
        let flaw = |flaw| Err(AuthError::BadKey(flaw));
        if !travels(new.passphrase.expose()) {
            return flaw(KeyFlaw::Passphrase);
        }
        if new.label.chars().count() > LONGEST_TEXT || new.label.chars().any(char::is_control) {
            return flaw(KeyFlaw::Label);
        }
        if new.scopes.is_empty() {
            return flaw(KeyFlaw::NoScope);
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            return flaw(KeyFlaw::Expired);
        }
        let networks: Option<Vec<IpNet>> = new.networks.iter().map(|text| parse_network(text)).collect();
        let networks = match networks {
            Some(networks) if networks.len() <= MOST_NETWORKS => networks,
            Some(_) | None => return flaw(KeyFlaw::Network),
        };
        let id = KeyId::random(self.vault()).ok_or(AuthError::Interrupted)?;
        let secret = random::<64>().ok_or(AuthError::Interrupted)?;
        let scopes: Scopes = new.scopes.into_iter().collect();
        let names: Vec<&str> = scopes.iter().map(Scope::name).collect();
        let networks: Vec<String> = networks.iter().map(IpNet::to_string).collect();
        let row = StoredKey {
            id: id.to_string(),
            user_id: i64::from(user.0),
            label: new.label,
            secret: self.vault().seal(&seal_name(id), &secret)?,
            passphrase: passphrase_digest(self.vault(), id, new.passphrase.expose()).to_vec(),
            scopes: names.join(","),
            networks: networks.join(","),
            created_at: now.0,
            expires_at: new.expires_at.map(|at| at.0),
            revoked_at: None,
            last_used: None,
            last_used_from: None,
        };
        let key = ApiKey::from(row.clone());
        let noted = noted(&key);
        let made = self.write(move |conn| {
            if store::count_of(conn, user)? >= MOST_KEYS {
                return Ok(false);
            }
            store::create(conn, &row)?;
            if let Some(entry) = &noted {
                note(conn, entry, now)?;
            }
            Ok(true)
        });
        if !made.await? {
            return flaw(KeyFlaw::TooMany);
        }
        Ok(IssuedKey { key, secret: Secret::new(STANDARD.encode(secret)) })
    }

    /// The keys of a user that were not revoked, newest first.
    ///
    /// # Errors
    /// A failure.
    pub async fn keys(&self, user: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        let rows = self.read(move |conn| store::of_user(conn, user)).await?;
        Ok(rows.into_iter().map(ApiKey::from).collect())
    }

    /// Ends a key of this user, here at once and on other nodes within a second or so.
    ///
    /// # Errors
    /// [`AuthError::NoSuchKey`] when the user has no such key, or a failure.
    pub async fn revoke_key(&self, user: AccountId, id: &str) -> Result<(), AuthError> {
        self.revoke_key_noted(user, id, None).await
    }

    /// The same, with what is to be remembered of it, stored together with the end of the key.
    ///
    /// # Errors
    /// As [`Accounts::revoke_key`].
    pub async fn revoke_key_noted(&self, user: AccountId, id: &str, noted: Option<Entry>) -> Result<(), AuthError> {
        let (accounts, now, id) = (self.clone(), self.now(), id.to_owned());
        let revoked = self.awaited(move |database, _| {
            let revoked = database.write_durably(|conn| {
                let revoked = store::revoke(conn, user, &id, now)?;
                if let Some(entry) = noted.as_ref().filter(|_| revoked) {
                    note(conn, entry, now)?;
                }
                Ok(revoked)
            })?;
            if revoked {
                // By the same stroke: the caller may hang up in between.
                accounts.tell_key(&id);
                accounts.api_keys().ended(accounts.vault(), [id], now);
            }
            Ok(revoked)
        });
        if revoked.await? { Ok(()) } else { Err(AuthError::NoSuchKey) }
    }
}
