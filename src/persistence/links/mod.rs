//! Short links in the database.
//!
//! Links are rows, not entries of the log: any node may change any link, and what must hold between
//! nodes (a name is given once, a click of a limited link is spent once) is a constraint or a condition
//! of the statement that changes it. What became of a link is written to `link_changes` in the same
//! transaction, from which other nodes learn what they have to forget.

pub mod changes;
pub mod clicks;
pub mod hosts;
pub mod reports;
pub mod rollup;
pub mod rows;
mod schema;
pub mod search;
pub mod stats;

use super::db::DbError;
use crate::domain::ids::AccountId;
use diesel::result::{DatabaseErrorKind, Error};

/// An account as its column has it.
fn column(account: AccountId) -> i64 {
    i64::from(account.0)
}

/// The account in a column.
fn account(value: i64) -> diesel::QueryResult<AccountId> {
    u32::try_from(value).map(AccountId).map_err(|error| Error::DeserializationError(Box::new(error)))
}

/// A value that no writer of these tables writes.
fn bad(what: &str) -> Error {
    Error::DeserializationError(format!("a link's row has a bad {what}").into())
}

/// Whether PostgreSQL ended a transaction because it and another one waited for each other. Nothing of it was done, and
/// it can be done once more. (SQLSTATE 40P01; diesel tells the message alone, in which nearly all languages have this
/// word.)
pub fn is_deadlock(error: &DbError) -> bool {
    match error {
        DbError::Query(Error::DatabaseError(DatabaseErrorKind::Unknown, information)) => {
            information.message().to_lowercase().contains("deadlock")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadlock_is_told_from_other_failures() {
        let told = |message: &str| {
            is_deadlock(&Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())).into())
        };
        assert!(told("deadlock detected") && told("Verkehrsklemmung (Deadlock) entdeckt"));
        assert!(!told("canceling statement due to statement timeout"));
        assert!(!is_deadlock(&DbError::Unavailable("deadlock".into())));
    }
}
