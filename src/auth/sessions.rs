//! The life of a session after sign-in: refreshed, listed, ended.
//!
//! A refresh token is `session, number, MAC`, made with the venue's key: nothing of it is stored but the
//! number that counts now. Using it makes the next number count. A genuine token with an older number
//! was used before, by its owner or by a thief; nobody can tell which, so the session ends for both.
//! A use whose caller has given up before it was done is none: nobody was told the next token, and its
//! owner comes again with this one.

use super::error::AuthError;
use super::secret::Secret;
use super::service::{Accounts, SignedIn};
use super::settings::Device;
use super::tokens::{Caller, Credential};
use super::vault::same;
use crate::domain::ids::AccountId;
use crate::domain::time::{DAY, SECOND, Timestamp};
use crate::persistence::audit::Entry;
use crate::persistence::db::Connection;
use crate::persistence::sessions::{self as store, Session, SessionId};
use crate::persistence::users;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::QueryResult;
use diesel::result::Error;

/// Bytes of the MAC in a refresh token.
const MAC: usize = 16;
/// How long an ended session is remembered while its tokens' expiry is not at hand: longer than any token lives, µs.
const LONGEST_TOKEN: i64 = 8 * DAY;

/// What the database made of a refresh token.
enum Refreshed {
    Next(Box<(users::User, Session)>),
    Reused(AccountId, Timestamp),
    Revoked,
    Expired,
    Unknown,
}

/// Uses a refresh token; how long an access token lives, in µs, is said by `token_lifetime`.
fn refresh(
    conn: &mut Connection,
    (id, number): (SessionId, u32),
    device: &Device,
    token_lifetime: i64,
    now: Timestamp,
) -> QueryResult<Refreshed> {
    let Some(mut session) = store::by_id(conn, id)? else { return Ok(Refreshed::Unknown) };
    if session.revoked_at.is_some() {
        return Ok(Refreshed::Revoked);
    }
    if now >= session.expires_at {
        return Ok(Refreshed::Expired);
    }
    device.mark(&mut session);
    session.token_expires_at = (now + token_lifetime).bucket(SECOND).min(session.expires_at);
    session.last_used = now;
    if !store::refreshed(conn, &session, number, session.token_expires_at, now)? {
        store::revoke(conn, id, now)?;
        return Ok(Refreshed::Reused(session.user, session.token_expires_at));
    }
    session.refresh_number = number.checked_add(1);
    let Some(user) = users::by_id(conn, session.user)? else { return Ok(Refreshed::Unknown) };
    Ok(Refreshed::Next(Box::new((user, session))))
}

impl Accounts {
    pub(super) fn refresh_token(&self, session: SessionId, number: u32) -> Secret {
        let head = [session.0.as_bytes().as_slice(), &number.to_be_bytes()].concat();
        let mac = self.vault().digest("refresh token", &[&head]);
        let mac = mac.get(..MAC).unwrap_or_default();
        Secret::new(URL_SAFE_NO_PAD.encode([&head, mac].concat()))
    }

    /// Session and number of a refresh token that this venue made.
    fn open_refresh_token(&self, token: &str) -> Option<(SessionId, u32)> {
        // 16 bytes of session, 4 of number, then the MAC.
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (number, mac) = rest.split_first_chunk::<4>()?;
        let head = [session.as_slice(), number].concat();
        let own = self.vault().digest("refresh token", &[&head]);
        let genuine = mac.len() == MAC && same(mac, own.get(..MAC)?);
        genuine.then(|| (SessionId(uuid::Uuid::from_bytes(*session)), u32::from_be_bytes(*number)))
    }

    /// Takes a refresh token for the next access and refresh token. It counts once.
    ///
    /// # Errors
    /// [`AuthError::TokenInvalid`], [`AuthError::TokenExpired`], [`AuthError::TokenRevoked`],
    /// [`AuthError::TokenReused`] (which ends the session), or a failure.
    pub async fn refresh(&self, token: &Secret, device: &Device) -> Result<SignedIn, AuthError> {
        let used = self.open_refresh_token(token.expose()).ok_or(AuthError::TokenInvalid)?;
        let (id, number) = used;
        let now = self.now();
        let (token_lifetime, marked) = (self.settings().token_lifetime, device.clone());
        let refreshed = self.awaited(move |database, is_awaited| {
            let refreshed = database.write_durably(|conn| {
                let refreshed = refresh(conn, used, &marked, token_lifetime, now)?;
                // Who gave up (the database was frozen, say) comes again with this token, which must count then.
                if is_awaited() { Ok(refreshed) } else { Err(Error::RollbackTransaction) }
            })?;
            if matches!(refreshed, Refreshed::Next(_)) && !is_awaited() {
                // And who gave up while it was committed.
                database.write_durably(|conn| store::take_back(conn, id, number))?;
            }
            Ok(refreshed)
        });
        match refreshed.await? {
            Refreshed::Next(next) => self.admit(next.0, &next.1),
            Refreshed::Reused(user, token_expires_at) => {
                self.tell_sessions(&[(id, token_expires_at)]);
                self.forget_sessions(vec![(id, token_expires_at)], now);
                tracing::warn!(user = user.0, session = %id, "a refresh token was used twice; the session was ended");
                let detail = serde_json::json!({"session": id, "device": device.name()});
                let (subject, address) = (Some(user), device.address);
                self.record(Entry { action: "refresh_token_reused", actor: None, subject, address, detail }).await;
                Err(AuthError::TokenReused)
            }
            Refreshed::Revoked => Err(AuthError::TokenRevoked),
            Refreshed::Expired => Err(AuthError::TokenExpired),
            Refreshed::Unknown => Err(AuthError::TokenInvalid),
        }
    }

    /// Ends a session. Its tokens stop to count at once, even when the store fails.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::StoreUnavailable`]: a restart would not know of it,
    /// so it should be tried again.
    pub async fn sign_out(&self, session: SessionId) -> Result<(), AuthError> {
        let now = self.now();
        self.forget_sessions(vec![(session, now + LONGEST_TOKEN)], now);
        let newest = self.write(move |conn| store::revoke(conn, session, now)).await?;
        // Now it is known how long its tokens would count.
        let ended = vec![(session, newest.unwrap_or(now))];
        self.tell_sessions(&ended);
        self.forget_sessions(ended, now);
        Ok(())
    }

    /// Ends one session of this user, named by its owner.
    ///
    /// # Errors
    /// [`AuthError::NoSuchSession`] when the user has no such live session, or a failure.
    pub async fn end_session(&self, user: AccountId, session: SessionId) -> Result<(), AuthError> {
        if !self.sessions(user).await?.iter().any(|own| own.id == session) {
            return Err(AuthError::NoSuchSession);
        }
        self.sign_out(session).await
    }

    /// Ends all sessions of a user but `kept` and says which.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::StoreUnavailable`].
    pub async fn end_sessions(&self, user: AccountId, kept: Option<SessionId>) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        self.end(move |conn| store::revoke_all_of(conn, user, kept, now)).await
    }

    /// Ends all sessions of a user and says which.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::StoreUnavailable`].
    pub async fn sign_out_everywhere(&self, user: AccountId) -> Result<Vec<SessionId>, AuthError> {
        self.end_sessions(user, None).await
    }

    /// The sessions of a user that still count, newest first.
    ///
    /// # Errors
    /// A failure.
    pub async fn sessions(&self, user: AccountId) -> Result<Vec<Session>, AuthError> {
        let now = self.now();
        self.read(move |conn| store::live_of(conn, user, now)).await
    }

    /// Whether a caller that was let in before still counts: its session is not over and was not ended, its key
    /// has not expired and was not revoked. For open sockets, to be asked at least once a minute; needs no store. The end of an
    /// access token does not matter here, since a socket lives as long as its session.
    pub fn still_counts(&self, caller: &Caller) -> bool {
        let ended = match caller.credential {
            Credential::Session(session) => self.tokens().is_revoked(session),
            Credential::Key(key) => self.api_keys().has_ended(key),
        };
        !ended && self.now() < caller.ends_at
    }

    /// What a request that is authenticated by a cookie must carry beside it, so that other sites
    /// cannot send it: bound to the session, known to its own pages alone.
    pub fn csrf_token(&self, session: SessionId) -> String {
        let digest = self.vault().digest("csrf", &[session.0.as_bytes()]);
        URL_SAFE_NO_PAD.encode(digest.get(..MAC).unwrap_or_default())
    }

    /// Whether this is that token, in constant time.
    pub fn is_csrf_token(&self, session: SessionId, text: &str) -> bool {
        same(self.csrf_token(session).as_bytes(), text.as_bytes())
    }
}
