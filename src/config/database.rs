//! The database.

use super::unshown::Unshown;
use crate::persistence::db::{Options, Target, Url};
use clap::Args;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Which database, and how it is used.
#[derive(Args, Clone, Debug)]
pub struct DatabaseConfig {
    /// A PostgreSQL database as postgres://USER:PASSWORD@HOST:PORT/NAME; several nodes share one.
    /// Without it the file agora.db in the data folder.
    #[arg(long, env = "AGORA_DATABASE", hide_env_values = true, value_name = "URL",
          value_parser = Unshown(DatabaseUrl::read))]
    pub database: Option<DatabaseUrl>,
    /// The most connections to the database at once.
    #[arg(long, env = "AGORA_DATABASE_CONNECTIONS", default_value_t = 8, value_name = "COUNT")]
    pub database_connections: u32,
    /// PostgreSQL breaks off a statement after so many milliseconds.
    #[arg(long, env = "AGORA_DATABASE_TIMEOUT_MS", default_value_t = 30_000, value_name = "MS")]
    pub database_timeout_ms: u64,
}

/// The address of a PostgreSQL database. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Url);

impl DatabaseUrl {
    fn read(text: &str) -> Result<DatabaseUrl, &'static str> {
        Url::parse(text).map(DatabaseUrl).ok_or("a database URL begins with postgres://")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl DatabaseConfig {
    /// What to open; `data` is the folder of the SQLite file.
    pub fn options(&self, data: &Path) -> Options {
        let target = match &self.database {
            Some(DatabaseUrl(url)) => Target::Postgres(url.clone()),
            None => Target::Sqlite(data.join("agora.db")),
        };
        Options {
            connections: self.database_connections,
            statement_timeout: Duration::from_millis(self.database_timeout_ms),
            ..Options::new(target)
        }
    }
}
