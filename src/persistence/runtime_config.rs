//! The table of settings that change at run time. Every version stays; the highest of a key counts.

use super::db::{Backend, Connection};
use super::schema::runtime_config;
use diesel::dsl::max;
use diesel::prelude::*;

/// One version of one setting.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = runtime_config)]
pub struct Version {
    /// The setting's name.
    pub key: String,
    /// From 1 on, without gaps.
    pub version: i64,
    /// JSON.
    pub value: String,
    /// µs since 1970.
    pub set_at: i64,
    /// Who set it, an account number.
    pub set_by: Option<i64>,
}

/// Adds a version. Two that add the same one collide: one of them gets a unique violation.
///
/// # Errors
/// Whatever the database reports.
pub fn add(conn: &mut Connection, version: &Version) -> QueryResult<()> {
    diesel::insert_into(runtime_config::table).values(version).execute(conn).map(drop)
}

/// The highest version of a key; 0 when it was never set.
///
/// # Errors
/// Whatever the database reports.
pub fn newest(conn: &mut Connection, key: &str) -> QueryResult<i64> {
    let newest = runtime_config::table.filter(runtime_config::key.eq(key)).select(max(runtime_config::version));
    Ok(newest.first::<Option<i64>>(conn)?.unwrap_or(0))
}

/// All versions of a key, newest first, `limit` at most.
///
/// # Errors
/// Whatever the database reports.
pub fn history(conn: &mut Connection, key: &str, limit: i64) -> QueryResult<Vec<Version>> {
    runtime_config::table
        .filter(runtime_config::key.eq(key))
        .order(runtime_config::version.desc())
        .limit(limit)
        .load(conn)
}

/// The version of each key that counts, by key.
///
/// # Errors
/// Whatever the database reports.
pub fn current(conn: &mut Connection) -> QueryResult<Vec<Version>> {
    let newest: Vec<(String, Option<i64>)> = runtime_config::table
        .group_by(runtime_config::key)
        .select((runtime_config::key, max(runtime_config::version)))
        .load(conn)?;
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let mut current: runtime_config::BoxedQuery<'_, Backend> = runtime_config::table.into_boxed();
    for (key, version) in newest {
        let counts = runtime_config::key.eq(key).and(runtime_config::version.eq(version.unwrap_or(0)));
        current = current.or_filter(counts);
    }
    current.order(runtime_config::key).load(conn)
}
