//! The table of codes that were mailed to users. Codes are kept as keyed hashes.

use super::db::Connection;
use super::schema::mailed_codes;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;

/// A code as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailedCode {
    /// The keyed hash.
    pub code: Vec<u8>,
    /// From then on it counts no more.
    pub expires_at: Timestamp,
    /// How often a wrong one was tried.
    pub attempts: i32,
}

/// Stores a code in place of an older one of the same purpose.
///
/// # Errors
/// Whatever the database reports.
pub fn put(
    conn: &mut Connection,
    user: AccountId,
    purpose: &str,
    code: &[u8],
    expires_at: Timestamp,
) -> QueryResult<()> {
    remove(conn, user, purpose)?;
    diesel::insert_into(mailed_codes::table)
        .values((
            mailed_codes::user_id.eq(i64::from(user.0)),
            mailed_codes::purpose.eq(purpose),
            mailed_codes::code.eq(code),
            mailed_codes::expires_at.eq(expires_at.0),
            mailed_codes::attempts.eq(0),
        ))
        .execute(conn)
        .map(drop)
}

/// The code of this purpose.
///
/// # Errors
/// Whatever the database reports.
pub fn get(conn: &mut Connection, user: AccountId, purpose: &str) -> QueryResult<Option<MailedCode>> {
    let row = mailed_codes::table
        .find((i64::from(user.0), purpose))
        .select((mailed_codes::code, mailed_codes::expires_at, mailed_codes::attempts))
        .first::<(Vec<u8>, i64, i32)>(conn)
        .optional()?;
    Ok(row.map(|(code, expires_at, attempts)| MailedCode { code, expires_at: Timestamp(expires_at), attempts }))
}

/// Counts a wrong try.
///
/// # Errors
/// Whatever the database reports.
pub fn missed(conn: &mut Connection, user: AccountId, purpose: &str) -> QueryResult<()> {
    diesel::update(mailed_codes::table.find((i64::from(user.0), purpose)))
        .set(mailed_codes::attempts.eq(mailed_codes::attempts + 1))
        .execute(conn)
        .map(drop)
}

/// Removes a code; that there is none is fine.
///
/// # Errors
/// Whatever the database reports.
pub fn remove(conn: &mut Connection, user: AccountId, purpose: &str) -> QueryResult<()> {
    diesel::delete(mailed_codes::table.find((i64::from(user.0), purpose))).execute(conn).map(drop)
}
