//! Chat in the database: rooms, members and messages as they follow from the chat streams, and what
//! stands in no log (names, how people want to be seen, uploads).
//!
//! Invariant: rows and watermark change in one transaction, by the same `apply` as everywhere else.

pub mod friends;
mod kept;
pub mod messages;
pub mod people;
pub mod projection;
pub mod reports;
pub mod rooms;
mod schema;
pub mod search;
pub mod uploads;

use crate::domain::ids::AccountId;
use diesel::result::Error;
use std::borrow::Cow;

/// An account as its column has it.
fn column(account: AccountId) -> i64 {
    i64::from(account.0)
}

/// The account in a column.
fn account(value: i64) -> diesel::QueryResult<AccountId> {
    u32::try_from(value).map(AccountId).map_err(|error| Error::DeserializationError(Box::new(error)))
}

/// A text as its column has it. PostgreSQL takes no NUL, and one that stands in a log would stop the projection for
/// good; it is the same with SQLite, so that both say the same.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// A value that no writer of these tables writes.
fn bad(what: &str) -> Error {
    Error::DeserializationError(format!("a chat row has a bad {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_stored_without_nuls_and_else_as_they_are() {
        assert!(matches!(storable("h\u{e9}llo\n"), Cow::Borrowed("h\u{e9}llo\n")));
        assert_eq!(storable("a\0b\0"), "a\u{fffd}b\u{fffd}");
    }
}
