//! Snapshots in a database that nodes share, for those that have none of their own.

use super::db::{Database, DbError, on_either};
use super::log::Position;
use super::numbers::stored;
use super::schema::snapshots;
use diesel::prelude::*;

/// How many are kept.
const KEPT: i64 = 3;

/// Stores the content of a snapshot file and removes all but the newest few; a repeat changes nothing.
///
/// # Errors
/// [`DbError`]; nothing was written then.
pub fn put(database: &Database, position: Position, file: &[u8]) -> Result<(), DbError> {
    let content = zstd::bulk::compress(file, 3).map_err(|error| DbError::Unavailable(error.to_string()))?;
    database.write(|connection| {
        let row = (snapshots::position.eq(stored(position.0)), snapshots::content.eq(content));
        on_either!(connection, inner =>
            diesel::insert_into(snapshots::table).values(row).on_conflict_do_nothing().execute(inner))?;
        let newest: Vec<i64> = snapshots::table
            .select(snapshots::position)
            .order(snapshots::position.desc())
            .limit(KEPT)
            .load(connection)?;
        let oldest = newest.last().copied().unwrap_or_default();
        diesel::delete(snapshots::table.filter(snapshots::position.lt(oldest))).execute(connection).map(drop)
    })
}

/// Where there are snapshots, oldest first.
///
/// # Errors
/// [`DbError`].
pub fn all(database: &Database) -> Result<Vec<Position>, DbError> {
    let all = snapshots::table.select(snapshots::position).order(snapshots::position.asc());
    let positions: Vec<i64> = database.read(|c| all.load(c))?;
    Ok(positions.into_iter().map(|position| Position(position as u64)).collect())
}

/// The content of the snapshot file that stands there; `None` when there is none or it cannot be
/// unpacked.
///
/// # Errors
/// [`DbError`].
pub fn get(database: &Database, position: Position) -> Result<Option<Vec<u8>>, DbError> {
    let row = snapshots::table.find(stored(position.0)).select(snapshots::content);
    let content: Option<Vec<u8>> = database.read(|c| row.first(c).optional())?;
    Ok(content.and_then(|content| match zstd::stream::decode_all(content.as_slice()) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::error!(%error, %position, "a snapshot in the database cannot be unpacked");
            None
        }
    }))
}
