//! The life of a session after sign-in: refreshed, listed, ended.
//!
//! A refresh token is `session, number, MAC`, made with the venue's key: nothing of it is stored but the
//! number that counts now. Using it makes the next number count. A genuine token with an older number
//! was used before, by its owner or by a thief; nobody can tell which, so the session ends for both.
//! A use whose caller has given up before it was done is none: nobody was told the next token, and its
//! owner comes again with this one, which waits until the other is over. It does so on one node: another one that gets
//! it after the use that was given up is committed, and before that is taken back, takes it for a second use.

use super::audit::{by_owner, note};
use super::error::AuthError;
use super::secret::Secret;
use super::service::{Accounts, MOST_SESSIONS, SignedIn};
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
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use std::array;
use std::net::IpAddr;

/// Bytes of the MAC in a refresh token.
const MAC: usize = 16;
/// How long an ended session is remembered while its tokens' expiry is not at hand: longer than any token lives, µs.
const LONGEST_TOKEN: i64 = 8 * DAY;

/// Locks of sessions that are refreshed. More than there are workers, so that hardly anybody waits for a stranger.
const TURNS: usize = 64;

/// Lets those who refresh one session in one after the other, on this node.
pub(super) struct Turns([Mutex<()>; TURNS]);

impl Default for Turns {
    fn default() -> Turns {
        Turns(array::from_fn(|_| Mutex::new(())))
    }
}

impl Turns {
    /// The turn of this session, once nobody else has it.
    pub(super) fn of(&self, session: SessionId) -> Option<MutexGuard<'_, ()>> {
        let place = usize::from(session.0.as_bytes().first().copied().unwrap_or_default()) % TURNS;
        self.0.get(place).map(Mutex::lock)
    }
}

/// Whether this is a session of this user that neither expired nor was ended.
pub(super) fn is_live(session: &Session, user: AccountId, now: Timestamp) -> bool {
    session.user == user && session.revoked_at.is_none() && now < session.expires_at
}

/// What the database made of a refresh token.
enum Refreshed {
    Next(Box<(users::User, Session)>),
    Reused(AccountId, Timestamp),
    Revoked,
    Expired,
    Unknown,
}

/// The names of sessions that were ended.
pub(super) fn ids(ended: &[(SessionId, Timestamp)]) -> Vec<SessionId> {
    ended.iter().map(|(id, _)| *id).collect()
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
        // Somebody may have signed out since it was looked at.
        if !store::end(conn, id, now)? {
            return Ok(Refreshed::Revoked);
        }
        let detail = json!({"session": id, "device": device.name()});
        let (subject, address) = (Some(session.user), device.address);
        note(conn, &Entry { action: "refresh_token_reused", actor: None, subject, address, detail }, now)?;
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
        let accounts = self.clone();
        let refreshed = self.awaited(move |database, is_awaited| {
            // Who gave up may come again to this node while this is committed, and is to find the token as it was.
            let _turn = accounts.refreshing().of(id);
            let refreshed = database.write_durably(|conn| {
                let refreshed = refresh(conn, used, &marked, token_lifetime, now)?;
                // Who gave up (the database was frozen, say) comes again with this token, which must count then.
                if is_awaited() { Ok(refreshed) } else { Err(Error::RollbackTransaction) }
            })?;
            if matches!(refreshed, Refreshed::Next(_)) && !is_awaited() {
                // And who gave up while it was committed.
                database.write_durably(|conn| store::take_back(conn, id, number))?;
            }
            if let Refreshed::Reused(user, token_expires_at) = refreshed {
                accounts.tell_sessions(&[(id, token_expires_at)]);
                accounts.forget_sessions(vec![(id, token_expires_at)], now);
                tracing::warn!(user = user.0, session = %id, "a refresh token was used twice; the session was ended");
            }
            Ok(refreshed)
        });
        match refreshed.await? {
            Refreshed::Next(next) => self.admit(next.0, &next.1),
            Refreshed::Reused(..) => Err(AuthError::TokenReused),
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
        self.sign_out_noted(session, None).await
    }

    /// Ends the session that its user has called with, as [`Accounts::sign_out`] does, and remembers that. `from` is
    /// whence it is wanted.
    ///
    /// # Errors
    /// As [`Accounts::sign_out`].
    pub async fn leave(&self, user: AccountId, session: SessionId, from: Option<IpAddr>) -> Result<(), AuthError> {
        self.sign_out_noted(session, Some(by_owner("sign_out", user, from, json!({"session": session})))).await
    }

    async fn sign_out_noted(&self, session: SessionId, noted: Option<Entry>) -> Result<(), AuthError> {
        let now = self.now();
        self.forget_sessions(vec![(session, now + LONGEST_TOKEN)], now);
        let newest = self.write(move |conn| {
            let newest = store::revoke(conn, session, now)?;
            if let Some(entry) = &noted {
                note(conn, entry, now)?;
            }
            Ok(newest)
        });
        let newest = newest.await?;
        // Now it is known how long its tokens would count.
        let ended = vec![(session, newest.unwrap_or(now))];
        self.tell_sessions(&ended);
        self.forget_sessions(ended, now);
        Ok(())
    }

    /// Ends one session of this user, named by its owner, and remembers that. `from` is whence it is wanted.
    ///
    /// # Errors
    /// [`AuthError::NoSuchSession`] when the user has no such live session, or a failure.
    pub async fn end_session(
        &self,
        user: AccountId,
        session: SessionId,
        from: Option<IpAddr>,
    ) -> Result<(), AuthError> {
        let now = self.now();
        let known = self.read(move |conn| store::by_id(conn, session)).await?;
        if !known.is_some_and(|known| is_live(&known, user, now)) {
            return Err(AuthError::NoSuchSession);
        }
        self.sign_out_noted(session, Some(by_owner("session_ended", user, from, json!({"session": session})))).await
    }

    /// Ends all sessions of a user and says which.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`], [`AuthError::StoreUnavailable`].
    pub async fn sign_out_everywhere(&self, user: AccountId) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        self.end(move |conn| store::revoke_all_of(conn, user, None, now)).await
    }

    /// The same, with what is to be remembered of it, stored together with the end of the sessions; `noted` is told
    /// which.
    ///
    /// # Errors
    /// As [`Accounts::sign_out_everywhere`].
    pub async fn sign_out_everywhere_noted(
        &self,
        user: AccountId,
        noted: impl FnOnce(&[SessionId]) -> Entry + Send + 'static,
    ) -> Result<Vec<SessionId>, AuthError> {
        let now = self.now();
        self.end(move |conn| {
            let ended = store::revoke_all_of(conn, user, None, now)?;
            note(conn, &noted(&ids(&ended)), now)?;
            Ok(ended)
        })
        .await
    }

    /// The same for the user itself. `from` is whence it is wanted.
    ///
    /// # Errors
    /// As [`Accounts::sign_out_everywhere`].
    pub async fn leave_everywhere(&self, user: AccountId, from: Option<IpAddr>) -> Result<Vec<SessionId>, AuthError> {
        let noted = move |ended: &[SessionId]| by_owner("sign_out_all", user, from, json!({"ended_sessions": ended}));
        self.sign_out_everywhere_noted(user, noted).await
    }

    /// How many sessions of a user still count.
    ///
    /// # Errors
    /// A failure.
    pub async fn count_sessions(&self, user: AccountId) -> Result<i64, AuthError> {
        let now = self.now();
        self.read(move |conn| store::count_live(conn, user, now)).await
    }

    /// The sessions of a user that still count, newest first, no more than a user may have.
    ///
    /// # Errors
    /// A failure.
    pub async fn sessions(&self, user: AccountId) -> Result<Vec<Session>, AuthError> {
        let now = self.now();
        self.read(move |conn| store::live_of(conn, user, now, MOST_SESSIONS)).await
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
