//! A copy of what was read back, flushed to the local disk before anybody is told of it.
//!
//! A stream's confirm involves no flush at the broker, so a power failure of all brokers at once could lose what was
//! acknowledged a moment ago. The copy holds it. Each opening of the engine begins a new part, a folder named by the
//! position of the stream after which it begins; the newest few that hold something are kept. A part is a log of the
//! embedded engine, which gives up its oldest segments once it has so many bytes that what they hold was acknowledged long
//! ago.
//!
//! Invariant: no part is removed before the newest batch of the copy was found in the stream, and no segment before many
//! newer batches were read back from it.

use crate::domain::batch::Batch;
use crate::persistence::log::embedded::{Embedded, Options, ReadOnly};
use crate::persistence::log::{AppendError, LogEngine, LogError, Position, Proposal, Report};
use crossbeam_channel::Receiver;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many parts are kept, the present one included.
const PARTS: usize = 3;

/// A part keeps at least so many bytes of its newest batches, and at most a few segments more.
const KEEP_BYTES: u64 = 512 << 20;

/// The newest batch of a copy.
pub(super) struct Copied {
    pub(super) batch: Arc<Batch>,
    /// The stream has it at this position or later.
    pub(super) position: Position,
    /// The part that holds it.
    pub(super) part: PathBuf,
}

/// A part as it was found.
struct Part {
    path: PathBuf,
    /// The position of the stream after which it begins.
    after: u64,
    /// How many batches it holds.
    count: u64,
}

/// The parts in a folder, which need not exist, oldest first.
fn parts(folder: &Path) -> Result<Vec<Part>, LogError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(io("reading", folder))?;
    let mut parts = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let Some(after) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        let count = ReadOnly::open(&path)?.1.end.0;
        parts.push(Part { path, after, count });
    }
    parts.sort_by_key(|part| part.after);
    Ok(parts)
}

fn io(what: &str, folder: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    let what = format!("{what} {}", folder.display());
    move |source| LogError::Io { what, source }
}

/// The newest batch that was copied, if there is one.
///
/// # Errors
/// When the copy cannot be read.
pub(super) fn newest(folder: &Path) -> Result<Option<Copied>, LogError> {
    let Some(part) = parts(folder)?.into_iter().rfind(|part| part.count > 0) else { return Ok(None) };
    let last = ReadOnly::open(&part.path)?.0.reader().read(Position(part.count - 1))?.next().transpose()?;
    let position = Position(part.after + part.count);
    Ok(last.map(|last| Copied { batch: last.batch, position, part: part.path }))
}

/// The present part.
pub(super) struct LocalCopy {
    engine: Embedded,
    reports: Receiver<Report>,
    keep_bytes: u64,
    segment_bytes: u64,
    /// Bytes of batches that were written since old segments were last looked for.
    written: u64,
}

impl LocalCopy {
    /// Begins a part for what follows position `after`, and makes those short that are kept beside it.
    pub(super) fn begin(folder: &Path, after: u64) -> Result<LocalCopy, LogError> {
        LocalCopy::begin_keeping(folder, after, KEEP_BYTES)
    }

    fn begin_keeping(folder: &Path, after: u64, keep_bytes: u64) -> Result<LocalCopy, LogError> {
        std::fs::create_dir_all(folder).map_err(io("making", folder))?;
        let new = folder.join(format!("{after:020}"));
        let others = parts(folder)?.into_iter().filter(|part| part.path != new);
        // Starts that came to nothing must not push out a part with which a loss can be proved.
        let (full, empty): (Vec<Part>, Vec<Part>) = others.partition(|part| part.count > 0);
        let old = full.len().saturating_sub(PARTS - 1);
        for part in full.iter().take(old).chain(&empty) {
            std::fs::remove_dir_all(&part.path).map_err(io("clearing", &part.path))?;
        }
        // Earlier versions let them grow without end.
        for part in full.into_iter().skip(old) {
            LocalCopy::open(Options::new(part.path), keep_bytes)?.prune();
        }
        let copy = LocalCopy::open(Options::new(new), keep_bytes)?;
        copy.prune();
        Ok(copy)
    }

    fn open(options: Options, keep_bytes: u64) -> Result<LocalCopy, LogError> {
        let (tell, reports) = crossbeam_channel::bounded(4);
        let sink = Box::new(move |report| {
            // Whoever does not wait any more has gone.
            let _ = tell.send(report);
        });
        let segment_bytes = options.segment_bytes;
        let (engine, _) = Embedded::open(options, sink)?;
        Ok(LocalCopy { engine, reports, keep_bytes, segment_bytes, written: 0 })
    }

    /// Writes batches and waits until they are flushed.
    ///
    /// # Errors
    /// When they are not; [`AppendError::DiskFull`] may heal.
    pub(super) fn write(&mut self, batches: Vec<Batch>) -> Result<(), AppendError> {
        let gone = || AppendError::Io("the local copy's writer has gone".into());
        let bytes: usize = batches.iter().map(Batch::encoded_len).sum();
        self.engine.propose(Proposal { id: 1, batches }).map_err(|_| gone())?;
        match self.reports.recv() {
            Ok(Report::Committed { .. }) => {
                self.written += bytes as u64;
                if self.written >= self.segment_bytes {
                    self.written = 0;
                    self.prune();
                }
                Ok(())
            }
            Ok(Report::Refused { error, .. } | Report::Failed { error }) => Err(error),
            Err(_) => Err(gone()),
        }
    }

    /// Removes the segments before the newest bytes that are kept.
    fn prune(&self) {
        let mut newer = 0;
        let sealed = self.engine.sealed_segments();
        let old = sealed.iter().rev().find(|segment| {
            let enough = newer >= self.keep_bytes;
            newer += segment.bytes;
            enough
        });
        if let Some(old) = old
            && let Err(error) = self.engine.prune(old.last)
        {
            tracing::warn!(%error, "the oldest of the local copy could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::ids::StreamId;
    use crate::persistence::log::conformance::batch;

    #[test]
    fn parts_that_hold_something_are_kept_before_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("log-copy");
        assert!(newest(&folder).unwrap().is_none());
        let write = |after, numbers: std::ops::Range<u64>| {
            let mut part = LocalCopy::begin(&folder, after).unwrap();
            part.write(numbers.map(|number| batch(StreamId::Ledger, 1, number, 100)).collect()).unwrap();
        };
        let found = || newest(&folder).unwrap().map(|copied| (copied.batch.number, copied.position.0));
        write(10, 1..4);
        assert_eq!(found(), Some((3, 13)));
        for after in 20..30 {
            drop(LocalCopy::begin(&folder, after).unwrap());
            assert_eq!(found(), Some((3, 13)));
        }
        for after in [100, 200, 300, 400] {
            write(after, after..after + 2);
            assert_eq!(found(), Some((after + 1, after + 2)));
        }
        let kept: Vec<u64> = parts(&folder).unwrap().iter().map(|part| part.after).collect();
        assert_eq!(kept, [200, 300, 400]);
    }

    #[test]
    fn a_part_keeps_its_newest_batches() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 10_000, ahead_bytes: 0, ..Options::new(folder.path()) };
        let mut part = LocalCopy::open(options, 30_000).unwrap();
        for number in 1..1_000 {
            part.write(vec![batch(StreamId::Ledger, 1, number, 100)]).unwrap();
        }
        let kept: u64 = part.engine.sealed_segments().iter().map(|segment| segment.bytes).sum();
        assert!((30_000..=70_000).contains(&kept), "{kept} bytes");
        let newest = part.engine.reader().read(Position(998)).unwrap().next().unwrap().unwrap();
        assert_eq!((newest.position, newest.batch.number), (Position(999), 999));
    }

    #[test]
    fn a_part_of_before_is_made_short_too() {
        let folder = tempfile::tempdir().unwrap();
        for after in [10, 20] {
            let path = folder.path().join(format!("{after:020}"));
            let options = Options { segment_bytes: 10_000, ahead_bytes: 0, ..Options::new(path) };
            let mut part = LocalCopy::open(options, u64::MAX).unwrap();
            for number in 1..1_000 {
                part.write(vec![batch(StreamId::Ledger, 1, number, 100)]).unwrap();
            }
        }
        // The second is gone on with, as when nothing came between two starts.
        drop(LocalCopy::begin_keeping(folder.path(), 20, 30_000).unwrap());
        let parts = parts(folder.path()).unwrap();
        assert_eq!(parts.iter().map(|part| part.count).collect::<Vec<_>>(), [999, 999]);
        for part in parts {
            let sealed = ReadOnly::open(&part.path).unwrap().0.sealed_segments();
            let kept: u64 = sealed.iter().map(|segment| segment.bytes).sum();
            assert!((30_000..=70_000).contains(&kept), "{kept} bytes in {}", part.path.display());
        }
        assert_eq!(newest(folder.path()).unwrap().unwrap().position, Position(20 + 999));
    }
}
