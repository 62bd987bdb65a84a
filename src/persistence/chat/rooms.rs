//! Rooms and members.

use super::schema::{chat_members, chat_rooms};
use super::{account, bad, column, messages, storable};
use crate::domain::chat::{Member, MessageSequence, REMEMBERED, Role, Room, RoomId, RoomKind, RoomState};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use std::collections::{BTreeMap, HashSet};

diesel::define_sql_function! {
    /// In lower case, as far as the database knows how.
    fn lower(text: Text) -> Text;
}

type MemberRow = (i64, String, i64, i64, Option<i64>, Option<i64>);

const MEMBER: (
    chat_members::account,
    chat_members::role,
    chat_members::joined_at,
    chat_members::read_to,
    chat_members::muted_until,
    chat_members::last_sent,
) = (
    chat_members::account,
    chat_members::role,
    chat_members::joined_at,
    chat_members::read_to,
    chat_members::muted_until,
    chat_members::last_sent,
);

fn member((id, role, joined_at, read_to, muted_until, last_sent): MemberRow) -> QueryResult<(AccountId, Member)> {
    let member = Member {
        role: Role::from_name(&role).ok_or_else(|| bad("role"))?,
        joined_at: Timestamp(joined_at),
        read_to: MessageSequence(read_to as u64),
        muted_until: muted_until.map(Timestamp),
        last_sent: last_sent.map(Timestamp),
    };
    Ok((account(id)?, member))
}

/// A room with its members and newest messages in brief.
///
/// # Errors
/// Those of the database.
pub fn load(conn: &mut Connection, id: RoomId) -> QueryResult<Option<Room>> {
    let row = chat_rooms::table
        .filter(chat_rooms::id.eq(id.0 as i64))
        .select((chat_rooms::state, chat_rooms::last_sequence))
        .first::<(String, i64)>(conn)
        .optional()?;
    let Some((state, last)) = row else { return Ok(None) };
    let state: RoomState = serde_json::from_str(&state).map_err(|_| bad("state"))?;
    let rows: Vec<MemberRow> =
        chat_members::table.filter(chat_members::room.eq(id.0 as i64)).select(MEMBER).load(conn)?;
    let members = rows.into_iter().map(member).collect::<QueryResult<BTreeMap<_, _>>>()?;
    let briefs = messages::briefs(conn, id, REMEMBERED as i64)?;
    Ok(Some(Room::restore(id, state, members, MessageSequence(last as u64), briefs)))
}

/// All rooms.
///
/// # Errors
/// Those of the database.
pub fn ids(conn: &mut Connection) -> QueryResult<Vec<RoomId>> {
    let ids: Vec<i64> = chat_rooms::table.select(chat_rooms::id).order(chat_rooms::id).load(conn)?;
    Ok(ids.into_iter().map(|id| RoomId(id as u64)).collect())
}

/// Writes what a room is apart from members and messages.
///
/// # Errors
/// Those of the database.
pub fn save(conn: &mut Connection, room: &Room, at: Timestamp) -> QueryResult<()> {
    let state = serde_json::to_string(&room.state)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
    // The state needs no care: JSON writes a NUL in six plain characters.
    let (name, topic) = (storable(&room.state.name), storable(&room.state.topic));
    let row = (
        chat_rooms::kind.eq(room.state.kind.name()),
        chat_rooms::name.eq(&*name),
        chat_rooms::topic.eq(&*topic),
        chat_rooms::closed.eq(room.state.closed),
        chat_rooms::members.eq(i32::try_from(room.members.len()).unwrap_or(i32::MAX)),
        chat_rooms::last_sequence.eq(room.last.0 as i64),
        chat_rooms::last_at.eq(at.0),
        chat_rooms::state.eq(&state),
    );
    let id = room.id.0 as i64;
    if diesel::update(chat_rooms::table.filter(chat_rooms::id.eq(id))).set(row).execute(conn)? == 0 {
        diesel::insert_into(chat_rooms::table).values((chat_rooms::id.eq(id), row)).execute(conn)?;
    }
    Ok(())
}

/// Writes a member as it is now, or takes its row away.
///
/// # Errors
/// Those of the database.
pub fn save_member(conn: &mut Connection, room: RoomId, who: AccountId, now: Option<&Member>) -> QueryResult<()> {
    let (room, who) = (room.0 as i64, column(who));
    let own = chat_members::table.filter(chat_members::room.eq(room)).filter(chat_members::account.eq(who));
    let Some(now) = now else { return diesel::delete(own).execute(conn).map(drop) };
    let row = (
        chat_members::role.eq(now.role.name()),
        chat_members::joined_at.eq(now.joined_at.0),
        chat_members::read_to.eq(now.read_to.0 as i64),
        chat_members::muted_until.eq(now.muted_until.map(|until| until.0)),
        chat_members::last_sent.eq(now.last_sent.map(|at| at.0)),
    );
    if diesel::update(own).set(row).execute(conn)? == 0 {
        diesel::insert_into(chat_members::table)
            .values((chat_members::room.eq(room), chat_members::account.eq(who), row))
            .execute(conn)?;
    }
    Ok(())
}

/// A room as it stands in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Which room.
    pub id: RoomId,
    /// Public, private or direct.
    pub kind: RoomKind,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// How many members.
    pub members: i32,
    /// Its newest message.
    pub last: MessageSequence,
    /// When it changed last.
    pub last_at: Timestamp,
    /// Whether it was closed.
    pub closed: bool,
}

type ListedRow = (i64, String, String, String, i32, i64, i64, bool);

const LISTED: (
    chat_rooms::id,
    chat_rooms::kind,
    chat_rooms::name,
    chat_rooms::topic,
    chat_rooms::members,
    chat_rooms::last_sequence,
    chat_rooms::last_at,
    chat_rooms::closed,
) = (
    chat_rooms::id,
    chat_rooms::kind,
    chat_rooms::name,
    chat_rooms::topic,
    chat_rooms::members,
    chat_rooms::last_sequence,
    chat_rooms::last_at,
    chat_rooms::closed,
);

fn listed((id, kind, name, topic, members, last, at, closed): ListedRow) -> QueryResult<Listed> {
    Ok(Listed {
        id: RoomId::from_number(id as u64).ok_or_else(|| bad("room"))?,
        kind: RoomKind::from_name(&kind).ok_or_else(|| bad("kind"))?,
        name,
        topic,
        members,
        last: MessageSequence(last as u64),
        last_at: Timestamp(at),
        closed,
    })
}

/// Public rooms that are open, the largest first, whose name contains `text`, in upper or lower case.
///
/// # Errors
/// Those of the database.
pub fn public(conn: &mut Connection, text: &str, skip: i64, count: i64) -> QueryResult<Vec<Listed>> {
    let escaped: String =
        text.chars().flat_map(|c| if matches!(c, '%' | '_' | '\\') { vec!['\\', c] } else { vec![c] }).collect();
    let rows: Vec<ListedRow> = chat_rooms::table
        .filter(chat_rooms::kind.eq(RoomKind::Public.name()))
        .filter(chat_rooms::closed.eq(false))
        // By itself LIKE looks at the case on PostgreSQL, and not on SQLite.
        .filter(lower(chat_rooms::name).like(lower(format!("%{escaped}%"))).escape('\\'))
        .order((chat_rooms::members.desc(), chat_rooms::id))
        .offset(skip)
        .limit(count)
        .select(LISTED)
        .load(conn)?;
    rows.into_iter().map(listed).collect()
}

/// One of a user's rooms.
#[derive(Clone, Debug)]
pub struct Mine {
    /// The room.
    pub room: Listed,
    /// The user's membership.
    pub member: Member,
    /// Messages not read, the own and the deleted left out.
    pub unread: u64,
}

/// The rooms of a user, those that changed last first.
///
/// # Errors
/// Those of the database.
pub fn of(conn: &mut Connection, who: AccountId) -> QueryResult<Vec<Mine>> {
    let rows: Vec<(ListedRow, MemberRow)> = chat_members::table
        .inner_join(chat_rooms::table)
        .filter(chat_members::account.eq(column(who)))
        .order((chat_rooms::last_at.desc(), chat_rooms::id))
        .select((LISTED, MEMBER))
        .load(conn)?;
    let mut mine = Vec::with_capacity(rows.len());
    for (room, own) in rows {
        let (room, (_, own)) = (listed(room)?, member(own)?);
        let unread = unread(conn, room.id, who, own.read_to, room.last)?;
        mine.push(Mine { room, member: own, unread });
    }
    Ok(mine)
}

/// How many messages after `after` and up to `to` are neither somebody's own nor deleted.
///
/// # Errors
/// Those of the database.
pub fn unread(
    conn: &mut Connection,
    room: RoomId,
    who: AccountId,
    after: MessageSequence,
    to: MessageSequence,
) -> QueryResult<u64> {
    if after >= to {
        return Ok(0);
    }
    let not_counted = messages::own_or_deleted(conn, room, who, after, to)?;
    Ok((to.0 - after.0).saturating_sub(not_counted))
}

/// How many rooms somebody owns that are open.
///
/// # Errors
/// Those of the database.
pub fn owned(conn: &mut Connection, who: AccountId) -> QueryResult<i64> {
    chat_members::table
        .inner_join(chat_rooms::table)
        .filter(chat_members::account.eq(column(who)))
        .filter(chat_members::role.eq(Role::Owner.name()))
        .filter(chat_rooms::closed.eq(false))
        .count()
        .get_result(conn)
}

/// How many rooms somebody is in, direct ones left out.
///
/// # Errors
/// Those of the database.
pub fn joined(conn: &mut Connection, who: AccountId) -> QueryResult<i64> {
    chat_members::table
        .inner_join(chat_rooms::table)
        .filter(chat_members::account.eq(column(who)))
        .filter(chat_rooms::kind.ne(RoomKind::Direct.name()))
        .count()
        .get_result(conn)
}

/// Whether somebody is a member.
///
/// # Errors
/// Those of the database.
pub fn is_member(conn: &mut Connection, room: RoomId, who: AccountId) -> QueryResult<bool> {
    let own = chat_members::table.filter(chat_members::room.eq(room.0 as i64));
    Ok(own.filter(chat_members::account.eq(column(who))).count().get_result::<i64>(conn)? > 0)
}

/// What kind of room it is, if there is one.
///
/// # Errors
/// Those of the database.
pub fn kind(conn: &mut Connection, room: RoomId) -> QueryResult<Option<RoomKind>> {
    let own = chat_rooms::table.filter(chat_rooms::id.eq(room.0 as i64));
    let name = own.select(chat_rooms::kind).first::<String>(conn).optional()?;
    Ok(name.as_deref().and_then(RoomKind::from_name))
}

/// A room's newest message.
///
/// # Errors
/// Those of the database.
pub fn last(conn: &mut Connection, room: RoomId) -> QueryResult<MessageSequence> {
    let own = chat_rooms::table.filter(chat_rooms::id.eq(room.0 as i64));
    let last = own.select(chat_rooms::last_sequence).first::<i64>(conn).optional()?;
    Ok(MessageSequence(last.unwrap_or_default() as u64))
}

/// Members of a room by account, after one of them.
///
/// # Errors
/// Those of the database.
pub fn members(
    conn: &mut Connection,
    room: RoomId,
    after: Option<AccountId>,
    count: i64,
) -> QueryResult<Vec<(AccountId, Member)>> {
    let rows: Vec<MemberRow> = chat_members::table
        .filter(chat_members::room.eq(room.0 as i64))
        .filter(chat_members::account.gt(after.map_or(-1, column)))
        .order(chat_members::account)
        .limit(count)
        .select(MEMBER)
        .load(conn)?;
    rows.into_iter().map(member).collect()
}

/// A room's invitations and bans, as its state has them.
///
/// # Errors
/// Those of the database.
pub fn state(conn: &mut Connection, room: RoomId) -> QueryResult<Option<RoomState>> {
    let own = chat_rooms::table.filter(chat_rooms::id.eq(room.0 as i64));
    let state = own.select(chat_rooms::state).first::<String>(conn).optional()?;
    state.map(|state| serde_json::from_str(&state).map_err(|_| bad("state"))).transpose()
}

/// Those of these people who share a room with a user. Direct rooms do not count: anybody makes one by asking to be
/// friends.
///
/// # Errors
/// Those of the database.
pub fn neighbours(conn: &mut Connection, who: AccountId, others: &[AccountId]) -> QueryResult<HashSet<AccountId>> {
    let shared = chat_members::room.lt(RoomId::FIRST_DIRECT.0 as i64);
    let own = chat_members::table.filter(chat_members::account.eq(column(who))).filter(shared);
    let own: Vec<i64> = own.select(chat_members::room).load(conn)?;
    let ids: Vec<i64> = others.iter().copied().map(column).collect();
    let found: Vec<i64> = chat_members::table
        .filter(chat_members::account.eq_any(ids))
        .filter(chat_members::room.eq_any(own))
        .select(chat_members::account)
        .distinct()
        .load(conn)?;
    found.into_iter().map(account).collect()
}

/// The ids of a user's rooms.
///
/// # Errors
/// Those of the database.
pub fn ids_of(conn: &mut Connection, who: AccountId) -> QueryResult<Vec<RoomId>> {
    let own = chat_members::table.filter(chat_members::account.eq(column(who)));
    let ids: Vec<i64> = own.select(chat_members::room).load(conn)?;
    Ok(ids.into_iter().filter_map(|id| RoomId::from_number(id as u64)).collect())
}
