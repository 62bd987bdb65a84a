//! The state that whoever follows the log starts from.

use super::Parts;
use crate::domain::venue::Venue;
use crate::persistence::db::{Database, DbError};
use crate::persistence::log::Position;
use crate::persistence::projection::Mark;
use crate::persistence::shared_snapshots;
use crate::persistence::snapshots::Snapshots;

/// The newest state at or before `limit` that suits: a snapshot, this node's own or one that another node left in the
/// database, else the log's beginning.
///
/// # Errors
/// When the database does not answer.
pub fn newest_state(
    snapshots: &Snapshots,
    database: &Database,
    limit: Position,
    suits: impl Fn(&Venue) -> bool,
) -> Result<(Venue, Position), DbError> {
    let newest = || snapshots.newest_such(|position, venue| position <= limit && suits(venue));
    let mut loaded = newest();
    if database.is_shared() {
        // Newest first; one that is damaged is passed over.
        for shared in shared_snapshots::all(database)?.into_iter().rev().filter(|at| *at <= limit) {
            if loaded.as_ref().is_some_and(|loaded| loaded.position >= shared) {
                break;
            }
            let Some(content) = shared_snapshots::get(database, shared)? else { continue };
            match snapshots.adopt(shared, &content) {
                Ok(()) => tracing::info!(position = shared.0, "a snapshot was taken over from the database"),
                Err(error) => tracing::warn!(%error, "the snapshot in the database is of no use"),
            }
            loaded = newest();
        }
    }
    Ok(loaded.map_or_else(Default::default, |loaded| (loaded.venue, loaded.position)))
}

/// The state that a projector starts from: the newest one that the database has caught up with, in every stream.
pub(super) fn start(parts: &Parts, mark: &Mark) -> Result<(Venue, Position), DbError> {
    let is_there = |venue: &Venue| mark.contains.covers(venue);
    let (mut venue, position) = newest_state(&parts.snapshots, &parts.database, mark.position, is_there)?;
    venue.keep_ended();
    Ok((venue, position))
}
