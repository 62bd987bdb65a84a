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
}

type Row = (String, i64, i64, i64, Option<i64>, i64, String);

fn from_row((id, user, created_at, expires_at, revoked_at, last_used, user_agent): Row) -> QueryResult<Session> {
    let user = u32::try_from(user).map_err(|error| Error::DeserializationError(Box::new(error)))?;
    Ok(Session {
        id: parse_id(&id)?,
        user: AccountId(user),
        created_at: Timestamp(created_at),
        expires_at: Timestamp(expires_at),
        revoked_at: revoked_at.map(Timestamp),
        last_used: Timestamp(last_used),
        user_agent,
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
        ))
        .execute(conn)?;
    Ok(())
}

/// The sessions of a user that neither expired nor were ended, newest first.
///
/// # Errors
/// Whatever the database reports.
pub fn live_of(conn: &mut Connection, user: AccountId, now: Timestamp) -> QueryResult<Vec<Session>> {
    sessions::table
        .filter(sessions::user_id.eq(i64::from(user.0)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.0))
        .order((sessions::created_at.desc(), sessions::id))
        .load::<Row>(conn)?
        .into_iter()
        .map(from_row)
        .collect()
}

/// Ends a session; one that was ended before keeps its time.
///
/// # Errors
/// Whatever the database reports.
pub fn revoke(conn: &mut Connection, session: SessionId, now: Timestamp) -> QueryResult<()> {
    diesel::update(sessions::table.find(session.to_string()).filter(sessions::revoked_at.is_null()))
        .set(sessions::revoked_at.eq(now.0))
        .execute(conn)?;
    Ok(())
}

/// Ends all sessions of a user. Gives those that this call ended, with the time of their expiry.
///
/// # Errors
/// Whatever the database reports.
pub fn revoke_all_of(
    conn: &mut Connection,
    user: AccountId,
    now: Timestamp,
) -> QueryResult<Vec<(SessionId, Timestamp)>> {
    let live = sessions::table
        .filter(sessions::user_id.eq(i64::from(user.0)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.0));
    let ended = live.select((sessions::id, sessions::expires_at)).load(conn)?;
    diesel::update(live).set(sessions::revoked_at.eq(now.0)).execute(conn)?;
    parse_ended(ended)
}

/// The sessions that were ended at or after `since` and whose tokens would still count by their
/// time alone, with their expiry.
///
/// # Errors
/// Whatever the database reports.
pub fn revoked_and_unexpired(
    conn: &mut Connection,
    since: Timestamp,
    now: Timestamp,
) -> QueryResult<Vec<(SessionId, Timestamp)>> {
    let rows = sessions::table
        .filter(sessions::revoked_at.ge(since.0))
        .filter(sessions::expires_at.gt(now.0))
        .select((sessions::id, sessions::expires_at))
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
