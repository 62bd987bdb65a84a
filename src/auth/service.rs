//! [`Accounts`]: what the rest of the program asks about people.

mod enter;
mod people;
mod tend;

pub(super) use enter::MOST_SESSIONS;

use super::address::NO_ADDRESS;
use super::api_keys::{Keys, Scopes};
use super::audit::note;
use super::credentials::{Email, check_new_password, could_be_a_password};
use super::error::AuthError;
use super::guard::{Guard, Pace};
use super::keys::{KeyError, SigningKey};
use super::limits::{Buckets, network_of};
use super::oidc::{Provider, UsedTokens};
use super::passwords::Passwords;
use super::runtime::Runtime;
use super::secret::Secret;
use super::sessions::Turns;
use super::settings::{Device, Plan, Settings};
use super::shared::Target;
use super::tokens::{Caller, Credential, Tokens};
use super::vault::Vault;
use super::workers::{WorkError, Workers};
use crate::domain::ids::AccountId;
use crate::domain::time::{DAY, MINUTE, SECOND, Timestamp};
use crate::persistence::audit::Entry;
use crate::persistence::db::{Connection, Database, DbError};
use crate::persistence::sessions::{self, Session, SessionId};
use crate::persistence::users::{self, Credentials, NewUser, Role, User};
use diesel::QueryResult;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use thiserror::Error;
use uuid::Uuid;

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
/// How long an ended session is remembered at least, so that open sockets learn of it, µs.
const REMEMBER_ENDED: i64 = 5 * MINUTE;

/// Tells the time. Handed in, so that tests can move it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

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
    /// What gets the next token, once; none for sessions of one token.
    pub refresh: Option<Secret>,
    /// From then on nothing prolongs the session.
    pub session_expires_at: Timestamp,
    /// Whether a second factor was used up for it.
    pub factor_used: bool,
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
    guard: Guard<Email>,
    network_guard: Guard<IpNet>,
    mail_guard: Guard<Email>,
    sender_guard: Guard<AccountId>,
    code_guard: Guard<Email>,
    factor_guard: Guard<AccountId>,
    id_tokens: UsedTokens,
    refreshing: Turns,
    runtime: Runtime,
    buckets: Buckets,
    /// Names this process to the others.
    node: Uuid,
    /// Revocations up to here were read from the database, µs.
    tended_at: AtomicI64,
    /// Before this moment nothing that was ended is forgotten, µs.
    forgets_from: AtomicI64,
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
        let key = match &settings.signing_key {
            Some(file) => SigningKey::load(file)?,
            None => SigningKey::load_or_create(data)?,
        };
        let tokens = Tokens::new(key, REMEMBERED_TOKENS);
        let now = clock();
        tokens.revoke(database.read(|conn| sessions::revoked(conn, Timestamp::ZERO, now + -REMEMBER_ENDED, now))?);
        let runtime = Runtime::new(settings.runtime);
        runtime.take(database.read(|conn| runtime.fresh(conn))?);
        Ok(Accounts(Arc::new(Inner {
            passwords: Passwords::start(settings.password_queue)?,
            store: Workers::start("accounts", STORE_WORKERS, STORE_QUEUE)?,
            guard: Guard::new(Pace::ACCOUNT),
            network_guard: Guard::new(Pace::NETWORK),
            mail_guard: Guard::new(Pace::MAIL),
            sender_guard: Guard::new(Pace::MAIL),
            code_guard: Guard::new(Pace::CODE),
            factor_guard: Guard::new(Pace::CODE),
            id_tokens: UsedTokens::default(),
            refreshing: Turns::default(),
            runtime,
            buckets: Buckets::new(),
            node: Uuid::new_v4(),
            vault: Vault::open(data, settings.secrets_key.as_ref())?,
            keys: Keys::new(),
            tended_at: AtomicI64::new(now.0),
            forgets_from: AtomicI64::new(now.0),
            settings,
            clock,
            database,
            tokens,
        })))
    }

    /// Makes a user and signs it in. The user and the session are durable when this answers. A number below `first`,
    /// which the ledger has to have told before, is given to nobody.
    ///
    /// # Errors
    /// [`AuthError::InvalidEmail`], [`AuthError::WeakPassword`], [`AuthError::EmailTaken`],
    /// [`AuthError::StoreUnavailable`] when the number was below, or a failure.
    pub async fn sign_up(
        &self,
        email: &str,
        password: Secret,
        demo: bool,
        device: &Device,
        first: AccountId,
    ) -> Result<SignedIn, AuthError> {
        if !self.runtime().sign_up() {
            return Err(AuthError::SignUpClosed);
        }
        let (email, hash) = self.prepare_user(email, password).await?;
        let now = self.now();
        let (begun, address) = (self.begin_session(device, now), device.address);
        let made = self
            .write(move |conn| {
                let new = NewUser { email: email.as_str(), password_hash: &hash, role: Role::User, demo };
                let Some(user) = users::create_from(conn, &new, first, now)? else { return Ok(None) };
                let session = Session { user: user.id, ..begun };
                sessions::create(conn, &session)?;
                note(conn, &entry("sign_up", &user, &session, address), now)?;
                Ok(Some((user, session)))
            })
            .await?;
        let Some((user, session)) = made else { return Err(self.number_refused(first).await) };
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
    pub async fn sign_in(&self, email: &str, password: Secret, device: &Device) -> Result<SignedIn, AuthError> {
        let email = Email::parse(email)?;
        let network = device.address.map(network_of);
        if let Some(network) = &network {
            self.0.network_guard.check(network, self.now())?;
        }
        let proved = self.prove_guarded(&email, password).await;
        if let (Some(network), Err(AuthError::WrongCredentials)) = (&network, &proved) {
            self.0.network_guard.failed(network, self.now());
            self.tell_guess(Target::From(network.to_string()), false);
        }
        let entered = match proved {
            Ok(proved) => {
                let factor = self.shown_factor(proved.user.id, device.second_factor.as_ref()).await?;
                self.enter(proved.user.id, Some(proved.password_hash), factor, device).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &entered {
            self.note_failure(&email, *error, device).await;
        }
        entered
    }

    /// A wrong password for an address that exists is something its owner may want to know of. The
    /// look-up is made for unknown addresses too.
    async fn note_failure(&self, email: &Email, error: AuthError, device: &Device) {
        if error != AuthError::WrongCredentials {
            return;
        }
        let subject = self.user_by_email(email.as_str()).await.ok().map(|user| user.id);
        // Says also from when on further guesses have to wait.
        let locked_s = match self.0.guard.check(email, self.now()) {
            Err(AuthError::TooManyAttempts { retry_after_s }) => retry_after_s,
            Ok(()) | Err(_) => 0,
        };
        let detail = serde_json::json!({"email": email.as_str(), "device": device.name(), "locked_s": locked_s});
        let entry = Entry { action: "sign_in_failed", actor: None, subject, address: device.address, detail };
        self.record(entry).await;
    }

    /// Who sends this token. Needs no store; the price is in the module `tokens`.
    ///
    /// # Errors
    /// [`AuthError::TokenMissing`], [`AuthError::TokenInvalid`], [`AuthError::TokenExpired`],
    /// [`AuthError::TokenRevoked`].
    pub fn authenticate(&self, token: &str) -> Result<Caller, AuthError> {
        self.0.tokens.check(token, self.now())
    }

    /// Whether no limit counts a client at this address.
    pub fn is_unlimited(&self, address: IpAddr) -> bool {
        self.0.settings.limits_exempt.iter().any(|network| network.contains(&address))
    }

    /// The time by the clock that tokens go by.
    pub fn clock_now(&self) -> Timestamp {
        self.now()
    }

    /// Whether cookies are for TLS alone, whatever a request came over.
    pub fn secure_cookies(&self) -> bool {
        self.0.settings.secure_cookies
    }

    /// Whether this is the address of a proxy that is believed about its clients.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.settings.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The public key for whoever checks our tokens: a JWKS document in JSON.
    pub fn jwks(&self) -> &str {
        self.0.tokens.jwks()
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
        // Who has such an address comes in through a provider, which could not make the user any more.
        if email.as_str().ends_with(NO_ADDRESS) {
            return Err(AuthError::InvalidEmail);
        }
        check_new_password(&password, &email)?;
        let wanted = email.clone();
        if self.read(move |conn| users::by_email(conn, wanted.as_str())).await?.is_some() {
            return Err(AuthError::EmailTaken);
        }
        let hash = self.0.passwords.hash(password).await?;
        Ok((email, hash))
    }

    /// Checks a password, and slows down whoever guesses. Says whose it is, with the stored form that it fits: what is
    /// done with this proof later may have to find out whether it still holds.
    pub(super) async fn prove_guarded(&self, email: &Email, password: Secret) -> Result<Credentials, AuthError> {
        self.0.guard.admit(email, self.now())?;
        match self.prove(email, password).await {
            Ok(proved) => {
                self.0.guard.succeeded(email);
                self.tell_guess(Target::Password(email.to_string()), true);
                Ok(proved)
            }
            Err(AuthError::WrongCredentials) => {
                self.tell_guess(Target::Password(email.to_string()), false);
                Err(AuthError::WrongCredentials)
            }
            Err(error) => {
                self.0.guard.undo(email);
                Err(error)
            }
        }
    }

    async fn prove(&self, email: &Email, password: Secret) -> Result<Credentials, AuthError> {
        if !could_be_a_password(&password) {
            return Err(AuthError::WrongCredentials);
        }
        self.0.passwords.check_room()?;
        let email = email.clone();
        let found = self.read(move |conn| users::by_email(conn, email.as_str())).await?;
        let hash = found.as_ref().map(|found| found.password_hash.clone());
        let fits = self.0.passwords.fits(password, hash).await?;
        found.filter(|_| fits).ok_or(AuthError::WrongCredentials)
    }

    /// Makes the tokens of a session that is stored.
    pub(super) fn admit(&self, user: User, session: &Session) -> Result<SignedIn, AuthError> {
        let caller = Caller {
            user: user.id,
            credential: Credential::Session(session.id),
            role: user.role,
            scopes: Scopes::ALL,
            expires_at: session.token_expires_at,
            ends_at: session.expires_at,
        };
        let token = self.0.tokens.issue(&caller, session.last_used)?;
        Ok(SignedIn {
            user,
            session: session.id,
            token: Secret::new(token),
            expires_at: session.token_expires_at,
            refresh: session.refresh_number.map(|number| self.refresh_token(session.id, number)),
            session_expires_at: session.expires_at,
            factor_used: false,
        })
    }

    /// A session that begins now; whose it is, is still to be said. Tokens end at a whole second, as
    /// they can name no other end.
    fn begin_session(&self, device: &Device, now: Timestamp) -> Session {
        let settings = &self.0.settings;
        let (lifetime, token_lifetime, refresh_number) = match device.plan {
            Plan::Refreshed => (settings.session_lifetime, settings.token_lifetime, Some(0)),
            Plan::OneToken(lifetime) => (lifetime, lifetime, None),
        };
        let expires_at = (now + lifetime).bucket(SECOND);
        Session {
            id: SessionId::random(),
            user: AccountId(0),
            created_at: now,
            expires_at,
            revoked_at: None,
            last_used: now,
            user_agent: device.name(),
            token_expires_at: (now + token_lifetime).bucket(SECOND).min(expires_at),
            refresh_number,
            address: device.place(),
        }
    }

    /// The providers that people may sign in through.
    pub fn providers(&self) -> &[Provider] {
        &self.0.settings.providers
    }

    /// The address under which people reach this server, if it is configured.
    pub fn public_url(&self) -> Option<&str> {
        self.0.settings.public_url.as_deref()
    }

    pub(super) fn runtime_settings(&self) -> &Runtime {
        &self.0.runtime
    }

    pub(super) fn buckets(&self) -> &Buckets {
        &self.0.buckets
    }

    pub(super) fn node(&self) -> Uuid {
        self.0.node
    }

    pub(super) fn guard(&self) -> &Guard<Email> {
        &self.0.guard
    }

    pub(super) fn network_guard(&self) -> &Guard<IpNet> {
        &self.0.network_guard
    }

    pub(super) fn mail_guard(&self) -> &Guard<Email> {
        &self.0.mail_guard
    }

    pub(super) fn sender_guard(&self) -> &Guard<AccountId> {
        &self.0.sender_guard
    }

    /// Of mailed codes, which anybody may try who knows an address.
    pub(super) fn code_guard(&self) -> &Guard<Email> {
        &self.0.code_guard
    }

    /// Of second factors, which nobody tries who has not proved the password or has a session: nobody else can make
    /// their owner wait.
    pub(super) fn factor_guard(&self) -> &Guard<AccountId> {
        &self.0.factor_guard
    }

    pub(super) fn id_tokens(&self) -> &UsedTokens {
        &self.0.id_tokens
    }

    /// Who refreshes a session.
    pub(super) fn refreshing(&self) -> &Turns {
        &self.0.refreshing
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// Ended sessions count no more, from now on.
    pub(super) fn forget_sessions(&self, ended: Vec<(SessionId, Timestamp)>, now: Timestamp) {
        let until = |expires_at: Timestamp| expires_at.max(now + REMEMBER_ENDED) + CLOCK_TOLERANCE;
        self.0.tokens.revoke(ended.into_iter().map(|(session, expires_at)| (session, until(expires_at))));
    }

    /// Runs a write that ends sessions, and makes it known in memory by the same stroke: the
    /// caller may hang up in between.
    pub(super) async fn end<F>(&self, write: F) -> Result<Vec<SessionId>, AuthError>
    where
        F: FnOnce(&mut Connection) -> QueryResult<Vec<(SessionId, Timestamp)>> + Send + 'static,
    {
        Ok(self.end_if(move |conn| write(conn).map(Some)).await?.unwrap_or_default())
    }

    /// Likewise, for a write that may find out that it must end none.
    pub(super) async fn end_if<F>(&self, write: F) -> Result<Option<Vec<SessionId>>, AuthError>
    where
        F: FnOnce(&mut Connection) -> QueryResult<Option<Vec<(SessionId, Timestamp)>>> + Send + 'static,
    {
        let (accounts, now) = (self.clone(), self.now());
        self.blocking(move |database| {
            let Some(ended) = database.write_durably(write)? else { return Ok(None) };
            let ids = ended.iter().map(|(id, _)| *id).collect();
            accounts.tell_sessions(&ended);
            accounts.forget_sessions(ended, now);
            Ok(Some(ids))
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
        self.awaited(move |database, _| work(database)).await
    }

    /// Runs work that may ask whether its caller still waits: one that was told that the store does not answer, or that
    /// hung up, does not.
    pub(super) async fn awaited<T, F>(&self, work: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce(&Database, &dyn Fn() -> bool) -> Result<T, DbError> + Send + 'static,
    {
        let database = self.0.database.clone();
        let call = self.0.store.run_awaited(move |is_awaited| work(&database, is_awaited));
        match self.0.database.answered(call).await {
            Ok(Ok(Ok(value))) => Ok(value),
            // The e-mail address is the only thing here that can be taken.
            Ok(Ok(Err(DbError::Taken))) => Err(AuthError::EmailTaken),
            Ok(Ok(Err(DbError::NulCharacter))) => Err(AuthError::NulCharacter),
            Ok(Ok(Err(error))) | Err(error) => {
                tracing::error!(%error, "the store of accounts failed");
                Err(AuthError::StoreUnavailable)
            }
            Ok(Err(WorkError::Full)) => Err(AuthError::Overloaded),
            Ok(Err(WorkError::BrokeOff)) => Err(AuthError::Interrupted),
        }
    }
}

fn entry(action: &'static str, user: &User, session: &Session, address: Option<IpAddr>) -> Entry {
    let detail = serde_json::json!({"session": session.id, "device": session.user_agent});
    Entry { action, actor: Some(user.id), subject: Some(user.id), address, detail }
}
