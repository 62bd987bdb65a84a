//! `agora verify`: replays everything that was ever committed, and compares.
//!
//! The log is read from its first batch on: embedded segments, or the stream at a broker with the archive before it. On
//! the way the state is compared with every snapshot, of this node and in the database, and with the rows of trading
//! and chat, which are read at one moment first; nodes may go on meanwhile.

mod chat;
mod rows;

use crate::config::{DatabaseConfig, LogConfig};
use crate::domain::venue::Venue;
use crate::persistence::archive;
use crate::persistence::broker::Brokers;
use crate::persistence::db::{Database, Options, Target};
use crate::persistence::log::embedded::SealedSegment;
use crate::persistence::log::rabbitmq::{self, RabbitMq};
use crate::persistence::log::{Committed, LogEngine, LogError, LogReader, Position, embedded};
use crate::persistence::snapshots::Snapshots;
use crate::persistence::{projection, shared_snapshots};
use anyhow::{Context, anyhow, ensure};
use chat::{Replay, Tables};
use rows::{Rows, Tally};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Replays the whole log and compares it with snapshots and database; used by `agora verify`.
///
/// # Errors
/// The first divergence, in words.
pub fn verify(data: &Path, database: &DatabaseConfig, log: &LogConfig) -> anyhow::Result<String> {
    let database = connect(data, database)?;
    let temporary = Temporary(data.join(format!("verify-{}", std::process::id())));
    let said = match log.broker()? {
        Some(brokers) => shared(data, &temporary.0, database.as_ref(), brokers, log)?.to_string(),
        None => alone(data, &temporary.0, database.as_ref())?,
    };
    Ok(format!("no divergence: {said}"))
}

fn alone(data: &Path, temporary: &Path, database: Option<&Database>) -> anyhow::Result<String> {
    let folder = whole_log(data, &temporary.join("log"), database)?;
    let verified = embedded::verify(&folder)?;
    let log = embedded::ReadOnly::open(&folder)?.0;
    let mut audit = Audit::begin(data, temporary, database)?;
    let both = match database {
        Some(database) => archive::compare_segments(database, &kept_segments(data)?)?,
        None => 0,
    };
    audit.replay(log.reader().as_ref(), log.end())?;
    let in_both = if both > 0 { format!(" ({both} of them in log and archive)") } else { String::new() };
    Ok(format!("{} segments{in_both}, {}", verified.segments, audit.end(log.end())?))
}

/// The sealed segments whose files are still there.
fn kept_segments(data: &Path) -> anyhow::Result<Vec<SealedSegment>> {
    Ok(embedded::ReadOnly::open(&data.join("log"))?.0.sealed_segments())
}

/// The same for the log at a broker, as far as it goes now. What neither the broker nor the archive has is taken as the
/// oldest snapshot after it says.
fn shared(
    data: &Path,
    temporary: &Path,
    database: Option<&Database>,
    brokers: &Brokers,
    log: &LogConfig,
) -> anyhow::Result<Summary> {
    let mut options = rabbitmq::Options::new(brokers.clone(), log.stream_queue());
    options.create = false;
    // Read before the log's end is looked for, so that nothing in them can lie behind it.
    let mut audit = Audit::begin(data, temporary, database)?;
    let log = RabbitMq::open(options, Box::new(|_| ()))?;
    let reader = match database {
        Some(database) => archive::whole(log.reader(), database.clone()),
        None => log.reader(),
    };
    if let Some(Err(LogError::Pruned { oldest, .. })) = log.reader().read(Position(0))?.next() {
        audit.stream_begins = oldest;
    }
    match reader.read(Position(0))?.next() {
        Some(Err(LogError::Pruned { oldest, .. })) => audit.begin_at_snapshot(oldest)?,
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(_)) | None => {}
    }
    let end = log.end();
    if let Some(database) = database {
        audit.summary.archived = archive::compare(database, log.reader().as_ref(), end)?;
    }
    audit.replay(reader.as_ref(), end)?;
    audit.end(end)
}

/// A replay with what it is compared with.
struct Audit {
    venue: Venue,
    /// The last batch applied, and the one before the first.
    position: Position,
    began: Position,
    /// What the stream alone has begins after this.
    stream_begins: Position,
    tally: Tally,
    chat: Replay,
    snapshots: Vec<(&'static str, Snapshots)>,
    /// Where there are snapshots, oldest first.
    marks: Vec<Position>,
    compared: usize,
    rows: Option<Rows>,
    tables: Option<Tables>,
    summary: Summary,
}

/// What agreed.
#[derive(Debug, Default)]
struct Summary {
    after: Position,
    from_archive_until: Position,
    /// Batches that archive and stream both have.
    archived: u64,
    end: Position,
    snapshots: usize,
    /// Snapshots that cannot be read. Recovery passes over them, so they are told of and contradict nothing.
    damaged: usize,
    rows: Option<(usize, usize)>,
    chat: Option<(usize, usize)>,
    state: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log after position {} to {}", self.after, self.end)?;
        if self.from_archive_until > self.after {
            write!(f, " (up to {} from the archive)", self.from_archive_until)?;
        }
        if self.archived > 0 {
            write!(f, ", {} batches in stream and archive", self.archived)?;
        }
        write!(f, ", {} snapshots", self.snapshots)?;
        if self.damaged > 0 {
            write!(f, " ({} more are damaged, which recovery passes over)", self.damaged)?;
        }
        match self.rows {
            Some((orders, balances)) => write!(f, ", {orders} live orders and {balances} balances")?,
            None => write!(f, ", no rows of trading")?,
        }
        match self.chat {
            Some((rooms, messages)) => write!(f, ", {rooms} chat rooms with {messages} messages")?,
            None => write!(f, ", no rows of chat")?,
        }
        write!(f, " agree, state {}", self.state)
    }
}

impl Audit {
    /// Reads what the replay is to be compared with.
    fn begin(data: &Path, temporary: &Path, database: Option<&Database>) -> anyhow::Result<Audit> {
        let mut snapshots = vec![("this node's snapshot", Snapshots::read_only(data.join("snapshots")))];
        let (mut rows, mut tables) = (None, None);
        if let Some(database) = database {
            let (trading, chat) =
                database.read(|conn| conn.at_one_moment(|conn| Ok((Rows::read(conn)?, Tables::read(conn)?))))?;
            (rows, tables) = (Some(trading), Some(chat));
            if database.is_shared() {
                let folder = Snapshots::open(temporary.join("snapshots"))?;
                for position in shared_snapshots::all(database)? {
                    let content = shared_snapshots::get(database, position)?;
                    let content = content.ok_or_else(|| anyhow!("the database's snapshot at {position} is damaged"))?;
                    folder.adopt(position, &content)?;
                }
                snapshots.push(("the database's snapshot", folder));
            }
        }
        let mut marks: Vec<_> =
            snapshots.iter().flat_map(|(_, kept)| kept.files()).map(|(position, _)| position).collect();
        marks.sort_unstable();
        marks.dedup();
        Ok(Audit {
            venue: Venue::default(),
            position: Position(0),
            began: Position(0),
            stream_begins: Position(0),
            tally: Tally::default(),
            chat: Replay::default(),
            snapshots,
            marks,
            compared: 0,
            rows,
            tables,
            summary: Summary::default(),
        })
    }

    /// Begins at the oldest snapshot that lies at or behind `oldest`, before which nothing is left.
    fn begin_at_snapshot(&mut self, oldest: Position) -> anyhow::Result<()> {
        let first = self.marks.iter().copied().find(|mark| *mark >= oldest);
        let loaded = first.and_then(|first| self.snapshots.iter().find_map(|(_, kept)| kept.newest(first)));
        let loaded = loaded.filter(|loaded| loaded.position >= oldest);
        let loaded =
            loaded.with_context(|| format!("the log begins after {oldest}, and no snapshot lies behind that"))?;
        (self.venue, self.position, self.began) = (loaded.venue, loaded.position, loaded.position);
        Ok(())
    }

    fn replay(&mut self, reader: &dyn LogReader, end: Position) -> anyhow::Result<()> {
        for (what, at) in [
            ("trading", self.rows.as_ref().map(|rows| rows.position)),
            ("chat", self.tables.as_ref().map(|tables| tables.position)),
        ] {
            let at = at.unwrap_or_default();
            ensure!(at <= end, "the database has seen the log up to {at} for {what}, but it ends at {end}");
        }
        if self.position < end {
            for committed in reader.read(self.position)? {
                let committed = committed?;
                if committed.position > end {
                    break;
                }
                self.compare_rows(committed.position)?;
                self.step(&committed)?;
            }
        }
        self.compare_rows(Position(u64::MAX))?;
        self.venue.audit().map_err(|reason| anyhow!("the replayed state breaks a rule: {reason}"))
    }

    fn step(&mut self, Committed { position, batch }: &Committed) -> anyhow::Result<()> {
        let broken = |error: &dyn fmt::Display| anyhow!("the batch at position {position} cannot be applied: {error}");
        self.venue.apply(batch, &mut self.tally).map_err(|error| broken(&error))?;
        if self.began == Position(0) {
            self.chat.apply(batch).map_err(|error| broken(&error))?;
        }
        self.position = *position;
        if self.marks.binary_search(position).is_err() {
            return Ok(());
        }
        let replayed = self.venue.hash();
        for (whose, kept) in &self.snapshots {
            if !kept.files().iter().any(|(at, _)| at == position) {
                continue;
            }
            let loaded = kept.newest(*position).filter(|loaded| loaded.position == *position);
            let Some(loaded) = loaded else {
                self.summary.damaged += 1;
                continue;
            };
            let stored = loaded.venue.hash();
            ensure!(replayed == stored, "at position {position} the replay has hash {replayed}, {whose} has {stored}");
            self.compared += 1;
        }
        Ok(())
    }

    /// Compares the rows that stand before this position, once.
    fn compare_rows(&mut self, next: Position) -> anyhow::Result<()> {
        if let Some(rows) = self.rows.take_if(|rows| rows.position < next)
            && rows.position >= self.began
        {
            let tally = (self.began == Position(0)).then_some(&self.tally);
            let at = rows.position;
            rows.compare(&self.venue, tally).with_context(|| format!("the rows of trading at position {at}"))?;
            self.summary.rows = Some(rows.len());
        }
        if let Some(tables) = self.tables.take_if(|tables| tables.position < next)
            && self.began == Position(0)
        {
            let at = tables.position;
            tables.compare(&self.chat).with_context(|| format!("the rows of chat at position {at}"))?;
            self.summary.chat = Some(tables.len());
        }
        Ok(())
    }

    fn end(self, end: Position) -> anyhow::Result<Summary> {
        Ok(Summary {
            after: self.began,
            from_archive_until: self.stream_begins,
            end,
            snapshots: self.compared,
            state: self.venue.hash().to_string(),
            ..self.summary
        })
    }
}

fn connect(data: &Path, database: &DatabaseConfig) -> anyhow::Result<Option<Database>> {
    // Whole tables are read, which may take long.
    let options = Options { statement_timeout: Duration::ZERO, ..database.options(data) };
    if matches!(&options.target, Target::Sqlite(path) if !path.exists()) {
        return Ok(None);
    }
    Ok(Some(Database::connect_as_it_is(&options)?))
}

/// A folder that is removed when it is not needed any more; it need not exist.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.0)
        {
            tracing::warn!(folder = %self.0.display(), %error, "a temporary folder could not be removed");
        }
    }
}

/// The folder of the log from its first batch on. Segments that were pruned are taken out of the database's archive into
/// a folder beside it, together with those that are still there.
fn whole_log(data: &Path, whole: &Path, database: Option<&Database>) -> anyhow::Result<PathBuf> {
    let folder = data.join("log");
    let oldest = embedded::ReadOnly::open(&folder)?.1.oldest;
    if oldest == Position(0) {
        return Ok(folder);
    }
    let database = database
        .ok_or_else(|| anyhow!("the log begins after position {oldest}, and there is no database with its archive"))?;
    std::fs::create_dir_all(whole).with_context(|| format!("{} cannot be made", whole.display()))?;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == "seg"))
        else {
            continue;
        };
        let place = whole.join(name);
        // A link costs no space, but not every file system has them.
        if std::fs::hard_link(&path, &place).is_err() {
            std::fs::copy(&path, &place)?;
        }
    }
    for first in projection::archived_segments(database, oldest)? {
        let content = projection::archived_content(database, first)?
            .ok_or_else(|| anyhow!("the archived segment that begins at {first} is damaged"))?;
        std::fs::write(embedded::segment_path(whole, first), content)?;
    }
    Ok(whole.to_path_buf())
}
