//! How far outcomes were published for other services.

use super::db::{Database, DbError};
use super::log::Position;
use super::numbers::stored;
use super::schema::bridge_watermark;
use diesel::prelude::*;

/// The last batch whose outcomes were published.
///
/// # Errors
/// [`DbError`].
pub fn position(database: &Database) -> Result<Position, DbError> {
    let position = database.read(|c| bridge_watermark::table.select(bridge_watermark::position).first::<i64>(c))?;
    Ok(Position(position as u64))
}

/// Moves on; false when it is not at `from`, because another node has moved it.
///
/// # Errors
/// [`DbError`]; nothing was written then.
pub fn advance(database: &Database, from: Position, to: Position) -> Result<bool, DbError> {
    database.write(|connection| {
        let at = bridge_watermark::table.filter(bridge_watermark::position.eq(stored(from.0)));
        let moved = diesel::update(at).set(bridge_watermark::position.eq(stored(to.0))).execute(connection)?;
        Ok(moved > 0)
    })
}
