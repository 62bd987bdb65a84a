//! The tables' versions, one folder for each kind of database with the same names in both.

use super::{Connection, DbError, Options};
use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Of the session-wide lock that keeps nodes from migrating at the same time; any number would do.
const LOCK: i64 = 0x6167_6f72_6100;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn failed(error: Failure) -> DbError {
    DbError::Migration(error.to_string())
}

/// Brings the tables up to date, on a connection of its own.
pub(super) fn run(options: &Options) -> Result<(), DbError> {
    match open(options)? {
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

fn open(options: &Options) -> Result<Connection, DbError> {
    Connection::open(options).map_err(|error| DbError::Unavailable(error.to_string()))
}

/// How many tables there are of one name.
#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    tables: i64,
}

/// A version that the tables have.
#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Makes sure that the tables are those of this program, without changing anything.
pub(super) fn check(options: &Options) -> Result<(), DbError> {
    let mut connection = open(options)?;
    let known = match &connection {
        Connection::Sqlite(_) => versions::<Sqlite>(&SQLITE)?,
        Connection::Postgres(_) => versions::<Pg>(&POSTGRES)?,
    };
    // Asked for by its name, since a refusal says in many languages that a table is not there.
    let table = match &connection {
        Connection::Sqlite(_) => "sqlite_master WHERE type = 'table' AND name = '__diesel_schema_migrations'",
        Connection::Postgres(_) => "pg_class WHERE oid = to_regclass('__diesel_schema_migrations')",
    };
    let found = diesel::sql_query(format!("SELECT count(*) AS tables FROM {table}"));
    if found.get_result::<Found>(&mut connection)?.tables == 0 {
        return Err(DbError::Version("it has no tables yet".into()));
    }
    let applied = diesel::sql_query("SELECT version FROM __diesel_schema_migrations");
    let applied = applied.load::<Applied>(&mut connection)?;
    if let Some(newer) = applied.iter().find(|applied| !known.contains(&applied.version)) {
        let newer = &newer.version;
        return Err(DbError::Version(format!("a newer version has made its tables; this one does not know {newer}")));
    }
    if applied.len() < known.len() {
        let reason = "its tables are older; a server of this version brings them up to date when it starts";
        return Err(DbError::Version(reason.into()));
    }
    Ok(())
}

/// What these migrations are called in the database.
fn versions<B: Backend>(migrations: &EmbeddedMigrations) -> Result<Vec<String>, DbError> {
    let all = MigrationSource::<B>::migrations(migrations).map_err(failed)?;
    Ok(all.iter().map(|migration| migration.name().version().to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::db::{Database, Target};

    #[test]
    fn what_is_only_looked_at_cannot_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        // None of this means anything in a path.
        let options = Options::new(Target::Sqlite(folder.path().join("100% #1?.db")));
        let server = Database::connect(&options).unwrap();
        let tool = Database::connect_as_it_is(&options).unwrap();
        let clear = |conn: &mut Connection| diesel::sql_query("DELETE FROM __diesel_schema_migrations").execute(conn);
        assert!(tool.write(clear).is_err() && tool.read(clear).is_err());
        assert!(server.write(clear).unwrap() > 0);
    }

    #[test]
    fn tables_of_another_version_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agora.db");
        let options = Options::new(Target::Sqlite(path.clone()));
        let refused = || Database::connect_as_it_is(&options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused().contains("out of reach") && !path.exists(), "{}", refused());
        std::fs::File::create(&path).unwrap();
        assert!(refused().contains("no tables yet"), "{}", refused());
        let database = Database::connect(&options).unwrap();
        assert_eq!(refused(), "");
        for (statement, reason) in [
            ("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101')", "does not know 99990101"),
            (
                "DELETE FROM __diesel_schema_migrations WHERE version >= \
                 (SELECT version FROM __diesel_schema_migrations ORDER BY version DESC LIMIT 1 OFFSET 1)",
                "its tables are older",
            ),
        ] {
            database.write(|conn| diesel::sql_query(statement).execute(conn)).unwrap();
            assert!(refused().contains(reason), "{}", refused());
        }
    }
}
