//! [`Accounts`]: what the rest of the program asks about people.

use super::api_keys::{Keys, Scopes};
use super::credentials::{Email, check_new_password, could_be_a_password};
use super::error::AuthError;
use super::guard::Guard;
use super::keys::{KeyError, SigningKey};
use super::passwords::Passwords;
use super::secret::Secret;
use super::tokens::{Caller, Credential, Tokens};
use super::vault::Vault;
use super::workers::{WorkError, Workers};
use crate::domain::ids::AccountId;
use crate::domain::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};
use crate::persistence::api_keys;
use crate::persistence::db::{Connection, Database, DbError};
use crate::persistence::sessions::{self, Session, SessionId};
use crate::persistence::users::{self, NewUser, Role, User};
use diesel::QueryResult;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use thiserror::Error;

/// Threads for the store; SQLite writes one transaction at a time anyway.
const STORE_WORKERS: usize = 2;
/// Requests that may wait for the store.
const STORE_QUEUE: usize = 1024;
/// Checked tokens that are remembered.
const REMEMBERED_TOKENS: usize = 65_536;
/// Expired sessions stay in the table this long, µs.
const KEEP_EXPIRED: i64 = 30 * DAY;
/// How far the clocks of processes on one database may differ, and how long a write may take, µs.
const CLOCK_TOLERANCE: i64 = MINUTE;
/// Characters of a user agent that are kept.
const LONGEST_USER_AGENT: usize = 256;

/// Tells the time. Handed in, so that tests can move it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What can be chosen about accounts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a session, and its one token, lives; µs, whole seconds. Default 12 h: the length
    /// of a trading day, after which people sign in again.
    pub session_lifetime: i64,
    /// Password checks that may wait for one of the two workers. Default 64: over a second of
    /// work, after which more waiting would only be more giving up.
    pub password_queue: usize,
    /// The key for secrets at rest, 32 bytes in base64; `None` takes that of the data folder.
    pub secrets_key: Option<Secret>,
    /// Networks of proxies that are believed about their clients' addresses.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { session_lifetime: 12 * HOUR, password_queue: 64, secrets_key: None, trusted_proxies: Vec::new() }
    }
}

/// Why accounts cannot be served.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no usable signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The revoked sessions could not be read.
    #[error(transparent)]
    Store(#[from] DbError),
    /// No thread could be started.
    #[error("the workers for accounts cannot be started: {0}")]
    Workers(#[from] std::io::Error),
}

/// The outcome of signing up or in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The new session.
    pub session: SessionId,
    /// The token that proves it, to be sent as `Authorization: Bearer …`.
    pub token: Secret,
    /// From then on the token counts no more.
    pub expires_at: Timestamp,
}

struct Inner {
    settings: Settings,
    clock: Clock,
    database: Database,
    store: Workers,
    passwords: Passwords,
    tokens: Tokens,
    vault: Vault,
    keys: Keys,
    guard: Guard,
    /// Revocations up to here were read from the database, µs.
    tended_at: AtomicI64,
}

/// Users, sessions and tokens. Clones share everything.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Reads or makes the signing key under `data`, loads the revoked sessions and starts the
    /// workers. Blocks (it hashes a password and reads the database).
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(data: &Path, database: Database, settings: Settings, clock: Clock) -> Result<Accounts, StartError> {
        let tokens = Tokens::new(SigningKey::load_or_create(data)?, REMEMBERED_TOKENS);
        let now = clock();
        tokens.revoke(database.read(|conn| sessions::revoked_and_unexpired(conn, Timestamp::ZERO, now))?);
        Ok(Accounts(Arc::new(Inner {
            passwords: Passwords::start(settings.password_queue)?,
            store: Workers::start("accounts", STORE_WORKERS, STORE_QUEUE)?,
            guard: Guard::new(),
            vault: Vault::open(data, settings.secrets_key.as_ref())?,
            keys: Keys::new(),
            tended_at: AtomicI64::new(now.0),
            settings,
            clock,
            database,
            tokens,
        })))
    }

    /// Makes a user and signs it in. The user and the session are durable when this answers.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::WeakPassword`], [`AuthError::EmailTaken`], or a failure.
    pub async fn sign_up(
        &self,
        email: &str,
        password: Secret,
        demo: bool,
        user_agent: Option<&str>,
    ) -> Result<SignedIn, AuthError> {
        let (email, hash) = self.prepare_user(email, password).await?;
        let user_agent = user_agent.map(str::to_owned);
        let (now, lifetime) = (self.now(), self.0.settings.session_lifetime);
        let (user, session) = self
            .write(move |conn| {
                let new = NewUser { email: email.as_str(), password_hash: &hash, role: Role::User, demo };
                let user = users::create(conn, &new, now)?;
                let session = begin_session(&user, user_agent.as_deref(), now, lifetime);
                sessions::create(conn, &session)?;
                Ok((user, session))
            })
            .await?;
        self.admit(user, &session)
    }

    /// Makes an administrator, for the command line. Nobody is signed in.
    ///
    /// # Errors
    /// As [`Accounts::sign_up`].
    pub async fn create_admin(&self, email: &str, password: Secret) -> Result<User, AuthError> {
        let (email, hash) = self.prepare_user(email, password).await?;
        let now = self.now();
        self.write(move |conn| {
            let new = NewUser { email: email.as_str(), password_hash: &hash, role: Role::Admin, demo: false };
            users::create(conn, &new, now)
        })
        .await
    }

    /// Signs a user in. An unknown address and a wrong password look alike, in answer and effort.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::WrongCredentials`], [`AuthError::TooManyAttempts`],
    /// or a failure.
    pub async fn sign_in(
        &self,
        email: &str,
        password: Secret,
        user_agent: Option<&str>,
    ) -> Result<SignedIn, AuthError> {
        let email = Email::parse(email)?;
        self.0.guard.admit(&email, self.now())?;
        let user = match self.prove(&email, password).await {
            Ok(user) => user,
            Err(error) => {
                if error != AuthError::WrongCredentials {
                    self.0.guard.undo(&email);
                }
                return Err(error);
            }
        };
        self.0.guard.succeeded(&email);
        let user_agent = user_agent.map(str::to_owned);
        let (now, lifetime) = (self.now(), self.0.settings.session_lifetime);
        let (user, session) = self
            .write(move |conn| {
                // Read again: the role may have changed while the password was checked.
                let user = users::by_id(conn, user.id)?.ok_or(diesel::result::Error::NotFound)?;
                let session = begin_session(&user, user_agent.as_deref(), now, lifetime);
                sessions::create(conn, &session)?;
                users::signed_in(conn, user.id, now)?;
                Ok((User { last_sign_in_at: Some(now), ..user }, session))
            })
            .await?;
        self.admit(user, &session)
    }

    /// Ends a session. Its tokens stop to count at once, even when the store fails.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::StoreUnavailable`]: a restart would not know of it,
    /// so it should be tried again.
    pub async fn sign_out(&self, session: SessionId) -> Result<(), AuthError> {
        let now = self.now();
        // The session's own expiry stands in the table; `tend` replaces this one with it.
        self.0.tokens.revoke([(session, Timestamp(i64::MAX))]);
        self.write(move |conn| sessions::revoke(conn, session, now)).await
    }

    /// Ends all sessions of a user and says which.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::StoreUnavailable`].
    pub async fn sign_out_everywhere(&self, user: AccountId) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        self.end(move |conn| sessions::revoke_all_of(conn, user, now)).await
    }

    /// Who sends this token. Needs no store; the price is in the module `tokens`.
    ///
    /// # Errors
    /// [`AuthError::TokenMissing`], [`AuthError::TokenInvalid`], [`AuthError::TokenExpired`],
    /// [`AuthError::TokenRevoked`].
    pub fn authenticate(&self, token: &str) -> Result<Caller, AuthError> {
        self.0.tokens.check(token, self.now())
    }

    /// Whether this is the address of a proxy that is believed about its clients.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.settings.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The user with this id.
    ///
    /// # Errors
    /// [`AuthError::UnknownUser`], or a failure.
    pub async fn user(&self, id: AccountId) -> Result<User, AuthError> {
        self.read(move |conn| users::by_id(conn, id)).await?.ok_or(AuthError::UnknownUser)
    }

    /// The user with this e-mail address.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::UnknownUser`], or a failure.
    pub async fn user_by_email(&self, email: &str) -> Result<User, AuthError> {
        let email = Email::parse(email)?;
        let found = self.read(move |conn| users::by_email(conn, email.as_str())).await?;
        found.map(|credentials| credentials.user).ok_or(AuthError::UnknownUser)
    }

    /// The sessions of a user that still count, newest first.
    ///
    /// # Errors
    /// A failure.
    pub async fn sessions(&self, user: AccountId) -> Result<Vec<Session>, AuthError> {
        let now = self.now();
        self.read(move |conn| sessions::live_of(conn, user, now)).await
    }

    /// Gives a user another role and ends the user's sessions, since their tokens name the old
    /// one. Says which sessions ended.
    ///
    /// # Errors
    /// [`AuthError::UnknownUser`], or a failure.
    pub async fn set_role(&self, user: AccountId, role: Role) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        self.user(user).await?;
        self.end(move |conn| {
            users::set_role(conn, user, role)?;
            sessions::revoke_all_of(conn, user, now)
        })
        .await
    }

    /// The public key for whoever checks our tokens: a JWKS document in JSON.
    pub fn jwks(&self) -> &str {
        self.0.tokens.jwks()
    }

    /// To be called every few seconds: learns of revocations by other processes on the same
    /// database, stores when sessions were last used, and forgets what is over.
    ///
    /// # Errors
    /// A failure; nothing is lost and the next call tries again.
    pub async fn tend(&self) -> Result<(), AuthError> {
        let now = self.now();
        let since = Timestamp(self.0.tended_at.load(Ordering::Relaxed)) + -CLOCK_TOLERANCE;
        self.0.tokens.forget_expired(now);
        self.0.keys.forget(now);
        // Times of use are good to know and no more: what cannot be stored is let go.
        let key_uses = self.0.keys.take_used();
        let uses = Arc::new(self.0.tokens.take_used());
        let stored = Arc::clone(&uses);
        let outcome = self
            .blocking(move |database| {
                // Times of use may be lost in a crash, so this write need not wait for the medium.
                database.write(|conn| {
                    sessions::used(conn, &stored)?;
                    api_keys::used(conn, &key_uses)?;
                    sessions::remove_expired(conn, now + -KEEP_EXPIRED)?;
                    Ok((sessions::revoked_and_unexpired(conn, since, now)?, api_keys::revoked_since(conn, since)?))
                })
            })
            .await;
        match outcome {
            Ok((revoked, keys)) => {
                self.0.tokens.revoke(revoked);
                self.0.keys.ended(&self.0.vault, keys, now);
                self.0.tended_at.store(now.0, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.0.tokens.put_back_used(uses.to_vec());
                Err(error)
            }
        }
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    pub(super) fn api_keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Checks what a new user brings and hashes the password, unless the address is taken anyway.
    async fn prepare_user(&self, email: &str, password: Secret) -> Result<(Email, String), AuthError> {
        let email = Email::parse(email)?;
        check_new_password(&password, &email)?;
        let wanted = email.clone();
        if self.read(move |conn| users::by_email(conn, wanted.as_str())).await?.is_some() {
            return Err(AuthError::EmailTaken);
        }
        let hash = self.0.passwords.hash(password).await?;
        Ok((email, hash))
    }

    async fn prove(&self, email: &Email, password: Secret) -> Result<User, AuthError> {
        if !could_be_a_password(&password) {
            return Err(AuthError::WrongCredentials);
        }
        let email = email.clone();
        let found = self.read(move |conn| users::by_email(conn, email.as_str())).await?;
        let (user, hash) = found.map(|found| (found.user, found.password_hash)).unzip();
        let fits = self.0.passwords.fits(password, hash).await?;
        user.filter(|_| fits).ok_or(AuthError::WrongCredentials)
    }

    fn admit(&self, user: User, session: &Session) -> Result<SignedIn, AuthError> {
        let caller = Caller {
            user: user.id,
            credential: Credential::Session(session.id),
            role: user.role,
            scopes: Scopes::ALL,
            expires_at: session.expires_at,
        };
        let token = self.0.tokens.issue(&caller, session.created_at)?;
        Ok(SignedIn { user, session: session.id, token: Secret::new(token), expires_at: session.expires_at })
    }

    /// Runs a write that ends sessions, and makes it known in memory by the same stroke: the
    /// caller may hang up in between.
    async fn end<F>(&self, write: F) -> Result<Vec<SessionId>, AuthError>
    where
        F: FnOnce(&mut Connection) -> QueryResult<Vec<(SessionId, Timestamp)>> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        self.blocking(move |database| {
            let ended = database.write_durably(write)?;
            let ids = ended.iter().map(|(id, _)| *id).collect();
            inner.tokens.revoke(ended);
            Ok(ids)
        })
        .await
    }

    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    {
        self.blocking(move |database| database.read(query)).await
    }

    pub(super) async fn write<T, F>(&self, query: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    {
        self.blocking(move |database| database.write_durably(query)).await
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, DbError> + Send + 'static,
    {
        let database = self.0.database.clone();
        match self.0.store.run(move || work(&database)).await {
            Ok(Ok(value)) => Ok(value),
            // The e-mail address is the only thing here that can be taken.
            Ok(Err(DbError::Taken)) => Err(AuthError::EmailTaken),
            Ok(Err(error)) => {
                tracing::error!(%error, "the store of accounts failed");
                Err(AuthError::StoreUnavailable)
            }
            Err(WorkError::Full) => Err(AuthError::Overloaded),
            Err(WorkError::BrokeOff) => Err(AuthError::Interrupted),
        }
    }
}

/// A session that begins now and ends at a whole second, as tokens can name no other end.
fn begin_session(user: &User, user_agent: Option<&str>, now: Timestamp, lifetime: i64) -> Session {
    Session {
        id: SessionId::random(),
        user: user.id,
        created_at: now,
        expires_at: (now + lifetime).bucket(SECOND),
        revoked_at: None,
        last_used: now,
        user_agent: user_agent.unwrap_or_default().chars().take(LONGEST_USER_AGENT).collect(),
    }
}
