//! The tables of second factors: TOTP seeds and recovery codes.

use super::db::Connection;
use super::schema::{recovery_codes, totp};
use crate::domain::ids::AccountId;
use diesel::prelude::*;
use std::fmt;

/// A user's TOTP seed. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = totp)]
pub struct StoredTotp {
    /// Whose, an account number.
    pub user_id: i64,
    /// The encrypted seed.
    pub secret: Vec<u8>,
    /// Whether it is asked for.
    pub confirmed: bool,
    /// The newest time step whose code was used.
    pub last_step: i64,
}

impl fmt::Debug for StoredTotp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTotp").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// The seed of a user.
///
/// # Errors
/// Whatever the database reports.
pub fn totp_of(conn: &mut Connection, user: AccountId) -> QueryResult<Option<StoredTotp>> {
    totp::table.find(i64::from(user.0)).first(conn).optional()
}

/// Stores a seed that is not asked for yet, in place of another such one.
///
/// # Errors
/// A unique violation when the user has a confirmed one; whatever the database reports.
pub fn begin_totp(conn: &mut Connection, user: AccountId, secret: &[u8]) -> QueryResult<()> {
    let id = i64::from(user.0);
    diesel::delete(totp::table.find(id).filter(totp::confirmed.eq(false))).execute(conn)?;
    let row = StoredTotp { user_id: id, secret: secret.to_vec(), confirmed: false, last_step: 0 };
    diesel::insert_into(totp::table).values(&row).execute(conn).map(drop)
}

/// Uses a time step of this seed, as it is stored; false when it or a later one was used before, or when the user is
/// asked for codes of another seed or for none.
///
/// # Errors
/// Whatever the database reports.
pub fn use_step(conn: &mut Connection, user: AccountId, secret: &[u8], step: i64) -> QueryResult<bool> {
    let unused = totp::table
        .find(i64::from(user.0))
        .filter(totp::secret.eq(secret))
        .filter(totp::confirmed.eq(true))
        .filter(totp::last_step.lt(step));
    Ok(diesel::update(unused).set(totp::last_step.eq(step)).execute(conn)? > 0)
}

/// Begins to ask for codes of this seed, as it is stored, of which one was shown for this step; stores hashes of
/// recovery codes in place of older ones. False, and nothing has changed, when the seed is another one by now or was
/// confirmed before.
///
/// # Errors
/// Whatever the database reports.
pub fn confirm_totp(
    conn: &mut Connection,
    user: AccountId,
    (secret, step): (&[u8], i64),
    codes: &[Vec<u8>],
) -> QueryResult<bool> {
    let id = i64::from(user.0);
    let shown = totp::table.find(id).filter(totp::secret.eq(secret)).filter(totp::confirmed.eq(false));
    if diesel::update(shown).set((totp::confirmed.eq(true), totp::last_step.eq(step))).execute(conn)? == 0 {
        return Ok(false);
    }
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(id))).execute(conn)?;
    for code in codes {
        diesel::insert_into(recovery_codes::table)
            .values((recovery_codes::user_id.eq(id), recovery_codes::code.eq(code)))
            .execute(conn)?;
    }
    Ok(true)
}

/// Uses a recovery code up; false when there is no such one.
///
/// # Errors
/// Whatever the database reports.
pub fn use_recovery_code(conn: &mut Connection, user: AccountId, code: &[u8]) -> QueryResult<bool> {
    Ok(diesel::delete(recovery_codes::table.find((i64::from(user.0), code))).execute(conn)? > 0)
}

/// Removes seed and recovery codes.
///
/// # Errors
/// Whatever the database reports.
pub fn remove_totp(conn: &mut Connection, user: AccountId) -> QueryResult<()> {
    let id = i64::from(user.0);
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(id))).execute(conn)?;
    diesel::delete(totp::table.find(id)).execute(conn).map(drop)
}
