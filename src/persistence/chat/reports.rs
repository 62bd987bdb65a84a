//! Reports of messages.

use super::schema::chat_reports;
use super::{account, bad, column, storable};
use crate::domain::chat::{MessageSequence, RoomId};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    /// In which room.
    pub room: RoomId,
    /// Its number there.
    pub number: u64,
    /// About which message.
    pub message: MessageSequence,
    /// Who wrote that.
    pub author: AccountId,
    /// Who reports it.
    pub reporter: AccountId,
    /// What is wrong with it.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// When it was dealt with, by whom, and what was done.
    pub resolved: Option<(Timestamp, AccountId, String)>,
}

/// Adds a report.
///
/// # Errors
/// Those of the database.
pub fn insert(conn: &mut Connection, report: &Report) -> QueryResult<()> {
    let reason = storable(&report.reason);
    diesel::insert_into(chat_reports::table)
        .values((
            chat_reports::room.eq(report.room.0 as i64),
            chat_reports::number.eq(report.number as i64),
            chat_reports::message.eq(report.message.0 as i64),
            chat_reports::author.eq(column(report.author)),
            chat_reports::reporter.eq(column(report.reporter)),
            chat_reports::reason.eq(&*reason),
            chat_reports::at.eq(report.at.0),
        ))
        .execute(conn)
        .map(drop)
}

/// Notes that a report was dealt with.
///
/// # Errors
/// Those of the database.
pub fn resolve(
    conn: &mut Connection,
    room: RoomId,
    number: u64,
    at: Timestamp,
    by: AccountId,
    note: &str,
) -> QueryResult<()> {
    let own =
        chat_reports::table.filter(chat_reports::room.eq(room.0 as i64)).filter(chat_reports::number.eq(number as i64));
    let note = storable(note);
    diesel::update(own)
        .set((
            chat_reports::resolved_at.eq(Some(at.0)),
            chat_reports::resolved_by.eq(Some(column(by))),
            chat_reports::note.eq(Some(&*note)),
        ))
        .execute(conn)
        .map(drop)
}

type Row = (i64, i64, i64, i64, i64, String, i64, (Option<i64>, Option<i64>, Option<String>));

/// Reports, newest first; only those that are open, if asked so.
///
/// # Errors
/// Those of the database.
pub fn list(conn: &mut Connection, open: bool, count: i64) -> QueryResult<Vec<Report>> {
    use chat_reports as r;
    let columns = (
        r::room,
        r::number,
        r::message,
        r::author,
        r::reporter,
        r::reason,
        r::at,
        (r::resolved_at, r::resolved_by, r::note),
    );
    let rows: Vec<Row> = if open {
        let open = r::table.filter(r::resolved_at.is_null());
        open.order(r::at.desc()).limit(count).select(columns).load(conn)?
    } else {
        r::table.order(r::at.desc()).limit(count).select(columns).load(conn)?
    };
    rows.into_iter().map(report).collect()
}

fn report((room, number, message, author, reporter, reason, at, resolved): Row) -> QueryResult<Report> {
    let resolved = match resolved {
        (Some(at), Some(by), note) => Some((Timestamp(at), account(by)?, note.unwrap_or_default())),
        (_, _, _) => None,
    };
    Ok(Report {
        room: RoomId::from_number(room as u64).ok_or_else(|| bad("room"))?,
        number: number as u64,
        message: MessageSequence(message as u64),
        author: account(author)?,
        reporter: account(reporter)?,
        reason,
        at: Timestamp(at),
        resolved,
    })
}
