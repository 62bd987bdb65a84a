//! Takes over into SQLite's file what writers have put into its write-ahead log.
//!
//! SQLite would do so itself within the commit that makes the log long, while all other writers of this
//! process wait for their turn: pages that lie anywhere in the file, and a flush. Here a thread of its
//! own does, beside those who write. A log begins anew only when all of it was taken over, so the last
//! part of a long one is taken over while nobody writes.

use super::Connection;
use super::DbError;
use super::target::Options;
use crossbeam_channel::{Receiver, Sender};
use diesel::prelude::*;
use diesel::sql_types::Integer;
use parking_lot::FairMutex;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Pages that are not worth the flushes.
const FEW: i32 = 1_000;
/// A log of so many pages begins anew as soon as it may.
const LONG: i32 = 8_192;

/// The thread. It ends with this value, which waits for it.
pub(super) struct Checkpoints {
    /// With room for one: who wakes it once more while it works says nothing new.
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts it for a file that this process's writers write in `turn`.
    pub(super) fn start(options: &Options, turn: Arc<FairMutex<()>>) -> Result<Checkpoints, DbError> {
        let unavailable = |error: &dyn std::fmt::Display| DbError::Unavailable(error.to_string());
        let mut connection = Connection::open(options).map_err(|error| unavailable(&error))?;
        let (wake, woken) = crossbeam_channel::bounded(1);
        let thread = std::thread::Builder::new()
            .name("db checkpoints".into())
            .spawn(move || run(&mut connection, &turn, &woken))
            .map_err(|error| unavailable(&error))?;
        Ok(Checkpoints { wake: Some(wake), thread: Some(thread) })
    }

    /// Says that something was written.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // It has been woken already; or it has ended, and then SQLite does it itself, later.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // That it panicked was told already.
            let _ = thread.join();
        }
    }
}

fn run(connection: &mut Connection, turn: &FairMutex<()>, woken: &Receiver<()>) {
    for () in woken {
        if let Err(error) = take_over(connection, turn) {
            tracing::debug!(%error, "the database's log was not taken over");
        }
    }
}

fn take_over(connection: &mut Connection, turn: &FairMutex<()>) -> QueryResult<()> {
    let before = checkpoint(connection, "NOOP")?;
    if before.log - before.checkpointed < FEW {
        return Ok(());
    }
    if checkpoint(connection, "PASSIVE")?.log >= LONG {
        let _turn = turn.lock();
        checkpoint(connection, "PASSIVE")?;
    }
    Ok(())
}

/// How it stands with the log.
#[derive(Debug, QueryableByName)]
struct Log {
    /// Pages in it; -1 when there is none.
    #[diesel(sql_type = Integer)]
    log: i32,
    /// Those of them that the file has.
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

fn checkpoint(connection: &mut Connection, mode: &str) -> QueryResult<Log> {
    diesel::sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result(connection)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::persistence::db::{Database, Target};
    use diesel::connection::SimpleConnection;

    #[test]
    fn the_log_stays_short_however_much_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let database = Database::open(&path).unwrap();
        database.write(|conn| conn.batch_execute("CREATE TABLE t (number INTEGER PRIMARY KEY, text BLOB)")).unwrap();
        let log = || std::fs::metadata(folder.path().join("db-wal")).unwrap().len();
        // Each of these makes some hundred pages, together many times as many as a long log has.
        let fill = "INSERT INTO t (text) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250) \
                    SELECT randomblob(4000) FROM n";
        for _ in 0..200 {
            database.write(|conn| conn.batch_execute(fill)).unwrap();
        }
        assert!(log() < 4 * 4_096 * LONG as u64, "the log has {} bytes", log());
        // What was taken over is whole, also when the log is away.
        drop(database);
        let database = Database::connect(&Options::new(Target::Sqlite(path))).unwrap();
        let check = |conn: &mut Connection| {
            let count = diesel::sql_query("SELECT count(*) AS log, count(DISTINCT text) AS checkpointed FROM t");
            count.get_result::<Log>(conn)
        };
        let count = database.read(check).unwrap();
        assert_eq!((count.log, count.checkpointed), (50_000, 50_000));
    }
}
