//! How many files and connections the program may have open at once.
//!
//! Without a descriptor the log cannot begin a new segment and no connection to a database or broker can be made, so clients
//! never get the last ones.

use crate::config::ServeConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but clients and the database: the log and its readers, snapshots, broker, Redis, images, calls
/// to other servers.
const RESERVE: u64 = 256;

/// Descriptors of each thread that serves HTTP.
const OF_A_WORKER: u64 = 8;

/// Descriptors of a connection to the database; SQLite has three files.
const OF_A_DATABASE_CONNECTION: u64 = 3;

/// However low the limit is, each worker takes so many connections.
const LEAST: usize = 16;

/// Raises the limit as far as it goes; the most connections for each worker that it has room for, and no more than asked
/// for.
pub(super) fn connections_of_a_worker(settings: &ServeConfig) -> usize {
    let wanted = settings.max_connections;
    let Some(limit) = raise() else { return wanted };
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let room = room(limit, workers as u64, u64::from(settings.database.database_connections));
    if room < wanted {
        tracing::info!(limit, workers, connections = room, wanted, "the limit on open files allows fewer connections");
    }
    room.min(wanted)
}

fn room(limit: u64, workers: u64, database_connections: u64) -> usize {
    let reserve = RESERVE + OF_A_WORKER * workers + OF_A_DATABASE_CONNECTION * database_connections;
    let room = limit.saturating_sub(reserve) / workers.max(1);
    usize::try_from(room).unwrap_or(usize::MAX).max(LEAST)
}

/// What is tried where the system does not give the hard limit: macOS has none, and may give no more than the last.
const MODEST: [u64; 2] = [65_536, 10_240];

/// Raises the soft limit to the hard one, or as far as the system goes along; the limit from then on, if there is one.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut refused = None;
    for wanted in steps(current, maximum) {
        match setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }) {
            Ok(()) => return wanted,
            Err(error) => refused = Some(error),
        }
    }
    if let Some(error) = refused {
        tracing::warn!(%error, ?current, ?maximum, "the limit on open files cannot be raised");
    }
    current
}

/// The limits to try, in this order, each of them higher than the present one and none above the hard one. None is no limit.
fn steps(current: Option<u64>, maximum: Option<u64>) -> impl Iterator<Item = Option<u64>> {
    let is_above = |limit: Option<u64>, other: Option<u64>| match (limit, other) {
        (Some(limit), Some(other)) => limit > other,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    let modest = MODEST.into_iter().map(Some).filter(move |limit| is_above(maximum, *limit));
    std::iter::once(maximum).chain(modest).filter(move |limit| is_above(*limit, current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_tried_when_the_system_refuses_all() {
        for (current, maximum, expected) in [
            (Some(1_024), Some(4_096), vec![Some(4_096)]),
            (Some(4_096), Some(4_096), vec![]),
            (Some(256), None, vec![None, Some(65_536), Some(10_240)]),
            (Some(20_000), None, vec![None, Some(65_536)]),
            (Some(1_024), Some(524_288), vec![Some(524_288), Some(65_536), Some(10_240)]),
            (Some(1_024), Some(10_240), vec![Some(10_240)]),
            (None, None, vec![]),
        ] {
            assert_eq!(steps(current, maximum).collect::<Vec<_>>(), expected, "{current:?} of {maximum:?}");
        }
    }

    #[test]
    fn clients_get_what_is_left() {
        assert_eq!(room(1_048_576, 8, 8), 131_029);
        assert_eq!(room(4_096, 2, 8), 1_900);
        assert_eq!(room(1_024, 16, 8), 38);
        assert_eq!(room(100, 2, 8), LEAST);
    }
}
