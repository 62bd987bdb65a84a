//! What became of links: their history, and what other nodes learn from what to forget.

use super::schema::link_changes as c;
use super::{account, column};
use crate::domain::ids::AccountId;
use crate::domain::link::{Link, LinkId};
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;

/// A change to be written.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Who made it; nobody when the program did.
    pub by: Option<AccountId>,
    /// `edited`, `disabled`, `enabled`, `blocked`, `unblocked`, `deleted`, `hosts`, `domains`.
    pub what: &'a str,
    /// What was changed, JSON.
    pub details: &'a str,
    /// When.
    pub at: Timestamp,
}

/// A change as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place among all changes.
    pub seq: i64,
    /// Of which link; 0 when it concerns all of them.
    pub link: LinkId,
    /// The link's domain.
    pub domain: String,
    /// The link's slug.
    pub slug: String,
    /// When.
    pub at: Timestamp,
    /// Who made it.
    pub by: Option<AccountId>,
    /// What it was.
    pub what: String,
    /// The details, JSON.
    pub details: String,
}

type Row = (i64, i64, String, String, i64, Option<i64>, String, String);

fn change((seq, link, domain, slug, at, by, what, details): Row) -> QueryResult<Change> {
    let by = by.map(account).transpose()?;
    Ok(Change { seq, link: LinkId(link), domain, slug, at: Timestamp(at), by, what, details })
}

fn write(conn: &mut Connection, id: i64, domain: &str, slug: &str, new: &New<'_>) -> QueryResult<()> {
    let row = (
        c::link.eq(id),
        c::domain.eq(domain),
        c::slug.eq(slug),
        c::at.eq(new.at.0),
        c::by_account.eq(new.by.map(column)),
        c::what.eq(new.what),
        c::details.eq(new.details),
    );
    diesel::insert_into(c::table).values(row).execute(conn).map(drop)
}

/// Writes down what became of a link.
///
/// # Errors
/// Those of the database.
pub fn add(conn: &mut Connection, link: &Link, new: &New<'_>) -> QueryResult<()> {
    write(conn, link.id.0, &link.domain, &link.slug, new)
}

/// Writes down something that concerns all links.
///
/// # Errors
/// Those of the database.
pub fn add_for_all(conn: &mut Connection, new: &New<'_>) -> QueryResult<()> {
    write(conn, 0, "", "", new)
}

/// The newest change's place; 0 when there is none.
///
/// # Errors
/// Those of the database.
pub fn newest(conn: &mut Connection) -> QueryResult<i64> {
    Ok(c::table.select(diesel::dsl::max(c::seq)).first::<Option<i64>>(conn)?.unwrap_or(0))
}

/// Changes after a place, oldest first.
///
/// # Errors
/// Those of the database.
pub fn after(conn: &mut Connection, seq: i64, count: i64) -> QueryResult<Vec<Change>> {
    let rows: Vec<Row> = c::table.filter(c::seq.gt(seq)).order(c::seq).limit(count).load(conn)?;
    rows.into_iter().map(change).collect()
}

/// The newest change of a kind to a link.
///
/// # Errors
/// Those of the database.
pub fn last_of(conn: &mut Connection, link: LinkId, what: &str) -> QueryResult<Option<Change>> {
    let own = c::table.filter(c::link.eq(link.0)).filter(c::what.eq(what));
    own.order(c::seq.desc()).first::<Row>(conn).optional()?.map(change).transpose()
}

/// What became of a link, newest first, older than `before`.
///
/// # Errors
/// Those of the database.
pub fn of_link(conn: &mut Connection, link: LinkId, before: Option<i64>, count: i64) -> QueryResult<Vec<Change>> {
    let own = c::table.filter(c::link.eq(link.0)).filter(c::seq.lt(before.unwrap_or(i64::MAX)));
    let rows: Vec<Row> = own.order(c::seq.desc()).limit(count).load(conn)?;
    rows.into_iter().map(change).collect()
}
