//! `agora verify`: replays everything that was ever committed, and compares.

use crate::config::{DatabaseConfig, LogConfig};
use crate::domain::venue::{Silent, Venue};
use crate::persistence::db::{Database, Target};
use crate::persistence::log::rabbitmq::{self, RabbitMq};
use crate::persistence::log::{LogEngine, LogError, LogReader, Position, embedded};
use crate::persistence::snapshots::Snapshots;
use crate::persistence::{orders, projection};
use anyhow::{Context, anyhow, ensure};
use std::path::{Path, PathBuf};

/// Replays the whole log and compares it with snapshots and database; used by `agora verify`.
///
/// # Errors
/// The first divergence, in words.
pub fn verify(data: &Path, database: &DatabaseConfig, log: &LogConfig) -> anyhow::Result<String> {
    if let Some(uri) = log.broker()? {
        return verify_shared(data, database, rabbitmq::Options::new(uri.clone(), log.stream_queue()));
    }
    let (folder, _restored) = whole_log(data, database)?;
    let verified = embedded::verify(&folder)?;
    let log = embedded::ReadOnly::open(&folder)?.0;
    let snapshots = Snapshots::read_only(data.join("snapshots"));
    let (venue, compared) = replay(log.reader().as_ref(), Venue::default(), Position(0), log.end(), &snapshots)?;
    let rows = compare_database(data, database, &venue, log.end())?;
    Ok(format!(
        "no divergence: {} batches in {} segments, {compared} snapshots and {rows} live orders agree, state {}",
        log.end(),
        verified.segments,
        venue.hash()
    ))
}

/// The same for the log at a broker, as far as it goes now; nodes may go on meanwhile. What the broker no longer has is
/// taken as the oldest snapshot after it says.
fn verify_shared(data: &Path, database: &DatabaseConfig, mut options: rabbitmq::Options) -> anyhow::Result<String> {
    options.create = false;
    let log = RabbitMq::open(options, Box::new(|_| ()))?;
    let snapshots = Snapshots::read_only(data.join("snapshots"));
    // The rows are compared where they are now, which may be before the log's end.
    let rows_at = match connect(data, database)? {
        Some(database) => projection::position(&database)?,
        None => Position(0),
    };
    let end = log.end();
    ensure!(rows_at <= end, "the database has seen the log up to {rows_at}, but it ends at {end}");
    let oldest = match log.reader().read(Position(0))?.next() {
        Some(Err(LogError::Pruned { oldest, .. })) => oldest,
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(_)) | None => Position(0),
    };
    let (start, from) = if oldest == Position(0) {
        Default::default()
    } else {
        let first = snapshots.files().into_iter().map(|(position, _)| position).filter(|at| *at >= oldest).min();
        let loaded = first.and_then(|first| snapshots.newest(first));
        let loaded =
            loaded.with_context(|| format!("the log begins after {oldest}, and no snapshot lies behind that"))?;
        (loaded.venue, loaded.position)
    };
    let (at_rows, mut compared) = replay(log.reader().as_ref(), start, from, rows_at.max(from), &snapshots)?;
    let rows = compare_database(data, database, &at_rows, rows_at)?;
    let (venue, more) = replay(log.reader().as_ref(), at_rows, rows_at.max(from), end, &snapshots)?;
    compared += more;
    Ok(format!(
        "no divergence: the stream after position {from} to {end}, {compared} snapshots and {rows} live orders agree, \
         state {}",
        venue.hash()
    ))
}

/// Applies the log after `from` up to `end` and compares with the snapshots on the way; how many those were.
fn replay(
    reader: &dyn LogReader,
    mut venue: Venue,
    from: Position,
    end: Position,
    snapshots: &Snapshots,
) -> anyhow::Result<(Venue, usize)> {
    let mut marks: Vec<_> = snapshots.files().into_iter().map(|(position, _)| position).collect();
    marks.sort();
    let mut compared = 0;
    if from >= end {
        return Ok((venue, compared));
    }
    for committed in reader.read(from)? {
        let committed = committed?;
        if committed.position > end {
            break;
        }
        venue
            .apply(&committed.batch, &mut Silent)
            .map_err(|error| anyhow!("the batch at position {} cannot be applied: {error}", committed.position))?;
        if marks.contains(&committed.position)
            && let Some(loaded) = snapshots.newest(committed.position).filter(|l| l.position == committed.position)
        {
            let (replayed, stored) = (venue.hash(), loaded.venue.hash());
            if replayed != stored {
                let position = committed.position;
                return Err(anyhow!("at position {position} the replay has hash {replayed}, the snapshot {stored}"));
            }
            compared += 1;
        }
    }
    venue.audit().map_err(|reason| anyhow!("the replayed state breaks a rule: {reason}"))?;
    Ok((venue, compared))
}

/// Every live order of the replay must be in the database as it is, as far as the rows have got.
fn compare_database(data: &Path, database: &DatabaseConfig, venue: &Venue, end: Position) -> anyhow::Result<usize> {
    let Some(database) = connect(data, database)? else { return Ok(0) };
    if projection::position(&database)? != end {
        return Ok(0);
    }
    let mut rows = 0;
    for market in &venue.markets {
        let id = market.replica.book.config().id;
        for order in market.replica.book.all_orders() {
            let number = order.id.number;
            let row = database.read(|connection| orders::get(connection, id, number))?;
            if row.as_ref() != Some(&order) {
                if projection::position(&database)? != end {
                    // A node has written meanwhile, so this is no difference.
                    return Ok(rows);
                }
                return Err(anyhow!("order {number} of market {} differs: replay {order:?}, database {row:?}", id.0));
            }
            rows += 1;
        }
    }
    Ok(rows)
}

fn connect(data: &Path, database: &DatabaseConfig) -> anyhow::Result<Option<Database>> {
    let options = database.options(data);
    if matches!(&options.target, Target::Sqlite(path) if !path.exists()) {
        return Ok(None);
    }
    Ok(Some(Database::connect(&options)?))
}

/// A folder that is removed when it is not needed any more.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a temporary folder could not be removed");
        }
    }
}

/// The folder of the log from its first batch on. Segments that were pruned are taken out of the database's archive into
/// a folder beside it, together with those that are still there.
fn whole_log(data: &Path, database: &DatabaseConfig) -> anyhow::Result<(PathBuf, Option<Temporary>)> {
    let folder = data.join("log");
    let oldest = embedded::ReadOnly::open(&folder)?.1.oldest;
    if oldest == Position(0) {
        return Ok((folder, None));
    }
    let database = connect(data, database)?
        .ok_or_else(|| anyhow!("the log begins after position {oldest}, and there is no database with its archive"))?;
    let whole = data.join(format!("verify-{}", std::process::id()));
    std::fs::create_dir_all(&whole).with_context(|| format!("{} cannot be made", whole.display()))?;
    let whole = Temporary(whole);
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == "seg"))
        else {
            continue;
        };
        let place = whole.0.join(name);
        // A link costs no space, but not every file system has them.
        if std::fs::hard_link(&path, &place).is_err() {
            std::fs::copy(&path, &place)?;
        }
    }
    for first in projection::archived_segments(&database, oldest)? {
        let content = projection::archived_content(&database, first)?
            .ok_or_else(|| anyhow!("the archived segment that begins at {first} is damaged"))?;
        std::fs::write(embedded::segment_path(&whole.0, first), content)?;
    }
    Ok((whole.0.clone(), Some(whole)))
}
