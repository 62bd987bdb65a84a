//! Which database, and how it is used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The address of a PostgreSQL server with user, password and database. `Debug` and `Display` hide
/// the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// An address that begins with `postgres://` or `postgresql://`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Url> {
        let known = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        known.then(|| Url(text.to_owned()))
    }

    /// The address as libpq takes it, with these settings for a connection, unless it has them.
    pub(super) fn with(&self, settings: &[(&str, &str)]) -> String {
        let mut url = self.0.clone();
        for (name, value) in settings {
            if !url.contains(&format!("{name}=")) {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&format!("{name}={value}"));
            }
        }
        url
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options may carry a password too; scheme, host and path say enough.
        let visible = self.0.split('?').next().unwrap_or_default();
        let Some((scheme, rest)) = visible.split_once("://") else { return Ok(()) };
        match rest.rsplit_once('@') {
            Some((user, place)) => {
                let name = user.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{name}:…@{place}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, made when it is not there.
    Sqlite(PathBuf),
    /// A server, whose database must be there.
    Postgres(Url),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Sqlite(path) => path.display().fmt(f),
            Target::Postgres(url) => url.fmt(f),
        }
    }
}

/// A database and how it is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which one.
    pub target: Target,
    /// The most connections at once.
    pub connections: u32,
    /// How long a call waits for a free connection.
    pub patience: Duration,
    /// A statement that takes longer is broken off; PostgreSQL only.
    pub statement_timeout: Duration,
    /// Whether nothing may be written, and a database that is not there not made.
    pub read_only: bool,
}

impl Options {
    /// The usual ones.
    pub fn new(target: Target) -> Options {
        let (patience, statement_timeout) = (Duration::from_secs(5), Duration::from_secs(30));
        Options { target, connections: 4, patience, statement_timeout, read_only: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_stay_hidden() {
        for (url, shown) in [
            ("postgres://agora:s3cr3t@db.example:5432/agora", "postgres://agora:…@db.example:5432/agora"),
            ("postgresql://agora:p%40@db/agora?password=s3cr3t", "postgresql://agora:…@db/agora"),
            ("postgres://db/agora", "postgres://db/agora"),
        ] {
            let url = Url::parse(url).unwrap_or_else(|| panic!("{url} is an address"));
            assert_eq!(format!("{url}"), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        assert_eq!(Url::parse("./data/agora.db"), None);
    }

    #[test]
    fn options_are_added_to_those_that_are_there() {
        let settings = [("connect_timeout", "3"), ("application_name", "agora")];
        let bare = Url("postgres://db/agora".into());
        assert_eq!(bare.with(&settings), "postgres://db/agora?connect_timeout=3&application_name=agora");
        let own = Url("postgres://db/agora?connect_timeout=9".into());
        assert_eq!(own.with(&settings), "postgres://db/agora?connect_timeout=9&application_name=agora");
    }
}
