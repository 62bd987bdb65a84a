//! The database: connections, migrations, and what differs between SQLite and PostgreSQL.
//!
//! Queries are written once, on [`Connection`]. Calls block; they belong on the blocking pool or on a
//! thread of their own. Projections may be written with less durability, since the log repeats them;
//! facts that stand in no log (users, sessions) go through [`Database::write_durably`].
//!
//! A PostgreSQL server may go away at any time. Calls fail with [`DbError::Unavailable`] then, at
//! once after the first has found out, and work again when it is back. One that is frozen holds the
//! calls that it has; [`Database::answered`] keeps their callers from waiting with them.

mod any;
pub(super) mod bulk;
mod checkpoints;
mod connection;
mod migrations;
mod pulse;
mod target;

pub use crate::on_either;
pub use any::{AnyConnection as Connection, MultiBackend as Backend};
pub(super) use bulk::bulk_insert;
pub use target::{Options, Target, Url};

use checkpoints::Checkpoints;
use connection::{Durability, Opener};
use diesel::prelude::*;
use diesel::r2d2::{Pool, PooledConnection};
use diesel::result::{DatabaseErrorKind, Error};
use parking_lot::{FairMutex, FairMutexGuard, Mutex};
use pulse::Pulse;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// After a call has waited in vain for a connection, others do not wait for so long.
const GIVE_UP_FOR: Duration = Duration::from_secs(1);

/// How long a server that is not there yet is left alone between two attempts.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What callers of a server are told that does not answer.
const SILENT: &str = "it does not answer";

/// Why the database did not do what it was asked to.
#[derive(Debug, Error)]
pub enum DbError {
    /// It cannot be reached, or all connections stay busy.
    #[error("the database is out of reach: {0}")]
    Unavailable(String),
    /// A row with that key exists already.
    #[error("that exists already")]
    Taken,
    /// A text holds U+0000, which PostgreSQL keeps in no text.
    #[error("a text holds a character that cannot be kept")]
    NulCharacter,
    /// It refused.
    #[error("the database refused: {0}")]
    Query(Error),
    /// The tables could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    /// The tables are those of another version of the program.
    #[error("the database is of no use to this version of the program: {0}")]
    Version(String),
}

impl From<Error> for DbError {
    fn from(error: Error) -> DbError {
        match error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => DbError::Taken,
            Error::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                information,
            ) => DbError::Unavailable(information.message().to_owned()),
            Error::BrokenTransactionManager => DbError::Unavailable("the connection broke".into()),
            Error::DatabaseError(DatabaseErrorKind::Unknown, information) if speaks_of_nul(information.message()) => {
                DbError::NulCharacter
            }
            other => DbError::Query(other),
        }
    }
}

/// Whether PostgreSQL refuses a text for U+0000 (SQLSTATE 22021; diesel tells the message alone, whose end is the same in
/// every language). Nothing else that we send could be no UTF-8.
fn speaks_of_nul(message: &str) -> bool {
    message.contains("UTF8") && message.trim_end().ends_with("0x00")
}

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Opener>,
    shared: bool,
    /// SQLite has one writer, and whoever waits for it in the database looks only now and then: of two that write
    /// without a pause one could starve the other. Here they take turns.
    turn: Option<Arc<FairMutex<()>>>,
    /// SQLite's log is taken over by a thread of its own.
    checkpoints: Option<Arc<Checkpoints>>,
    patience: Duration,
    /// When a call last waited in vain.
    gave_up: Arc<Mutex<Option<Instant>>>,
    /// Tells whether a server answers.
    pulse: Option<Arc<Pulse>>,
}

impl Database {
    /// Opens the SQLite file, makes it when it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], [`DbError::Migration`].
    pub fn open(path: &Path) -> Result<Database, DbError> {
        Database::connect(&Options::new(Target::Sqlite(path.to_owned())))
    }

    /// Connects and brings the tables up to date. Several processes may do so at once.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], [`DbError::Migration`].
    pub fn connect(options: &Options) -> Result<Database, DbError> {
        migrations::run(options)?;
        Database::up_to_date(options)
    }

    /// The same, but a server that is not there yet is waited for: it may be starting at the same time.
    ///
    /// # Errors
    /// As [`Database::connect`]; [`DbError::Unavailable`] when it is not there within this time.
    pub fn connect_within(options: &Options, patience: Duration) -> Result<Database, DbError> {
        let begun = Instant::now();
        loop {
            match Database::connect(options) {
                Err(DbError::Unavailable(reason))
                    if matches!(options.target, Target::Postgres(_)) && begun.elapsed() < patience =>
                {
                    tracing::warn!(reason, "the database is out of reach; trying again");
                    std::thread::sleep(TRY_AGAIN);
                }
                done => return done,
            }
        }
    }

    /// Connects to tables that are up to date, and changes nothing; neither can whoever has it.
    ///
    /// # Errors
    /// [`DbError::Version`] when they are not, [`DbError::Unavailable`].
    pub fn connect_as_it_is(options: &Options) -> Result<Database, DbError> {
        let options = &Options { read_only: true, ..options.clone() };
        migrations::check(options)?;
        Database::up_to_date(options)
    }

    fn up_to_date(options: &Options) -> Result<Database, DbError> {
        let pool = Pool::builder()
            .max_size(options.connections.max(1))
            .min_idle(Some(1))
            .connection_timeout(options.patience)
            .error_handler(Box::new(Quiet))
            .build(Opener(options.clone()))
            .map_err(|error| DbError::Unavailable(error.to_string()))?;
        let shared = matches!(options.target, Target::Postgres(_));
        let turn: Option<Arc<FairMutex<()>>> = (!shared).then(Arc::default);
        let writers = turn.clone().filter(|_| !options.read_only);
        let checkpoints = writers.map(|turn| Checkpoints::start(options, turn)).transpose()?.map(Arc::new);
        let pulse = shared.then(|| Pulse::start(options)).transpose();
        let pulse = pulse.map_err(|error| DbError::Unavailable(error.to_string()))?;
        Ok(Database { pool, shared, turn, checkpoints, patience: options.patience, gave_up: Arc::default(), pulse })
    }

    /// Waits until nobody else of this process writes. Taken before a connection, so that those who wait leave the
    /// connections to readers.
    fn turn(&self) -> Result<Option<FairMutexGuard<'_, ()>>, DbError> {
        let Some(turn) = &self.turn else { return Ok(None) };
        let taken = turn.try_lock_for(self.patience);
        taken.map(Some).ok_or_else(|| DbError::Unavailable("others write to the database for too long".into()))
    }

    /// Waits for a call that runs on another thread, as long as the server answers at all.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] when it does not; the call goes on, and may still be done.
    pub async fn answered<T>(&self, call: impl Future<Output = T>) -> Result<T, DbError> {
        let Some(pulse) = &self.pulse else { return Ok(call.await) };
        tokio::select! {
            biased;
            done = call => Ok(done),
            () = pulse.silence() => Err(DbError::Unavailable(SILENT.into())),
        }
    }

    /// Makes a call where it may block, and waits for it as [`answered`](Database::answered) does.
    ///
    /// # Errors
    /// Those of the call, and [`DbError::Unavailable`].
    pub async fn elsewhere<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Database) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let database = self.clone();
        let done = self.answered(tokio::task::spawn_blocking(move || call(&database))).await?;
        done.unwrap_or_else(|error| Err(DbError::Unavailable(error.to_string())))
    }

    fn connection(&self) -> Result<PooledConnection<Opener>, DbError> {
        if self.pulse.as_ref().is_some_and(|pulse| pulse.is_silent()) {
            return Err(DbError::Unavailable(SILENT.into()));
        }
        let away = self.gave_up.lock().is_some_and(|at| at.elapsed() < GIVE_UP_FOR);
        if away {
            let message = "no connection could be made a moment ago";
            return self.pool.try_get().ok_or_else(|| DbError::Unavailable(message.into()));
        }
        let connection = self.pool.get().map_err(|error| DbError::Unavailable(error.to_string()));
        *self.gave_up.lock() = connection.is_err().then(Instant::now);
        connection
    }

    /// Whether other nodes may use it too.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Reads.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn read<T>(&self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, DbError> {
        Ok(query(&mut *self.connection()?)?)
    }

    /// Writes in one transaction, which SQLite may lose when the machine (not this process) crashes
    /// within a moment. On SQLite it is the only one that writes; on PostgreSQL others may write between
    /// two of its statements: let a constraint or [`Connection::lock`] guard what must not change
    /// meanwhile.
    ///
    /// # Errors
    /// [`DbError`]; nothing was written then, unless the connection broke while it was committed.
    pub fn write<T>(&self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, DbError> {
        self.write_with(Durability::Relaxed, query)
    }

    /// Writes in one transaction that is on the medium when this returns.
    ///
    /// # Errors
    /// [`DbError`]; nothing was written then, unless the connection broke while it was committed.
    pub fn write_durably<T>(&self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, DbError> {
        self.write_with(Durability::Full, query)
    }

    fn write_with<T>(
        &self,
        durability: Durability,
        query: impl FnOnce(&mut Connection) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        let turn = self.turn()?;
        let written = self.connection()?.write(durability, query)?;
        drop(turn);
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.wake();
        }
        Ok(written)
    }
}

/// The pool tries on by itself while a server is away; whoever needs a connection says so.
#[derive(Debug)]
struct Quiet;

impl diesel::r2d2::HandleError<diesel::r2d2::Error> for Quiet {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        tracing::debug!(%error, "a connection to the database could not be made");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_cannot_be_kept_is_told_from_a_failure() {
        let told = |message: &str| {
            DbError::from(Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())))
        };
        assert!(matches!(told("invalid byte sequence for encoding \"UTF8\": 0x00"), DbError::NulCharacter));
        assert!(matches!(told("ungültige Byte-Sequenz für Kodierung »UTF8«: 0x00"), DbError::NulCharacter));
        assert!(matches!(told("canceling statement due to statement timeout"), DbError::Query(_)));
    }
}
