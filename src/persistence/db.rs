//! The database: connections, migrations, and what differs between back ends.
//!
//! Calls block; they belong on the blocking pool or on a thread of their own. Projections may be
//! written with less durability, since the log repeats them; facts that stand in no log (users,
//! sessions) go through [`Database::write_durably`].

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// A connection. PostgreSQL becomes a second variant of this type.
pub type Connection = SqliteConnection;

/// Why the database did not do what it was asked to.
#[derive(Debug, Error)]
pub enum DbError {
    /// It cannot be reached, or all connections stay busy.
    #[error("the database is out of reach: {0}")]
    Unavailable(String),
    /// A row with that key exists already.
    #[error("that exists already")]
    Taken,
    /// It refused.
    #[error("the database refused: {0}")]
    Query(diesel::result::Error),
    /// The tables could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
}

impl From<diesel::result::Error> for DbError {
    fn from(error: diesel::result::Error) -> DbError {
        match error {
            diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _) => {
                DbError::Taken
            }
            other => DbError::Query(other),
        }
    }
}

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub struct Database {
    pool: Pool<ConnectionManager<Connection>>,
}

#[derive(Debug)]
struct Pragmas;

impl CustomizeConnection<Connection, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, connection: &mut Connection) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute(
                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA foreign_keys = ON; PRAGMA cache_size = -2000;",
            )
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

impl Database {
    /// Opens the SQLite file, makes it when it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], [`DbError::Migration`].
    pub fn open(path: &Path) -> Result<Database, DbError> {
        let pool = Pool::builder()
            .max_size(4)
            .min_idle(Some(1))
            .connection_timeout(Duration::from_secs(5))
            .connection_customizer(Box::new(Pragmas))
            .build(ConnectionManager::new(path.to_string_lossy()))
            .map_err(|error| DbError::Unavailable(error.to_string()))?;
        let database = Database { pool };
        let mut connection = database.connection()?;
        connection.run_pending_migrations(MIGRATIONS).map_err(|error| DbError::Migration(error.to_string()))?;
        drop(connection);
        Ok(database)
    }

    fn connection(&self) -> Result<PooledConnection<ConnectionManager<Connection>>, DbError> {
        self.pool.get().map_err(|error| DbError::Unavailable(error.to_string()))
    }

    /// Reads.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn read<T>(&self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, DbError> {
        Ok(query(&mut *self.connection()?)?)
    }

    /// Writes in one transaction.
    ///
    /// # Errors
    /// [`DbError`]; nothing was written then.
    pub fn write<T>(&self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, DbError> {
        let mut connection = self.connection()?;
        Ok(connection.immediate_transaction(query)?)
    }

    /// Writes in one transaction that is on the medium when this returns.
    ///
    /// # Errors
    /// [`DbError`]; nothing was written then.
    pub fn write_durably<T>(&self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> Result<T, DbError> {
        let mut connection = self.connection()?;
        connection.batch_execute("PRAGMA synchronous = FULL")?;
        let written = connection.immediate_transaction(query);
        connection.batch_execute("PRAGMA synchronous = NORMAL")?;
        Ok(written?)
    }
}
