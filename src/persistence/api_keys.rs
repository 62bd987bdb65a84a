//! The table of API keys. A revocation must outlive a crash: write through
//! [`Database::write_durably`](super::db::Database::write_durably).

use super::db::Connection;
use super::schema::api_keys;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::result::Error;
use std::fmt;

/// A key as it is stored. `Debug` hides what is secret.
#[derive(Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = api_keys)]
pub struct StoredKey {
    /// Its public name.
    pub id: String,
    /// Whose it is, an account number.
    pub user_id: i64,
    /// What its owner calls it.
    pub label: String,
    /// The encrypted secret.
    pub secret: Vec<u8>,
    /// The keyed hash of the passphrase.
    pub passphrase: Vec<u8>,
    /// What it may do, names with commas between them.
    pub scopes: String,
    /// From where, networks with commas between them; empty means anywhere.
    pub networks: String,
    /// µs since 1970.
    pub created_at: i64,
    /// From then on it counts no more, µs since 1970.
    pub expires_at: Option<i64>,
    /// When its owner ended it, µs since 1970.
    pub revoked_at: Option<i64>,
    /// A recent use, exact to a minute or so, µs since 1970.
    pub last_used: Option<i64>,
    /// The address of that use.
    pub last_used_from: Option<String>,
}

impl StoredKey {
    /// Whose it is.
    ///
    /// # Errors
    /// When the number is that of no account.
    pub fn owner(&self) -> QueryResult<AccountId> {
        let owner = u32::try_from(self.user_id).map_err(|error| Error::DeserializationError(Box::new(error)))?;
        Ok(AccountId(owner))
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("id", &self.id).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// A use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Which key.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub from: String,
}

/// Adds a key.
///
/// # Errors
/// Whatever the database reports.
pub fn create(conn: &mut Connection, key: &StoredKey) -> QueryResult<()> {
    diesel::insert_into(api_keys::table).values(key).execute(conn).map(drop)
}

/// The key of this id, ended or not.
///
/// # Errors
/// Whatever the database reports.
pub fn by_id(conn: &mut Connection, id: &str) -> QueryResult<Option<StoredKey>> {
    api_keys::table.find(id).first(conn).optional()
}

/// The keys of a user that were not revoked, newest first; expired ones are among them.
///
/// # Errors
/// Whatever the database reports.
pub fn of_user(conn: &mut Connection, user: AccountId) -> QueryResult<Vec<StoredKey>> {
    api_keys::table
        .filter(api_keys::user_id.eq(i64::from(user.0)))
        .filter(api_keys::revoked_at.is_null())
        .order((api_keys::created_at.desc(), api_keys::id))
        .load(conn)
}

/// How many keys a user has that were not revoked.
///
/// # Errors
/// Whatever the database reports.
pub fn count_of(conn: &mut Connection, user: AccountId) -> QueryResult<i64> {
    api_keys::table
        .filter(api_keys::user_id.eq(i64::from(user.0)))
        .filter(api_keys::revoked_at.is_null())
        .count()
        .get_result(conn)
}

/// Ends a key of a user; false when the user has no such key.
///
/// # Errors
/// Whatever the database reports.
pub fn revoke(conn: &mut Connection, user: AccountId, id: &str, now: Timestamp) -> QueryResult<bool> {
    let live =
        api_keys::table.find(id).filter(api_keys::user_id.eq(i64::from(user.0))).filter(api_keys::revoked_at.is_null());
    Ok(diesel::update(live).set(api_keys::revoked_at.eq(now.0)).execute(conn)? > 0)
}

/// The keys that were revoked at or after `since`.
///
/// # Errors
/// Whatever the database reports.
pub fn revoked_since(conn: &mut Connection, since: Timestamp) -> QueryResult<Vec<String>> {
    api_keys::table.filter(api_keys::revoked_at.ge(since.0)).select(api_keys::id).load(conn)
}

/// Notes recent uses.
///
/// # Errors
/// Whatever the database reports.
pub fn used(conn: &mut Connection, uses: &[KeyUse]) -> QueryResult<()> {
    for KeyUse { id, at, from } in uses {
        diesel::update(api_keys::table.find(id))
            .set((api_keys::last_used.eq(at.0), api_keys::last_used_from.eq(from)))
            .execute(conn)?;
    }
    Ok(())
}
