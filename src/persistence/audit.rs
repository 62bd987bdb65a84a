//! The audit log: security events and what administrators did. Rows are only ever added.

use super::db::Connection;
use super::schema::audit;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use serde_json::Value;
use std::net::IpAddr;

/// Something to be remembered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was done: a name that never changes, such as `sign_in`.
    pub action: &'static str,
    /// Who did it, if that is known.
    pub actor: Option<AccountId>,
    /// Whose account it was done to.
    pub subject: Option<AccountId>,
    /// From where, if that is known.
    pub address: Option<IpAddr>,
    /// Before, after, and whatever else there is to say; never a secret.
    pub detail: Value,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Row {
    /// Its number; rises.
    pub id: i64,
    /// µs since 1970.
    pub at: i64,
    /// What was done.
    pub action: String,
    /// Who did it, an account number.
    pub actor: Option<i64>,
    /// Whose account it was done to, an account number.
    pub subject: Option<i64>,
    /// From where; may be empty.
    pub address: String,
    /// JSON.
    pub detail: String,
}

/// Which rows somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those that this user did.
    pub actor: Option<AccountId>,
    /// Those that were done to this user.
    pub subject: Option<AccountId>,
    /// Those of this name.
    pub action: Option<String>,
    /// Those with a number below this one.
    pub below: Option<i64>,
    /// Those with a number above this one.
    pub above: Option<i64>,
    /// How many at most.
    pub limit: i64,
}

/// Adds a row.
///
/// # Errors
/// Whatever the database reports.
pub fn record(conn: &mut Connection, entry: &Entry, now: Timestamp) -> QueryResult<()> {
    diesel::insert_into(audit::table)
        .values((
            audit::at.eq(now.0),
            audit::action.eq(entry.action),
            audit::actor.eq(entry.actor.map(|user| i64::from(user.0))),
            audit::subject.eq(entry.subject.map(|user| i64::from(user.0))),
            audit::address.eq(entry.address.map(|address| address.to_string()).unwrap_or_default()),
            audit::detail.eq(entry.detail.to_string()),
        ))
        .execute(conn)
        .map(drop)
}

/// Rows, newest first.
///
/// # Errors
/// Whatever the database reports.
pub fn list(conn: &mut Connection, filter: &Filter) -> QueryResult<Vec<Row>> {
    // The numbers are always there, so one query serves with and without each limit.
    let (below, above) = (filter.below.unwrap_or(i64::MAX), filter.above.unwrap_or(-1));
    let mut query = audit::table.filter(audit::id.lt(below)).filter(audit::id.gt(above)).into_boxed();
    if let Some(actor) = filter.actor {
        query = query.filter(audit::actor.eq(i64::from(actor.0)));
    }
    if let Some(subject) = filter.subject {
        query = query.filter(audit::subject.eq(i64::from(subject.0)));
    }
    if let Some(action) = &filter.action {
        query = query.filter(audit::action.eq(action.clone()));
    }
    query.order(audit::id.desc()).limit(filter.limit).load(conn)
}
