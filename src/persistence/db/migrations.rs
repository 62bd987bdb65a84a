//! The tables' versions, one folder for each kind of database with the same names in both.

use super::{Connection, DbError, Options};
use diesel::connection::SimpleConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Of the session-wide lock that keeps nodes from migrating at the same time; any number would do.
const LOCK: i64 = 0x6167_6f72_6100;

/// Brings the tables up to date, on a connection of its own.
pub(super) fn run(options: &Options) -> Result<(), DbError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| DbError::Migration(error.to_string());
    match Connection::open(options).map_err(|error| DbError::Unavailable(error.to_string()))? {
        Connection::Sqlite(mut connection) => {
            // Two processes may open a new file at once; the second finds the work done.
            connection.run_pending_migrations(SQLITE).map_err(failed)?;
        }
        Connection::Postgres(mut connection) => {
            // The lock goes with the connection, also when this process dies.
            connection.batch_execute(&format!("SET statement_timeout = 0; SELECT pg_advisory_lock({LOCK})"))?;
            connection.run_pending_migrations(POSTGRES).map_err(failed)?;
        }
    }
    Ok(())
}
