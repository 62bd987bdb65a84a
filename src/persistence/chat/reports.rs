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

/// How many reports of somebody are open, and whether one of them is about this message.
///
/// # Errors
/// Those of the database.
pub fn open_of(
    conn: &mut Connection,
    reporter: AccountId,
    room: RoomId,
    message: MessageSequence,
) -> QueryResult<(i64, bool)> {
    use chat_reports as r;
    let own = || r::table.filter(r::resolved_at.is_null()).filter(r::reporter.eq(column(reporter)));
    let all: i64 = own().count().get_result(conn)?;
    let same = own().filter(r::room.eq(room.0 as i64)).filter(r::message.eq(message.0 as i64));
    Ok((all, same.count().get_result::<i64>(conn)? > 0))
}

/// Reports, newest first, after one of them, which is named by room and number; only those that are open, if asked so.
/// `None` when there is no such one.
///
/// # Errors
/// Those of the database.
pub fn list(
    conn: &mut Connection,
    open: bool,
    before: Option<(RoomId, u64)>,
    count: i64,
) -> QueryResult<Option<Vec<Report>>> {
    use chat_reports as r;
    let mut query = r::table.into_boxed();
    if let Some((room, number)) = before {
        let (room, number) = (room.0 as i64, number as i64);
        let place = r::table.filter(r::room.eq(room)).filter(r::number.eq(number)).select(r::at);
        let Some(at) = place.first::<i64>(conn).optional()? else { return Ok(None) };
        // Several may be of one moment.
        let beside = r::at.eq(at).and(r::room.lt(room).or(r::room.eq(room).and(r::number.lt(number))));
        query = query.filter(r::at.lt(at).or(beside));
    }
    if open {
        query = query.filter(r::resolved_at.is_null());
    }
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
    let newest_first = (r::at.desc(), r::room.desc(), r::number.desc());
    let rows: Vec<Row> = query.order(newest_first).limit(count).select(columns).load(conn)?;
    rows.into_iter().map(report).collect::<QueryResult<Vec<_>>>().map(Some)
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
