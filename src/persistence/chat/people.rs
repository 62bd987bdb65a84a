//! What people chose for chat: a name, and who may see when they are there. Rows, not entries, so
//! that they can be erased; write them durably.

use super::schema::chat_people;
use super::{account, bad, column};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

/// Who may see whether somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VisibleTo {
    /// Whoever shares a room.
    #[default]
    Everyone,
    /// Friends.
    Friends,
    /// Nobody.
    Nobody,
}

impl VisibleTo {
    const ALL: [VisibleTo; 3] = [VisibleTo::Everyone, VisibleTo::Friends, VisibleTo::Nobody];

    /// Its name in the database and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            VisibleTo::Everyone => "everyone",
            VisibleTo::Friends => "friends",
            VisibleTo::Nobody => "nobody",
        }
    }

    /// The setting of this name.
    pub fn from_name(name: &str) -> Option<VisibleTo> {
        VisibleTo::ALL.into_iter().find(|setting| setting.name() == name)
    }
}

/// Somebody as chat knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub account: AccountId,
    /// The name that others see.
    pub nick: String,
    /// Who may see whether they are there.
    pub visible_to: VisibleTo,
    /// When they were there last.
    pub last_seen: Option<Timestamp>,
}

impl Person {
    /// Somebody who has chosen nothing yet.
    pub fn unnamed(account: AccountId) -> Person {
        Person { account, nick: format!("user-{}", account.0), visible_to: VisibleTo::default(), last_seen: None }
    }
}

type Row = (i64, String, String, Option<i64>);

fn person((id, nick, visible_to, last_seen): Row) -> QueryResult<Person> {
    Ok(Person {
        account: account(id)?,
        nick,
        visible_to: VisibleTo::from_name(&visible_to).ok_or_else(|| bad("visibility"))?,
        last_seen: last_seen.map(Timestamp),
    })
}

const COLUMNS: (chat_people::account, chat_people::nick, chat_people::visible_to, chat_people::last_seen) =
    (chat_people::account, chat_people::nick, chat_people::visible_to, chat_people::last_seen);

/// A name as it is compared: two that look alike but for case are the same.
pub fn folded(nick: &str) -> String {
    nick.to_lowercase()
}

/// Those of these people who have chosen something.
///
/// # Errors
/// Those of the database.
pub fn get_all(conn: &mut Connection, accounts: &[AccountId]) -> QueryResult<Vec<Person>> {
    let ids: Vec<i64> = accounts.iter().copied().map(column).collect();
    let rows: Vec<Row> = chat_people::table.filter(chat_people::account.eq_any(ids)).select(COLUMNS).load(conn)?;
    rows.into_iter().map(person).collect()
}

/// One person.
///
/// # Errors
/// Those of the database.
pub fn get(conn: &mut Connection, who: AccountId) -> QueryResult<Person> {
    Ok(get_all(conn, &[who])?.pop().unwrap_or_else(|| Person::unnamed(who)))
}

/// The people of these names, whatever their case.
///
/// # Errors
/// Those of the database.
pub fn by_nicks(conn: &mut Connection, nicks: &[String]) -> QueryResult<Vec<Person>> {
    let names: Vec<String> = nicks.iter().map(|nick| folded(nick)).collect();
    let rows: Vec<Row> =
        chat_people::table.filter(chat_people::nick_folded.eq_any(names)).select(COLUMNS).load(conn)?;
    rows.into_iter().map(person).collect()
}

/// Writes what somebody chose.
///
/// # Errors
/// A unique violation when somebody else has the name; those of the database.
pub fn save(conn: &mut Connection, person: &Person) -> QueryResult<()> {
    let row = (
        chat_people::nick.eq(&person.nick),
        chat_people::nick_folded.eq(folded(&person.nick)),
        chat_people::visible_to.eq(person.visible_to.name()),
    );
    let own = chat_people::table.filter(chat_people::account.eq(column(person.account)));
    if diesel::update(own).set(row.clone()).execute(conn)? == 0 {
        diesel::insert_into(chat_people::table)
            .values((chat_people::account.eq(column(person.account)), row))
            .execute(conn)?;
    }
    Ok(())
}

/// Notes when people were there last; those who have chosen nothing get a row.
///
/// # Errors
/// Those of the database.
pub fn seen(conn: &mut Connection, seen: &[(AccountId, Timestamp)]) -> QueryResult<()> {
    for (who, at) in seen {
        let own = chat_people::table.filter(chat_people::account.eq(column(*who)));
        let last = chat_people::last_seen.eq(Some(at.0));
        if diesel::update(own).set(last).execute(conn)? == 0 {
            save(conn, &Person::unnamed(*who))?;
            diesel::update(own).set(last).execute(conn)?;
        }
    }
    Ok(())
}
