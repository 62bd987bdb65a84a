//! Numbers as the tables hold them: SQL knows no unsigned integers and few 128-bit ones.

use crate::domain::money::Amount;
use diesel::QueryResult;
use diesel::result::Error;

/// A count that the domain keeps far below 2⁶³.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was stored from an unsigned one.
pub(super) fn loaded<T: TryFrom<i64>>(number: i64) -> QueryResult<T> {
    T::try_from(number).map_err(|_| unreadable(number))
}

/// An amount, which is stored as its decimal digits.
pub(super) fn amount(text: &str) -> QueryResult<Amount> {
    text.parse().map(Amount).map_err(|_| unreadable(text))
}

/// The error of a row that nobody could have written.
pub(super) fn unreadable(what: impl std::fmt::Debug) -> Error {
    Error::DeserializationError(format!("{what:?} cannot be in this column").into())
}
