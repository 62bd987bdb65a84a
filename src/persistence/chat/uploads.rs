//! Images that were uploaded: which room they belong to, and whether a message shows them. The images
//! themselves are objects (see [`crate::persistence::objects`]).

use super::schema::chat_uploads as u;
use super::{account, bad, column};
use crate::domain::chat::{Message, MessageSequence, RoomId};
use crate::domain::ids::AccountId;
use crate::domain::time::{DAY, Timestamp};
use crate::persistence::db::Connection;
use diesel::prelude::*;
use uuid::Uuid;

/// An upload that no message shows is removed after this time.
const FORGOTTEN_AFTER: i64 = DAY;

/// An uploaded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: u128,
    /// Whose.
    pub account: AccountId,
    /// For which room.
    pub room: RoomId,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub bytes: u32,
    /// When.
    pub at: Timestamp,
    /// The message that shows it.
    pub message: Option<MessageSequence>,
    /// Whether its message was deleted.
    pub gone: bool,
}

fn text(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}

/// Notes an upload.
///
/// # Errors
/// Those of the database.
pub fn add(conn: &mut Connection, upload: &Upload) -> QueryResult<()> {
    diesel::insert_into(u::table)
        .values((
            u::id.eq(text(upload.id)),
            u::account.eq(column(upload.account)),
            u::room.eq(upload.room.0 as i64),
            u::media_type.eq(&upload.media_type),
            u::bytes.eq(i64::from(upload.bytes)),
            u::at.eq(upload.at.0),
            u::gone.eq(false),
        ))
        .execute(conn)
        .map(drop)
}

/// One upload.
///
/// # Errors
/// Those of the database.
pub fn get(conn: &mut Connection, id: u128) -> QueryResult<Option<Upload>> {
    let row = u::table
        .filter(u::id.eq(text(id)))
        .select((u::account, u::room, u::media_type, u::bytes, u::at, u::message, u::gone))
        .first::<(i64, i64, String, i64, i64, Option<i64>, bool)>(conn)
        .optional()?;
    let Some((who, room, media_type, bytes, at, message, gone)) = row else { return Ok(None) };
    Ok(Some(Upload {
        id,
        account: account(who)?,
        room: RoomId::from_number(room as u64).ok_or_else(|| bad("room"))?,
        media_type,
        bytes: u32::try_from(bytes).map_err(|_| bad("size"))?,
        at: Timestamp(at),
        message: message.map(|message| MessageSequence(message as u64)),
        gone,
    }))
}

/// A message shows its images now.
///
/// # Errors
/// Those of the database.
pub fn attach(conn: &mut Connection, room: RoomId, message: &Message) -> QueryResult<()> {
    for attachment in &message.attachments {
        let own = u::table.filter(u::id.eq(text(attachment.upload))).filter(u::room.eq(room.0 as i64));
        diesel::update(own).set(u::message.eq(Some(message.sequence.0 as i64))).execute(conn)?;
    }
    Ok(())
}

/// A message was deleted, and its images are to go.
///
/// # Errors
/// Those of the database.
pub fn abandon(conn: &mut Connection, room: RoomId, message: MessageSequence) -> QueryResult<()> {
    let own = u::table.filter(u::room.eq(room.0 as i64)).filter(u::message.eq(Some(message.0 as i64)));
    diesel::update(own).set(u::gone.eq(true)).execute(conn).map(drop)
}

/// Images whose objects can be removed: of deleted messages, and those that no message ever showed.
///
/// # Errors
/// Those of the database.
pub fn removable(conn: &mut Connection, now: Timestamp, count: i64) -> QueryResult<Vec<u128>> {
    let forgotten = u::message.is_null().and(u::at.lt(now.0 - FORGOTTEN_AFTER));
    let ids: Vec<String> = u::table.filter(u::gone.eq(true).or(forgotten)).limit(count).select(u::id).load(conn)?;
    ids.iter().map(|id| Uuid::parse_str(id).map(|id| id.as_u128()).map_err(|_| bad("upload"))).collect()
}

/// An upload's object was removed; now its row goes too.
///
/// # Errors
/// Those of the database.
pub fn forget(conn: &mut Connection, id: u128) -> QueryResult<()> {
    diesel::delete(u::table.filter(u::id.eq(text(id)))).execute(conn).map(drop)
}
