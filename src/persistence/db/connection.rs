//! How a connection is opened, and how it writes.

use super::{Connection, Options, Target};
use diesel::Connection as _;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, R2D2Connection};
use std::path::Path;

/// How PostgreSQL is connected to. A server that does not answer the attempt for three seconds counts as away; a connection
/// on which nothing comes through any more breaks after some fifteen, so that nobody waits on it for hours.
const SETTINGS: [(&str, &str); 6] = [
    ("connect_timeout", "3"),
    ("application_name", "agora"),
    ("keepalives_idle", "6"),
    ("keepalives_interval", "3"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "15000"),
];

/// Runs one diesel statement on whichever connection it is, for what [`Connection`] itself cannot do:
/// `ON CONFLICT`, `REPLACE INTO`, `RETURNING` with them. The statement is compiled once for each.
///
/// ```ignore
/// on_either!(connection, inner => {
///     diesel::insert_into(t::table).values(&rows).on_conflict_do_nothing().execute(inner)
/// })
/// ```
#[macro_export]
macro_rules! on_either {
    ($connection:expr, $inner:ident => $statement:expr) => {
        match $connection {
            $crate::persistence::db::Connection::Sqlite($inner) => $statement,
            $crate::persistence::db::Connection::Postgres($inner) => $statement,
        }
    };
}

/// How long a committed transaction may wait for the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// SQLite may lose it when the machine crashes within a moment.
    Relaxed,
    /// It is on the medium when the commit returns.
    Full,
}

impl Connection {
    /// Reads everything as it is at one moment, whoever writes meanwhile.
    ///
    /// # Errors
    /// Those of the database.
    pub fn at_one_moment<T>(&mut self, query: impl FnOnce(&mut Connection) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(|connection| {
            if matches!(connection, Connection::Postgres(_)) {
                // SQLite's transactions see one moment anyway.
                diesel::sql_query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(connection)?;
            }
            query(connection)
        })
    }

    /// Opens a connection of its own.
    pub(super) fn open(options: &Options) -> Result<Connection, diesel::r2d2::Error> {
        let refused = diesel::r2d2::Error::ConnectionError;
        let mut connection = match &options.target {
            Target::Sqlite(path) => {
                let place = if options.read_only { read_only(path) } else { path.to_string_lossy().into_owned() };
                Connection::Sqlite(SqliteConnection::establish(&place).map_err(refused)?)
            }
            Target::Postgres(url) => {
                Connection::Postgres(PgConnection::establish(&url.with(&SETTINGS)).map_err(refused)?)
            }
        };
        connection.prepare(options).map_err(diesel::r2d2::Error::QueryError)?;
        Ok(connection)
    }

    fn prepare(&mut self, options: &Options) -> QueryResult<()> {
        if let Connection::Sqlite(inner) = self {
            crate::persistence::links::search::know_letters(inner)?;
        }
        match self {
            // A file keeps its kind of log, which whoever only reads could not change anyway.
            Connection::Sqlite(inner) if options.read_only => {
                inner.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -8000;")
            }
            // Room for the pages that a transaction of some thousand rows changes all over a large table. The log is
            // taken over elsewhere long before it has so many pages.
            Connection::Sqlite(inner) => inner.batch_execute(
                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA foreign_keys = ON; PRAGMA cache_size = -8000; PRAGMA wal_autocheckpoint = 65536;",
            ),
            Connection::Postgres(inner) => {
                let timeout = options.statement_timeout.as_millis();
                let read_only = if options.read_only { "SET default_transaction_read_only = on" } else { "" };
                // A client that froze within a transaction must not hold its locks for ever.
                inner.batch_execute(&format!(
                    "SET statement_timeout = {timeout}; SET idle_in_transaction_session_timeout = 60000; \
                     SET client_min_messages = warning; SET timezone = 'UTC'; {read_only}"
                ))
            }
        }
    }

    /// Begins a transaction that may write. SQLite takes the write lock at once, so that it cannot
    /// fail half-way because another writer was faster.
    pub(super) fn begin(&mut self, durability: Durability) -> QueryResult<()> {
        match self {
            Connection::Sqlite(inner) => {
                let level = if durability == Durability::Full { "FULL" } else { "NORMAL" };
                inner.batch_execute(&format!("PRAGMA synchronous = {level}"))?;
                AnsiTransactionManager::begin_transaction_sql(inner, "BEGIN IMMEDIATE")
            }
            Connection::Postgres(inner) => {
                // As durable as the server is set up to be, which may be more than its own medium. Nothing
                // is gained by less: whoever writes much does so in bulk.
                AnsiTransactionManager::begin_transaction_sql(inner, "BEGIN")
            }
        }
    }

    /// Runs `query` in a transaction.
    pub(super) fn write<T>(
        &mut self,
        durability: Durability,
        query: impl FnOnce(&mut Connection) -> QueryResult<T>,
    ) -> QueryResult<T> {
        let begun = self.begin(durability);
        match begun.and_then(|()| query(self)) {
            Ok(value) => <Connection as TransactionManager<Connection>>::commit_transaction(self).map(|()| value),
            Err(error) => {
                // A connection that cannot even roll back is thrown away by the pool.
                if self.in_transaction()
                    && let Err(rollback) = <Connection as TransactionManager<Connection>>::rollback_transaction(self)
                {
                    tracing::debug!(%rollback, "a transaction was not rolled back");
                }
                Err(error)
            }
        }
    }

    fn in_transaction(&mut self) -> bool {
        let status = <Connection as TransactionManager<Connection>>::transaction_manager_status_mut(self);
        status.transaction_depth().is_ok_and(|depth| depth.is_some())
    }

    /// Waits until no other transaction holds the lock of this number, and keeps it until the
    /// transaction ends. SQLite has one writer at a time anyway.
    ///
    /// # Errors
    /// Those of the database.
    pub fn lock(&mut self, number: i64) -> QueryResult<()> {
        match self {
            Connection::Sqlite(_) => Ok(()),
            Connection::Postgres(inner) => diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
                .bind::<diesel::sql_types::BigInt, _>(number)
                .execute(inner)
                .map(drop),
        }
    }
}

/// The address of a SQLite file that is opened for reading. SQLite still makes the files of its log beside one that has
/// none at the moment, and takes nothing over from them.
fn read_only(path: &Path) -> String {
    // In an address these have a meaning of their own.
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{path}?mode=ro")
}

/// Makes the pool's connections.
#[derive(Debug)]
pub(super) struct Opener(pub(super) Options);

impl ManageConnection for Opener {
    type Connection = Connection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Connection, diesel::r2d2::Error> {
        Connection::open(&self.0)
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), diesel::r2d2::Error> {
        connection.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        std::thread::panicking() || connection.is_broken()
    }
}
