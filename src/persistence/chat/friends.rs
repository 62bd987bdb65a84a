//! Who is friends with whom, asked, or blocks: one row for each side.

use super::schema::chat_friends;
use super::{account, bad, column};
use crate::domain::chat::Room;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;
use std::collections::HashSet;

/// How a relation looks from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Friendship {
    /// Nothing.
    None,
    /// This side asked.
    Asked,
    /// The other side asked.
    Wanted,
    /// Friends.
    Friends,
}

impl Friendship {
    const ALL: [Friendship; 4] = [Friendship::None, Friendship::Asked, Friendship::Wanted, Friendship::Friends];

    /// Its name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Friendship::None => "none",
            Friendship::Asked => "asked",
            Friendship::Wanted => "wants",
            Friendship::Friends => "friends",
        }
    }

    /// How a direct room's relation looks from one side.
    pub fn seen_by(room: &Room, who: AccountId) -> Friendship {
        let relation = &room.state.relation;
        match relation.asked_by {
            _ if relation.friends_since.is_some() => Friendship::Friends,
            Some(by) if by == who => Friendship::Asked,
            Some(_) => Friendship::Wanted,
            None => Friendship::None,
        }
    }
}

/// One side of a relation.
#[derive(Clone, Copy, Debug)]
pub struct Friend {
    /// The other.
    pub other: AccountId,
    /// How this side sees it.
    pub status: Friendship,
    /// Whether this side blocks the other.
    pub blocked: bool,
    /// When it changed last.
    pub since: Timestamp,
}

/// Writes both sides of a direct room's relation.
///
/// # Errors
/// Those of the database.
pub fn save(conn: &mut Connection, room: &Room, at: Timestamp) -> QueryResult<()> {
    let Some((low, high)) = room.id.pair() else { return Ok(()) };
    for (own, other) in [(low, high), (high, low)] {
        let row = (
            chat_friends::status.eq(Friendship::seen_by(room, own).name()),
            chat_friends::blocked.eq(room.state.relation.blocked_by.contains(&own)),
            chat_friends::since.eq(at.0),
        );
        let side = chat_friends::table
            .filter(chat_friends::account.eq(column(own)))
            .filter(chat_friends::other.eq(column(other)));
        if diesel::update(side).set(row).execute(conn)? == 0 {
            diesel::insert_into(chat_friends::table)
                .values((chat_friends::account.eq(column(own)), chat_friends::other.eq(column(other)), row))
                .execute(conn)?;
        }
    }
    Ok(())
}

/// Those of these people who block a user.
///
/// # Errors
/// Those of the database.
pub fn blocking(conn: &mut Connection, who: AccountId, others: &[AccountId]) -> QueryResult<HashSet<AccountId>> {
    let ids: Vec<i64> = others.iter().copied().map(column).collect();
    let found: Vec<i64> = chat_friends::table
        .filter(chat_friends::account.eq_any(ids))
        .filter(chat_friends::other.eq(column(who)))
        .filter(chat_friends::blocked.eq(true))
        .select(chat_friends::account)
        .load(conn)?;
    found.into_iter().map(account).collect()
}

/// All relations of a user that are something.
///
/// # Errors
/// Those of the database.
pub fn of(conn: &mut Connection, who: AccountId) -> QueryResult<Vec<Friend>> {
    let rows: Vec<(i64, String, bool, i64)> = chat_friends::table
        .filter(chat_friends::account.eq(column(who)))
        .filter(chat_friends::status.ne(Friendship::None.name()).or(chat_friends::blocked.eq(true)))
        .order(chat_friends::other)
        .select((chat_friends::other, chat_friends::status, chat_friends::blocked, chat_friends::since))
        .load(conn)?;
    let friend = |(other, status, blocked, since): (i64, String, bool, i64)| {
        let status = Friendship::ALL.into_iter().find(|s| s.name() == status).ok_or_else(|| bad("friendship"))?;
        Ok(Friend { other: account(other)?, status, blocked, since: Timestamp(since) })
    };
    rows.into_iter().map(friend).collect()
}
