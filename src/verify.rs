//! `agora verify`: replays everything that was ever committed, and compares.
//!
//! The log is read from its first batch on: embedded segments, or the stream at a broker with the archive before it. On
//! the way the state is compared with every snapshot, of this node and in the database, and with the rows of trading
//! and chat, which are read at one moment first; nodes may go on meanwhile.

mod chat;
mod rows;
mod temporary;
#[cfg(test)]
mod tests;

use crate::config::{DatabaseConfig, LogConfig};
use crate::domain::venue::Venue;
use crate::persistence::archive;
use crate::persistence::broker::Brokers;
use crate::persistence::db::{Database, Options, Target};
use crate::persistence::log::embedded::{SealedSegment, TornTail};
use crate::persistence::log::rabbitmq::{self, RabbitMq};
use crate::persistence::log::{Committed, LogEngine, LogError, LogReader, Position, embedded};
use crate::persistence::snapshots::{Loaded, Snapshots};
use crate::persistence::{projection, shared_snapshots};
use anyhow::{Context, anyhow, bail, ensure};
use chat::{Replay, Tables};
use rows::{Rows, Tally};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use temporary::{Temporary, link_or_copy};

/// Replays the whole log and compares it with snapshots and database; used by `agora verify`.
///
/// # Errors
/// The first divergence, in words.
pub fn verify(data: &Path, database: &DatabaseConfig, log: &LogConfig) -> anyhow::Result<String> {
    let database = connect(data, database)?;
    let mut temporary = Temporary::begin(data);
    let said = match log.broker()? {
        Some(brokers) => shared(data, &mut temporary, database.as_ref(), brokers, log)?.to_string(),
        None => alone(data, &mut temporary, database.as_ref())?,
    };
    Ok(format!("no divergence: {said}{}", temporary.others()))
}

fn alone(data: &Path, temporary: &mut Temporary, database: Option<&Database>) -> anyhow::Result<String> {
    // Read before the log's end is looked for, so that nothing in them can lie behind it.
    let mut audit = Audit::begin(data, temporary, database)?;
    let folder = whole_log(data, temporary, database)?;
    let verified = embedded::verify(&folder)?;
    let log = embedded::ReadOnly::open(&folder)?.0;
    let both = match database {
        Some(database) => archive::compare_segments(database, &kept_segments(data)?)?,
        None => 0,
    };
    let torn = verified.opened.torn.map(|torn| left_out(&torn, &data.join("log")));
    let replayed = audit.replay(log.reader().as_ref(), log.end());
    match &torn {
        // What was cut may be what is missing.
        Some(torn) => replayed.with_context(|| torn.clone())?,
        None => replayed?,
    }
    let in_both = if both > 0 { format!(" ({both} of them in log and archive)") } else { String::new() };
    let torn = torn.map(|torn| format!("; {torn}")).unwrap_or_default();
    Ok(format!("{} segments{in_both}, {}{torn}", verified.segments, audit.end(log.end())?))
}

/// A torn write in words. Its file is named as it stands in `log`: what was read may have been a second name of it.
fn left_out(torn: &TornTail, log: &Path) -> String {
    let file = torn.file.file_name().map_or_else(|| torn.file.clone(), |name| log.join(name));
    format!("a torn write of {} bytes at {}:{} was left out", torn.bytes, file.display(), torn.offset)
}

/// The sealed segments whose files are still there.
fn kept_segments(data: &Path) -> anyhow::Result<Vec<SealedSegment>> {
    Ok(embedded::ReadOnly::open(&data.join("log"))?.0.sealed_segments())
}

/// The same for the log at a broker, as far as it goes now. What neither the broker nor the archive has is taken as the
/// oldest snapshot after it says.
fn shared(
    data: &Path,
    temporary: &mut Temporary,
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
    fn begin(data: &Path, temporary: &mut Temporary, database: Option<&Database>) -> anyhow::Result<Audit> {
        let mut snapshots = vec![("this node's snapshot", Snapshots::read_only(data.join("snapshots")))];
        let (mut rows, mut tables, mut damaged) = (None, None, 0);
        if let Some(database) = database {
            let (trading, chat) =
                database.read(|conn| conn.at_one_moment(|conn| Ok((Rows::read(conn)?, Tables::read(conn)?))))?;
            (rows, tables) = (Some(trading), Some(chat));
            if database.is_shared() {
                let folder = Snapshots::open(temporary.folder("snapshots")?)?;
                for position in shared_snapshots::all(database)? {
                    match shared_snapshots::get(database, position)? {
                        Some(content) => folder.adopt(position, &content)?,
                        // Nodes go on and keep the newest few: one that has gone meanwhile is no fault.
                        None => damaged += usize::from(shared_snapshots::all(database)?.contains(&position)),
                    }
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
            summary: Summary { damaged, ..Summary::default() },
        })
    }

    /// Begins at the oldest snapshot that can be read of those at or behind `oldest`, before which nothing is left.
    fn begin_at_snapshot(&mut self, oldest: Position) -> anyhow::Result<()> {
        for mark in self.marks.iter().copied().filter(|mark| *mark >= oldest) {
            for (_, kept) in self.snapshots.iter().filter(|(_, kept)| has(kept, mark)) {
                if let Some(loaded) = load(kept, mark) {
                    (self.venue, self.position, self.began) = (loaded.venue, loaded.position, loaded.position);
                    return Ok(());
                }
                self.summary.damaged += 1;
            }
        }
        bail!("the log begins after {oldest}, and no snapshot that can be read lies behind that")
    }

    fn replay(&mut self, reader: &dyn LogReader, end: Position) -> anyhow::Result<()> {
        for (what, at) in [
            ("trading", self.rows.as_ref().map(|rows| rows.position)),
            ("chat", self.tables.as_ref().map(|tables| tables.position)),
        ] {
            let at = at.unwrap_or_default();
            ensure!(at <= end, "the database has seen the log up to {at} for {what}, but it ends at {end}");
        }
        // By their names alone, since one that cannot be read was written all the same. Only what is on the medium gets
        // into a snapshot, and a write that was torn never was.
        let newest = self.marks.last().copied().unwrap_or_default();
        ensure!(
            newest <= end,
            "there is a snapshot at position {newest}, but the log ends at {end}: a part of the log is missing"
        );
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
            if !has(kept, *position) {
                continue;
            }
            let Some(loaded) = load(kept, *position) else {
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

/// Whether there is a snapshot exactly there.
fn has(kept: &Snapshots, position: Position) -> bool {
    kept.files().iter().any(|(at, _)| *at == position)
}

/// The snapshot that stands exactly there, if it can be read.
fn load(kept: &Snapshots, position: Position) -> Option<Loaded> {
    kept.newest(position).filter(|loaded| loaded.position == position)
}

fn connect(data: &Path, database: &DatabaseConfig) -> anyhow::Result<Option<Database>> {
    // Whole tables are read, which may take long.
    let options = Options { statement_timeout: Duration::ZERO, ..database.options(data) };
    if matches!(&options.target, Target::Sqlite(path) if !path.exists()) {
        return Ok(None);
    }
    Ok(Some(Database::connect_as_it_is(&options)?))
}

/// The folder of the log from its first batch on. Segments that were pruned are taken out of the database's archive into
/// a folder beside it, together with those that are still there.
fn whole_log(data: &Path, temporary: &mut Temporary, database: Option<&Database>) -> anyhow::Result<PathBuf> {
    let folder = data.join("log");
    let oldest = embedded::ReadOnly::open(&folder)?.1.oldest;
    if oldest == Position(0) {
        return Ok(folder);
    }
    let database = database
        .ok_or_else(|| anyhow!("the log begins after position {oldest}, and there is no database with its archive"))?;
    let whole = temporary.folder("log")?;
    let cannot_be_made = |place: &Path| format!("{} cannot be made", place.display());
    // A crash in the middle of a roll leaves the newest segment sealed, and its successor under its preparatory name.
    let is_part = |name: &str| name.ends_with(".seg") || name.ends_with(".seg.new");
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(is_part) {
            let place = whole.join(name);
            link_or_copy(&entry.path(), &place).with_context(|| cannot_be_made(&place))?;
        }
    }
    for first in projection::archived_segments(database, oldest)? {
        let content = projection::archived_content(database, first)?
            .ok_or_else(|| anyhow!("the archived segment that begins at {first} is damaged"))?;
        let place = embedded::segment_path(&whole, first);
        let written = File::create_new(&place).and_then(|mut file| file.write_all(&content));
        written.with_context(|| cannot_be_made(&place))?;
    }
    Ok(whole)
}
