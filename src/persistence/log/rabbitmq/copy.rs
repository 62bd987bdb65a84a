//! A copy of what was read back, flushed to the local disk before anybody is told of it.
//!
//! A stream's confirm involves no flush at the broker, so a power failure of all brokers at once could lose what was
//! acknowledged a moment ago. The copy holds it. Each opening of the engine begins a new part, a folder named by the
//! position of the stream after which it begins; the newest few are kept. A part is a log of the embedded engine.

use crate::domain::batch::Batch;
use crate::persistence::log::embedded::{Embedded, Options};
use crate::persistence::log::{AppendError, LogEngine, LogError, Proposal, Report};
use crossbeam_channel::Receiver;
use std::path::Path;

/// How many parts are kept, the present one included.
const PARTS: usize = 3;

/// The present part.
pub(super) struct LocalCopy {
    engine: Embedded,
    reports: Receiver<Report>,
}

impl LocalCopy {
    /// Begins a part for what follows position `after`.
    pub(super) fn begin(folder: &Path, after: u64) -> Result<LocalCopy, LogError> {
        let io = |what: &str| {
            let what = format!("{what} {}", folder.display());
            move |source| LogError::Io { what, source }
        };
        std::fs::create_dir_all(folder).map_err(io("making"))?;
        let entries = std::fs::read_dir(folder).map_err(io("reading"))?;
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        parts.sort();
        let new = folder.join(format!("{after:020}"));
        parts.retain(|part| *part != new);
        let old = parts.len().saturating_sub(PARTS - 1);
        for part in parts.iter().take(old) {
            std::fs::remove_dir_all(part).map_err(io("clearing"))?;
        }
        let (tell, reports) = crossbeam_channel::bounded(4);
        let sink = Box::new(move |report| {
            // Whoever does not wait any more has gone.
            let _ = tell.send(report);
        });
        let (engine, _) = Embedded::open(Options::new(new), sink)?;
        Ok(LocalCopy { engine, reports })
    }

    /// Writes batches and waits until they are flushed.
    ///
    /// # Errors
    /// When they are not; [`AppendError::DiskFull`] may heal.
    pub(super) fn write(&self, batches: Vec<Batch>) -> Result<(), AppendError> {
        let gone = || AppendError::Io("the local copy's writer has gone".into());
        self.engine.propose(Proposal { id: 1, batches }).map_err(|_| gone())?;
        match self.reports.recv() {
            Ok(Report::Committed { .. }) => Ok(()),
            Ok(Report::Refused { error, .. } | Report::Failed { error }) => Err(error),
            Err(_) => Err(gone()),
        }
    }
}
