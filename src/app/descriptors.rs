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

/// Raises the soft limit to the hard one; the limit from then on, if there is one.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, ?current, ?maximum, "the limit on open files cannot be raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left() {
        assert_eq!(room(1_048_576, 8, 8), 131_029);
        assert_eq!(room(4_096, 2, 8), 1_900);
        assert_eq!(room(1_024, 16, 8), 38);
        assert_eq!(room(100, 2, 8), LEAST);
    }
}
