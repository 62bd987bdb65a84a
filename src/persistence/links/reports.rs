//! What people have said against links, and what was done about it.

use super::rows::{Row as LinkRow, Stored};
use super::schema::{link_reports as r, links as l};
use super::{account, column};
use crate::domain::ids::AccountId;
use crate::domain::link::LinkId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// Which link.
    pub link: LinkId,
    /// `phishing`, `malware`, `spam`, `illegal` or `other`.
    pub reason: String,
    /// What the reporter wrote.
    pub comment: String,
    /// Who; nobody when it came without an account.
    pub reporter: Option<AccountId>,
    /// When.
    pub at: Timestamp,
    /// What was done, once somebody has.
    pub resolved: Option<Resolved>,
}

/// What was done about a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: AccountId,
    /// `blocked` or `dismissed`.
    pub action: String,
    /// Why.
    pub note: String,
}

type Row = (i64, i64, String, String, Option<i64>, i64, Option<i64>, Option<i64>, Option<String>, Option<String>);

fn report((id, link, reason, comment, reporter, at, resolved_at, by, action, note): Row) -> QueryResult<Report> {
    let resolved = match (resolved_at, by) {
        (Some(at), Some(by)) => Some(Resolved {
            at: Timestamp(at),
            by: account(by)?,
            action: action.unwrap_or_default(),
            note: note.unwrap_or_default(),
        }),
        (_, _) => None,
    };
    let reporter = reporter.map(account).transpose()?;
    Ok(Report { id, link: LinkId(link), reason, comment, reporter, at: Timestamp(at), resolved })
}

/// Adds a report, unless so many of the link are open that one more says nothing new.
///
/// # Errors
/// Those of the database.
pub fn add(conn: &mut Connection, new: &Report, most_open: i64) -> QueryResult<bool> {
    let open = r::table.filter(r::link.eq(new.link.0)).filter(r::resolved_at.is_null());
    if open.count().get_result::<i64>(conn)? >= most_open {
        return Ok(false);
    }
    let row = (
        r::link.eq(new.link.0),
        r::reason.eq(&new.reason),
        r::comment.eq(&new.comment),
        r::reporter.eq(new.reporter.map(column)),
        r::at.eq(new.at.0),
    );
    diesel::insert_into(r::table).values(row).execute(conn).map(|_| true)
}

/// Reports with their links, newest first, older than `before`; only those that wait when `open`.
///
/// # Errors
/// Those of the database.
pub fn list(conn: &mut Connection, open: bool, before: Option<i64>, count: i64) -> QueryResult<Vec<(Report, Stored)>> {
    let mut query = r::table.inner_join(l::table.on(l::id.eq(r::link))).into_boxed();
    query = query.filter(r::id.lt(before.unwrap_or(i64::MAX)));
    if open {
        query = query.filter(r::resolved_at.is_null());
    }
    let rows: Vec<(Row, LinkRow)> =
        query.order(r::id.desc()).limit(count).select((r::all_columns, LinkRow::as_select())).load(conn)?;
    rows.into_iter().map(|(row, link)| Ok((report(row)?, link.read()?))).collect()
}

/// One report.
///
/// # Errors
/// Those of the database.
pub fn get(conn: &mut Connection, id: i64) -> QueryResult<Option<Report>> {
    r::table.find(id).first::<Row>(conn).optional()?.map(report).transpose()
}

/// Closes all open reports of a link; how many.
///
/// # Errors
/// Those of the database.
pub fn resolve(conn: &mut Connection, link: LinkId, done: &Resolved) -> QueryResult<usize> {
    let open = r::table.filter(r::link.eq(link.0)).filter(r::resolved_at.is_null());
    diesel::update(open)
        .set((
            r::resolved_at.eq(done.at.0),
            r::resolved_by.eq(column(done.by)),
            r::action.eq(&done.action),
            r::note.eq(&done.note),
        ))
        .execute(conn)
}
