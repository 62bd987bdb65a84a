//! The table of identities: who a user is at other providers.

use super::db::Connection;
use super::schema::identities;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::result::Error;

/// The user behind an identity.
///
/// # Errors
/// Whatever the database reports.
pub fn user_of(conn: &mut Connection, provider: &str, subject: &str) -> QueryResult<Option<AccountId>> {
    let id: Option<i64> =
        identities::table.find((provider, subject)).select(identities::user_id).first(conn).optional()?;
    let parse = |id| u32::try_from(id).map(AccountId).map_err(|error| Error::DeserializationError(Box::new(error)));
    id.map(parse).transpose()
}

/// Links an identity to a user.
///
/// # Errors
/// A unique violation when either has another partner; whatever the database reports.
pub fn link(conn: &mut Connection, provider: &str, subject: &str, user: AccountId, now: Timestamp) -> QueryResult<()> {
    diesel::insert_into(identities::table)
        .values((
            identities::provider.eq(provider),
            identities::subject.eq(subject),
            identities::user_id.eq(i64::from(user.0)),
            identities::linked_at.eq(now.0),
        ))
        .execute(conn)
        .map(drop)
}

/// Unlinks a provider from a user; false when it was not linked.
///
/// # Errors
/// Whatever the database reports.
pub fn unlink(conn: &mut Connection, provider: &str, user: AccountId) -> QueryResult<bool> {
    let linked =
        identities::table.filter(identities::user_id.eq(i64::from(user.0))).filter(identities::provider.eq(provider));
    Ok(diesel::delete(linked).execute(conn)? > 0)
}

/// Provider, subject and time of linking (µs since 1970) of a user's identities.
///
/// # Errors
/// Whatever the database reports.
pub fn of_user(conn: &mut Connection, user: AccountId) -> QueryResult<Vec<(String, String, i64)>> {
    identities::table
        .filter(identities::user_id.eq(i64::from(user.0)))
        .order(identities::provider)
        .select((identities::provider, identities::subject, identities::linked_at))
        .load(conn)
}
