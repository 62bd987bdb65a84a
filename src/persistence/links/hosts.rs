//! Hosts that no link may lead to, and the settings of short domains.

use super::schema::{link_domains as d, link_hosts as h};
use super::{account, column};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;

/// A blocked host; names below it are blocked too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// In lower case and punycode.
    pub host: String,
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: Option<AccountId>,
    /// Why.
    pub note: String,
}

/// All blocked hosts, by name.
///
/// # Errors
/// Those of the database.
pub fn blocked(conn: &mut Connection) -> QueryResult<Vec<Blocked>> {
    let rows: Vec<(String, i64, Option<i64>, String)> = h::table.order(h::host).load(conn)?;
    let blocked = |(host, at, by, note): (String, i64, Option<i64>, String)| {
        Ok(Blocked { host, at: Timestamp(at), by: by.map(account).transpose()?, note })
    };
    rows.into_iter().map(blocked).collect()
}

/// Blocks a host, or changes the note.
///
/// # Errors
/// Those of the database.
pub fn block(conn: &mut Connection, blocked: &Blocked) -> QueryResult<()> {
    let values = (h::at.eq(blocked.at.0), h::by_account.eq(blocked.by.map(column)), h::note.eq(&blocked.note));
    if diesel::update(h::table.find(&blocked.host)).set(values).execute(conn)? == 0 {
        diesel::insert_into(h::table).values((h::host.eq(&blocked.host), values)).execute(conn)?;
    }
    Ok(())
}

/// Lets links lead to a host again; false when it was not blocked.
///
/// # Errors
/// Those of the database.
pub fn unblock(conn: &mut Connection, host: &str) -> QueryResult<bool> {
    Ok(diesel::delete(h::table.find(host)).execute(conn)? > 0)
}

/// The settings of all short domains that have any, JSON.
///
/// # Errors
/// Those of the database.
pub fn domains(conn: &mut Connection) -> QueryResult<Vec<(String, String)>> {
    d::table.order(d::host).select((d::host, d::settings)).load(conn)
}

/// Sets the settings of a short domain.
///
/// # Errors
/// Those of the database.
pub fn set_domain(conn: &mut Connection, host: &str, settings: &str, by: AccountId, at: Timestamp) -> QueryResult<()> {
    let values = (d::settings.eq(settings), d::at.eq(at.0), d::by_account.eq(column(by)));
    if diesel::update(d::table.find(host)).set(values).execute(conn)? == 0 {
        diesel::insert_into(d::table).values((d::host.eq(host), values)).execute(conn)?;
    }
    Ok(())
}
