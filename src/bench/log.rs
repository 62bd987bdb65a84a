//! The embedded log against a bare loop of append and fdatasync, with writes of equal size.
//!
//! Both sides have one write under way at a time: the loop appends a batch's bytes to a file and
//! flushes; the log is given one batch and asked for the next when it has reported. Rounds of the
//! two alternate, so that a slow moment of the disk meets both; the ratio is that of the median
//! round.

use crate::domain::batch::Batch;
use crate::domain::ids::{Epoch, MarketId, StreamId};
use crate::domain::time::Timestamp;
use crate::persistence::log::embedded::{self, Embedded, FRAME_OVERHEAD};
use crate::persistence::log::{LogEngine, LogError, Proposal, Report as LogReport};
use bytes::Bytes;
use crossbeam_channel::Receiver;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// A folder on the disk in question. A folder is made in it, and removed at the end.
    pub folder: PathBuf,
    /// Entries in a batch, one row of the report for each.
    pub sizes: Vec<usize>,
    /// Bytes of an entry.
    pub entry_bytes: usize,
    /// Rounds of each side.
    pub rounds: usize,
    /// How long one round takes.
    pub round: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            folder: PathBuf::from("."),
            sizes: vec![1, 64, 256, 1024],
            entry_bytes: 64,
            rounds: 7,
            round: Duration::from_millis(500),
        }
    }
}

/// What one side reached with one size of batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Entries made durable in a second, in the median round.
    pub records_per_second: f64,
    /// The median time from handing a batch over to knowing it durable, in microseconds.
    pub p50_us: f64,
    /// The same, exceeded by one in a hundred.
    pub p99_us: f64,
}

/// Both sides with one size of batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Entries in a batch.
    pub entries: usize,
    /// Append and fdatasync.
    pub bare: Figures,
    /// The log.
    pub log: Figures,
    /// The log's rate over the bare rate of the round beside it, in the median of all rounds.
    pub ratio: f64,
}

/// The result of a run; `Display` prints it as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One for each size.
    pub rows: Vec<Row>,
}

/// Measures.
///
/// # Errors
/// [`LogError`] when the folder cannot be used or the log fails.
pub fn run(options: &Options) -> Result<Report, LogError> {
    let folder = options.folder.join(format!("bench-log-{}", std::process::id()));
    let result: Result<Vec<Row>, LogError> =
        options.sizes.iter().map(|entries| measure(options, &folder, *entries)).collect();
    let removed = std::fs::remove_dir_all(&folder).map_err(failed("the folder of the measurement cannot be removed"));
    let report = Report { rows: result? };
    removed.map(|()| report)
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::Io { what: what.into(), source }
}

fn measure(options: &Options, folder: &Path, entries: usize) -> Result<Row, LogError> {
    let _ = std::fs::remove_dir_all(folder);
    let mut log = Log::open(folder, entries, options.entry_bytes)?;
    let bytes = vec![0x5a; FRAME_OVERHEAD + log.batch.encoded_len()];
    let mut file = File::create(folder.join("bare")).map_err(failed("the bare file cannot be made"))?;
    let (mut bare_rounds, mut log_rounds) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed("the bare file cannot be emptied"))?;
        bare_rounds.push(round(options.round, || {
            file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(failed("the bare append failed"))
        })?);
        log_rounds.push(round(options.round, || log.append())?);
        log.engine.prune(log.engine.end())?;
    }
    let rate = |times: &Vec<Duration>| {
        let seconds: f64 = times.iter().map(Duration::as_secs_f64).sum();
        times.len() as f64 / seconds
    };
    let ratios = bare_rounds.iter().zip(&log_rounds).map(|(bare, log)| rate(log) / rate(bare)).collect();
    let figures = |rounds: &[Vec<Duration>]| {
        let mut times = rounds.concat();
        times.sort_unstable();
        let at =
            |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        let records_per_second = median(rounds.iter().map(|times| rate(times) * entries as f64).collect());
        Figures { records_per_second, p50_us: at(0.5), p99_us: at(0.99) }
    };
    Ok(Row { entries, bare: figures(&bare_rounds), log: figures(&log_rounds), ratio: median(ratios) })
}

/// How long each of many repetitions took, until the time is over.
fn round(time: Duration, mut append: impl FnMut() -> Result<(), LogError>) -> Result<Vec<Duration>, LogError> {
    let mut times = Vec::new();
    let start = Instant::now();
    let mut before = start;
    while before - start < time {
        append()?;
        let now = Instant::now();
        times.push(now - before);
        before = now;
    }
    Ok(times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The log under measurement.
struct Log {
    engine: Embedded,
    reports: Receiver<LogReport>,
    batch: Batch,
}

impl Log {
    fn open(folder: &Path, entries: usize, entry_bytes: usize) -> Result<Log, LogError> {
        let (tell, reports) = crossbeam_channel::bounded(1);
        let sink = Box::new(move |report| drop(tell.send(report)));
        let (engine, _) = Embedded::open(embedded::Options::new(folder), sink)?;
        let batch = Batch {
            stream: StreamId::Market(MarketId(0)),
            epoch: Epoch { counter: 1, node: 1 },
            number: 0,
            at: Timestamp::ZERO,
            count: entries as u32,
            payload: Bytes::from(vec![0x5a; entries * entry_bytes]),
        };
        Ok(Log { engine, reports, batch })
    }

    fn append(&mut self) -> Result<(), LogError> {
        let refused = |reason: String| failed("the log took no batch")(io::Error::other(reason));
        self.batch.number += 1;
        let proposal = Proposal { id: self.batch.number, batches: vec![self.batch.clone()] };
        self.engine.propose(proposal).map_err(|busy| refused(busy.to_string()))?;
        match self.reports.recv() {
            Ok(LogReport::Committed { .. }) => Ok(()),
            Ok(LogReport::Refused { error, .. } | LogReport::Failed { error }) => Err(refused(error.to_string())),
            Err(_) => Err(refused("it has stopped".into())),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "entries |  append + fdatasync: records/s, p50, p99 µs |  log: records/s, p50, p99 µs | ratio")?;
        for Row { entries, bare, log, ratio } in &self.rows {
            write!(f, "{entries:>7} | ")?;
            write!(f, "{:>22.0} {:>9.0} {:>10.0}  | ", bare.records_per_second, bare.p50_us, bare.p99_us)?;
            write!(f, "{:>12.0} {:>6.0} {:>8.0}   | ", log.records_per_second, log.p50_us, log.p99_us)?;
            writeln!(f, "{ratio:>5.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_fills_every_row_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            folder: folder.path().to_path_buf(),
            sizes: vec![1, 16],
            rounds: 2,
            round: Duration::from_millis(5),
            ..Options::default()
        };
        let report = run(&options).unwrap();
        assert_eq!(report.rows.iter().map(|row| row.entries).collect::<Vec<_>>(), [1, 16]);
        assert!(report.rows.iter().all(|row| row.ratio > 0.0 && row.log.p50_us > 0.0 && row.bare.p99_us > 0.0));
        assert_eq!(report.to_string().lines().count(), 3);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
