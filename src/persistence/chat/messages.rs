//! Messages.

use super::schema::chat_messages as m;
use super::{account, bad, column, storable};
use crate::domain::chat::room::Brief;
use crate::domain::chat::{Attachment, ClientMessageId, Message, MessageKind, MessageSequence, RoomId};
use crate::domain::ids::{AccountId, Sequence};
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What is rarely there, as one text.
#[derive(Default, Serialize, Deserialize)]
struct Details {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<AccountId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Stored>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reactions: BTreeMap<String, BTreeSet<AccountId>>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    upload: Uuid,
    media_type: String,
    bytes: u32,
}

pub(super) type Row =
    (i64, i64, Option<String>, bool, i64, String, Option<i64>, Option<i64>, (Option<i64>, Option<i64>), String, i64);

#[allow(clippy::type_complexity, reason = "a list of columns")]
pub(super) const COLUMNS: (
    m::sequence,
    m::author,
    m::client_id,
    m::system,
    m::at,
    m::body,
    m::reply_to,
    m::edited_at,
    (m::deleted_at, m::deleted_by),
    m::details,
    m::changed,
) = (
    m::sequence,
    m::author,
    m::client_id,
    m::system,
    m::at,
    m::body,
    m::reply_to,
    m::edited_at,
    (m::deleted_at, m::deleted_by),
    m::details,
    m::changed,
);

pub(super) fn message(row: Row) -> QueryResult<Message> {
    let (sequence, author, client_id, system, at, text, reply_to, edited_at, deleted, details, changed) = row;
    let details: Details = serde_json::from_str(&details).map_err(|_| bad("details"))?;
    let stored = |s: Stored| Attachment { upload: s.upload.as_u128(), media_type: s.media_type, bytes: s.bytes };
    Ok(Message {
        sequence: MessageSequence(sequence as u64),
        author: account(author)?,
        client_id: client_id.as_deref().map(client_id_of).transpose()?,
        kind: if system { MessageKind::System } else { MessageKind::Text },
        at: Timestamp(at),
        text,
        reply_to: reply_to.map(|to| MessageSequence(to as u64)),
        mentions: details.mentions,
        attachments: details.attachments.into_iter().map(stored).collect(),
        edited_at: edited_at.map(Timestamp),
        deleted: match deleted {
            (Some(at), Some(by)) => Some((Timestamp(at), account(by)?)),
            (_, _) => None,
        },
        reactions: details.reactions,
        changed: Sequence(changed as u64),
    })
}

fn client_id_of(text: &str) -> QueryResult<ClientMessageId> {
    Uuid::parse_str(text).map(|id| ClientMessageId(id.as_u128())).map_err(|_| bad("client id"))
}

fn client_id_text(id: ClientMessageId) -> String {
    Uuid::from_u128(id.0).to_string()
}

fn details(message: &Message) -> String {
    let stored =
        |a: &Attachment| Stored { upload: Uuid::from_u128(a.upload), media_type: a.media_type.clone(), bytes: a.bytes };
    let details = Details {
        mentions: message.mentions.clone(),
        attachments: message.attachments.iter().map(stored).collect(),
        reactions: message.reactions.clone(),
    };
    serde_json::to_string(&details).unwrap_or_else(|_| "{}".into())
}

/// A message as its row has it.
pub fn as_stored(message: &Message) -> Cow<'_, Message> {
    match storable(&message.text) {
        Cow::Borrowed(_) => Cow::Borrowed(message),
        Cow::Owned(text) => Cow::Owned(Message { text, ..message.clone() }),
    }
}

/// Adds a message. Its client id is left out when the author has used it before in this room: a room
/// remembers only its newest ids, and one that was sent while the database was away may be a repeat.
///
/// # Errors
/// Those of the database.
pub fn insert(conn: &mut Connection, room: RoomId, message: &Message) -> QueryResult<()> {
    let client_id = match message.client_id {
        Some(id) if !known_in(conn, room, message.author, id)? => Some(client_id_text(id)),
        Some(_) | None => None,
    };
    let body = storable(&message.text);
    diesel::insert_into(m::table)
        .values((
            m::room.eq(room.0 as i64),
            m::sequence.eq(message.sequence.0 as i64),
            m::author.eq(column(message.author)),
            m::client_id.eq(client_id),
            m::system.eq(message.kind == MessageKind::System),
            m::at.eq(message.at.0),
            m::body.eq(&*body),
            m::reply_to.eq(message.reply_to.map(|to| to.0 as i64)),
            m::details.eq(details(message)),
            m::changed.eq(message.changed.0 as i64),
        ))
        .execute(conn)
        .map(drop)
}

fn known_in(conn: &mut Connection, room: RoomId, author: AccountId, id: ClientMessageId) -> QueryResult<bool> {
    let found = m::table
        .filter(m::author.eq(column(author)))
        .filter(m::client_id.eq(client_id_text(id)))
        .filter(m::room.eq(room.0 as i64))
        .count()
        .get_result::<i64>(conn)?;
    Ok(found > 0)
}

/// Writes what became of a message.
///
/// # Errors
/// Those of the database.
pub fn update(conn: &mut Connection, room: RoomId, message: &Message) -> QueryResult<()> {
    let own = m::table.filter(m::room.eq(room.0 as i64)).filter(m::sequence.eq(message.sequence.0 as i64));
    let body = storable(&message.text);
    diesel::update(own)
        .set((
            m::body.eq(&*body),
            m::edited_at.eq(message.edited_at.map(|at| at.0)),
            m::deleted_at.eq(message.deleted.map(|(at, _)| at.0)),
            m::deleted_by.eq(message.deleted.map(|(_, by)| column(by))),
            m::details.eq(details(message)),
            m::changed.eq(message.changed.0 as i64),
        ))
        .execute(conn)
        .map(drop)
}

/// One message.
///
/// # Errors
/// Those of the database.
pub fn get(conn: &mut Connection, room: RoomId, sequence: MessageSequence) -> QueryResult<Option<Message>> {
    let own = m::table.filter(m::room.eq(room.0 as i64)).filter(m::sequence.eq(sequence.0 as i64));
    own.select(COLUMNS).first::<Row>(conn).optional()?.map(message).transpose()
}

/// Which part of a room's history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The newest messages before this one, or of all.
    Before(Option<MessageSequence>),
    /// The oldest messages after this one.
    After(MessageSequence),
    /// Messages on both sides of this one, itself included.
    Around(MessageSequence),
}

/// A part of a room's history, oldest first.
///
/// # Errors
/// Those of the database.
pub fn page(conn: &mut Connection, room: RoomId, page: Page, count: i64) -> QueryResult<Vec<Message>> {
    let of = || m::table.filter(m::room.eq(room.0 as i64));
    let before = |conn: &mut Connection, end: i64, count: i64| -> QueryResult<Vec<Row>> {
        let older = of().filter(m::sequence.lt(end)).order(m::sequence.desc()).limit(count);
        let mut rows: Vec<Row> = older.select(COLUMNS).load(conn)?;
        rows.reverse();
        Ok(rows)
    };
    let after = |conn: &mut Connection, start: i64, count: i64| -> QueryResult<Vec<Row>> {
        of().filter(m::sequence.gt(start)).order(m::sequence.asc()).limit(count).select(COLUMNS).load(conn)
    };
    let rows = match page {
        Page::Before(end) => before(conn, end.map_or(i64::MAX, |end| end.0 as i64), count)?,
        Page::After(start) => after(conn, start.0 as i64, count)?,
        Page::Around(middle) => {
            let mut rows = before(conn, middle.0 as i64, count / 2)?;
            rows.extend(after(conn, middle.0 as i64 - 1, count - count / 2)?);
            rows
        }
    };
    rows.into_iter().map(message).collect()
}

/// The newest messages in brief, oldest first.
///
/// # Errors
/// Those of the database.
pub fn briefs(conn: &mut Connection, room: RoomId, count: i64) -> QueryResult<Vec<Brief>> {
    let rows: Vec<(i64, Option<String>, Option<i64>)> = m::table
        .filter(m::room.eq(room.0 as i64))
        .order(m::sequence.desc())
        .limit(count)
        .select((m::author, m::client_id, m::deleted_at))
        .load(conn)?;
    let brief = |(author, client_id, deleted): (i64, Option<String>, Option<i64>)| {
        let client_id = client_id.as_deref().map(client_id_of).transpose()?;
        Ok(Brief { author: account(author)?, client_id, deleted: deleted.is_some() })
    };
    rows.into_iter().rev().map(brief).collect()
}

/// How many messages after one and up to another are somebody's own or deleted.
///
/// # Errors
/// Those of the database.
pub fn own_or_deleted(
    conn: &mut Connection,
    room: RoomId,
    who: AccountId,
    after: MessageSequence,
    to: MessageSequence,
) -> QueryResult<u64> {
    let within = || {
        m::table
            .filter(m::room.eq(room.0 as i64))
            .filter(m::sequence.gt(after.0 as i64))
            .filter(m::sequence.le(to.0 as i64))
    };
    // Each of the two has an index of its own.
    let own: i64 = within().filter(m::author.eq(column(who))).count().get_result(conn)?;
    let deleted: i64 =
        within().filter(m::deleted_at.is_not_null()).filter(m::author.ne(column(who))).count().get_result(conn)?;
    Ok((own + deleted) as u64)
}

/// How many client ids are looked up at once. A statement looks for each of its ids at each of its senders, so many
/// together would cost their square.
const IDS_AT_ONCE: usize = 32;

/// The messages behind client ids of their senders, in any room.
///
/// # Errors
/// Those of the database.
pub fn by_client_ids(
    conn: &mut Connection,
    sent: &[(AccountId, ClientMessageId)],
) -> QueryResult<Vec<(AccountId, ClientMessageId, RoomId, MessageSequence)>> {
    let wanted: BTreeSet<(AccountId, ClientMessageId)> = sent.iter().copied().collect();
    // In the order of the senders, so that few of them come together.
    let ordered: Vec<_> = wanted.iter().copied().collect();
    let mut found = Vec::new();
    for chunk in ordered.chunks(IDS_AT_ONCE) {
        // The index is by sender first: without one, the whole table would be read.
        let mut authors: Vec<i64> = chunk.iter().map(|(author, _)| column(*author)).collect();
        authors.dedup();
        let ids: Vec<String> = chunk.iter().map(|(_, id)| client_id_text(*id)).collect();
        let rows: Vec<(i64, Option<String>, i64, i64)> = m::table
            .filter(m::author.eq_any(authors))
            .filter(m::client_id.eq_any(ids))
            .select((m::author, m::client_id, m::room, m::sequence))
            .load(conn)?;
        for (author, id, room, sequence) in rows {
            let (author, id) = (account(author)?, client_id_of(id.as_deref().unwrap_or_default())?);
            let room = RoomId::from_number(room as u64).ok_or_else(|| bad("room"))?;
            // Another's id of the same chunk is not asked about.
            if wanted.contains(&(author, id)) {
                found.push((author, id, room, MessageSequence(sequence as u64)));
            }
        }
    }
    Ok(found)
}

/// The newest messages of all rooms of a user before a moment, newest first, with their rooms.
///
/// # Errors
/// Those of the database.
pub fn newest_of_all(
    conn: &mut Connection,
    who: AccountId,
    before: Option<i64>,
    count: i64,
) -> QueryResult<Vec<(i64, RoomId, Message)>> {
    use super::schema::chat_members;
    let mine = chat_members::table.filter(chat_members::account.eq(column(who))).select(chat_members::room);
    let rows: Vec<(i64, i64, Row)> = m::table
        .filter(m::room.eq_any(mine))
        .filter(m::id.lt(before.unwrap_or(i64::MAX)))
        .order(m::id.desc())
        .limit(count)
        .select((m::id, m::room, COLUMNS))
        .load(conn)?;
    let found = |(id, room, row): (i64, i64, Row)| {
        let room = RoomId::from_number(room as u64).ok_or_else(|| bad("room"))?;
        Ok((id, room, message(row)?))
    };
    rows.into_iter().map(found).collect()
}
