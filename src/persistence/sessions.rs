//! The table of sessions. A revocation must outlive a crash: write through
//! [`Database::write_durably`](super::db::Database::write_durably).

use super::db::Connection;
use super::schema::sessions;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::result::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Names a session; random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

impl SessionId {
    /// A new one.
    pub fn random() -> SessionId {
        SessionId(Uuid::new_v4())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One signed-in device of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub user: AccountId,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// From then on its tokens count no more.
    pub expires_at: Timestamp,
    /// When it was ended before its time.
    pub revoked_at: Option<Timestamp>,
    /// A recent use, exact to a minute or so.
    pub last_used: Timestamp,
    /// What the device called itself; may be empty.
    pub user_agent: String,
    /// When its newest access token expires.
    pub token_expires_at: Timestamp,
    /// The number of the only refresh token that counts; `None` when the session has none.
    pub refresh_number: Option<u32>,
    /// The address of the newest sign-in or refresh; may be empty.
    pub address: String,
}

type Row = (String, i64, i64, i64, Option<i64>, i64, String, i64, i64, String);

/// How the database says that a session has no refresh token.
const NO_REFRESH: i64 = -1;
/// Sessions that [`end_beyond`] ends in one call.
const MOST_AT_ONCE: i64 = 1_000;

fn from_row(row: Row) -> QueryResult<Session> {
    let (id, user, created_at, expires_at, revoked_at, last_used, user_agent, token_expires_at, number, address) = row;
    let user = u32::try_from(user).map_err(|error| Error::DeserializationError(Box::new(error)))?;
    Ok(Session {
        id: parse_id(&id)?,
        user: AccountId(user),
        created_at: Timestamp(created_at),
        expires_at: Timestamp(expires_at),
        revoked_at: revoked_at.map(Timestamp),
        last_used: Timestamp(last_used),
        user_agent,
        token_expires_at: Timestamp(token_expires_at),
        refresh_number: u32::try_from(number).ok(),
        address,
    })
}

fn parse_id(text: &str) -> QueryResult<SessionId> {
    Uuid::parse_str(text).map(SessionId).map_err(|error| Error::DeserializationError(Box::new(error)))
}

fn parse_ended(rows: Vec<(String, i64)>) -> QueryResult<Vec<(SessionId, Timestamp)>> {
    rows.into_iter().map(|(id, expires_at)| Ok((parse_id(&id)?, Timestamp(expires_at)))).collect()
}

/// Adds a session.
///
/// # Errors
/// Whatever the database reports, a foreign key violation for an unknown user among it.
pub fn create(conn: &mut Connection, session: &Session) -> QueryResult<()> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::id.eq(session.id.to_string()),
            sessions::user_id.eq(i64::from(session.user.0)),
            sessions::created_at.eq(session.created_at.0),
            sessions::expires_at.eq(session.expires_at.0),
            sessions::revoked_at.eq(session.revoked_at.map(|at| at.0)),
            sessions::last_used.eq(session.last_used.0),
            sessions::user_agent.eq(&session.user_agent),
            sessions::token_expires_at.eq(session.token_expires_at.0),
            sessions::refresh_number.eq(session.refresh_number.map_or(NO_REFRESH, i64::from)),
            sessions::address.eq(&session.address),
        ))
        .execute(conn)?;
    Ok(())
}

/// The sessions of a user that neither expired nor were ended, newest first, `limit` at most.
///
/// # Errors
/// Whatever the database reports.
pub fn live_of(conn: &mut Connection, user: AccountId, now: Timestamp, limit: i64) -> QueryResult<Vec<Session>> {
    sessions::table
        .filter(sessions::user_id.eq(i64::from(user.0)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.0))
        .order((sessions::created_at.desc(), sessions::id))
        .limit(limit)
        .load::<Row>(conn)?
        .into_iter()
        .map(from_row)
        .collect()
}

/// How many sessions of a user neither expired nor were ended.
///
/// # Errors
/// Whatever the database reports.
pub fn count_live(conn: &mut Connection, user: AccountId, now: Timestamp) -> QueryResult<i64> {
    sessions::table
        .filter(sessions::user_id.eq(i64::from(user.0)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.0))
        .count()
        .get_result(conn)
}

/// The session of this id, ended or not.
///
/// # Errors
/// Whatever the database reports.
pub fn by_id(conn: &mut Connection, id: SessionId) -> QueryResult<Option<Session>> {
    sessions::table.find(id.to_string()).first::<Row>(conn).optional()?.map(from_row).transpose()
}

/// Notes that a session's refresh token `number` was used: the next one counts from now on. False
/// when that one does not count, or the session was ended; then nothing has changed.
///
/// # Errors
/// Whatever the database reports.
pub fn refreshed(
    conn: &mut Connection,
    session: &Session,
    number: u32,
    token_expires_at: Timestamp,
    now: Timestamp,
) -> QueryResult<bool> {
    let counting = sessions::table
        .find(session.id.to_string())
        .filter(sessions::refresh_number.eq(i64::from(number)))
        .filter(sessions::revoked_at.is_null());
    let changed = diesel::update(counting)
        .set((
            sessions::refresh_number.eq(i64::from(number) + 1),
            sessions::token_expires_at.eq(token_expires_at.0),
            sessions::last_used.eq(now.0),
            sessions::user_agent.eq(&session.user_agent),
            sessions::address.eq(&session.address),
        ))
        .execute(conn)?;
    Ok(changed > 0)
}

/// Takes back that a session's refresh token `number` was used, as long as the next one was not.
///
/// # Errors
/// Whatever the database reports.
pub fn take_back(conn: &mut Connection, session: SessionId, number: u32) -> QueryResult<()> {
    let next = sessions::table.find(session.to_string()).filter(sessions::refresh_number.eq(i64::from(number) + 1));
    diesel::update(next).set(sessions::refresh_number.eq(i64::from(number))).execute(conn).map(drop)
}

/// Ends a session; false when there is no such one, or when it was ended before and keeps its time.
///
/// # Errors
/// Whatever the database reports.
pub fn end(conn: &mut Connection, session: SessionId, now: Timestamp) -> QueryResult<bool> {
    let live = sessions::table.find(session.to_string()).filter(sessions::revoked_at.is_null());
    Ok(diesel::update(live).set(sessions::revoked_at.eq(now.0)).execute(conn)? > 0)
}

/// Ends a session; one that was ended before keeps its time. Gives the expiry of its newest token; `None` when there is
/// no such session.
///
/// # Errors
/// Whatever the database reports.
pub fn revoke(conn: &mut Connection, session: SessionId, now: Timestamp) -> QueryResult<Option<Timestamp>> {
    end(conn, session, now)?;
    let named = sessions::table.find(session.to_string());
    let newest: Option<i64> = named.select(sessions::token_expires_at).first(conn).optional()?;
    Ok(newest.map(Timestamp))
}

/// Ends the least recently used sessions of a user who has more than `most`, of which the one that has just begun is
/// one and stays: those of the same device before others, so that whoever signs in again and again ends its own. Gives
/// those that this call ended, with the expiry of their newest token; there may be more to end than one call does.
///
/// # Errors
/// Whatever the database reports.
pub fn end_beyond(
    conn: &mut Connection,
    begun: &Session,
    most: i64,
    now: Timestamp,
) -> QueryResult<Vec<(SessionId, Timestamp)>> {
    let others = sessions::table
        .filter(sessions::user_id.eq(i64::from(begun.user.0)))
        .filter(sessions::id.ne(begun.id.to_string()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.0));
    let live: i64 = others.clone().count().get_result(conn)?;
    let excess = (live + 1 - most).min(MOST_AT_ONCE);
    if excess <= 0 {
        return Ok(Vec::new());
    }
    let here = sessions::user_agent.eq(&begun.user_agent).and(sessions::address.eq(&begun.address));
    let elsewhere = sessions::user_agent.ne(&begun.user_agent).or(sessions::address.ne(&begun.address));
    let shown = (sessions::id, sessions::token_expires_at);
    let by_use = (sessions::last_used, sessions::id);
    let mut ended: Vec<(String, i64)> =
        others.clone().filter(here).order(by_use).select(shown).limit(excess).load(conn)?;
    let left = excess.saturating_sub(i64::try_from(ended.len()).unwrap_or(excess));
    if left > 0 {
        let more: Vec<(String, i64)> = others.filter(elsewhere).order(by_use).select(shown).limit(left).load(conn)?;
        ended.extend(more);
    }
    let ids: Vec<String> = ended.iter().map(|(id, _)| id.clone()).collect();
    let live = sessions::table.filter(sessions::id.eq_any(ids)).filter(sessions::revoked_at.is_null());
    diesel::update(live).set(sessions::revoked_at.eq(now.0)).execute(conn)?;
    parse_ended(ended)
}

/// Ends all sessions of a user but `kept`. Gives those that this call ended, with the expiry of
/// their newest token.
///
/// # Errors
/// Whatever the database reports.
pub fn revoke_all_of(
    conn: &mut Connection,
    user: AccountId,
    kept: Option<SessionId>,
    now: Timestamp,
) -> QueryResult<Vec<(SessionId, Timestamp)>> {
    let kept = kept.map(|session| session.to_string()).unwrap_or_default();
    let live = sessions::table
        .filter(sessions::user_id.eq(i64::from(user.0)))
        .filter(sessions::id.ne(kept))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.0));
    let ended = live.clone().select((sessions::id, sessions::token_expires_at)).load(conn)?;
    diesel::update(live).set(sessions::revoked_at.eq(now.0)).execute(conn)?;
    parse_ended(ended)
}

/// The sessions that were ended at or after `since` and whose tokens would still count by their time
/// alone, or that were ended after `lately` (sockets may still be open), with the expiry of their
/// newest token.
///
/// # Errors
/// Whatever the database reports.
pub fn revoked(
    conn: &mut Connection,
    since: Timestamp,
    lately: Timestamp,
    now: Timestamp,
) -> QueryResult<Vec<(SessionId, Timestamp)>> {
    let rows = sessions::table
        .filter(sessions::revoked_at.ge(since.0))
        .filter(sessions::token_expires_at.gt(now.0).or(sessions::revoked_at.gt(lately.0).assume_not_null()))
        .select((sessions::id, sessions::token_expires_at))
        .load(conn)?;
    parse_ended(rows)
}

/// Notes recent uses.
///
/// # Errors
/// Whatever the database reports.
pub fn used(conn: &mut Connection, uses: &[(SessionId, Timestamp)]) -> QueryResult<()> {
    for (session, at) in uses {
        diesel::update(sessions::table.find(session.to_string())).set(sessions::last_used.eq(at.0)).execute(conn)?;
    }
    Ok(())
}

/// Removes sessions that expired before `limit` and says how many there were.
///
/// # Errors
/// Whatever the database reports.
pub fn remove_expired(conn: &mut Connection, limit: Timestamp) -> QueryResult<usize> {
    diesel::delete(sessions::table.filter(sessions::expires_at.lt(limit.0))).execute(conn)
}
