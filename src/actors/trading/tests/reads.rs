//! How much recoveries read of the log, and what they do when it cannot be read.

use super::*;
use crate::persistence::log::{Batches, LogError, LogReader, Position};
use std::sync::atomic::AtomicU64;

/// What was read, and how many attempts to read come to nothing.
#[derive(Default)]
pub(super) struct Reads {
    batches: AtomicU64,
    refusals: AtomicU64,
}

impl Reads {
    /// How many batches were read so far.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// The next attempts to read find nobody there, as many as these.
    pub fn refuse(&self, attempts: u64) {
        self.refusals.store(attempts, Ordering::Relaxed);
    }

    /// How many more will find nobody.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }
}

/// A log of which is counted what is read.
pub(super) struct Counted {
    pub log: Arc<dyn LogReader>,
    pub reads: Arc<Reads>,
}

impl LogReader for Counted {
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        let one_less = |left: u64| left.checked_sub(1);
        if self.reads.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            return Err(LogError::Broker { reason: "it is away".into() });
        }
        let reads = self.reads.clone();
        let count = move |_: &_| {
            reads.batches.fetch_add(1, Ordering::Relaxed);
        };
        Ok(Box::new(self.log.read(from)?.inspect(count)))
    }
}
