//! The engine on RabbitMQ: one durable stream queue that all nodes append to and read.
//!
//! A batch is a message, and its position is the message's offset plus one. A batch counts as committed when it was
//! **read back**; the broker's confirm alone proves nothing about its place. All streams share the one queue, so that
//! positions are one total order (see ARCHITECTURE.md). The engine knows no epochs: who may write is decided by the
//! readers, from the content of the log.
//!
//! Invariants: reports follow the offsets without a hole; what was taken and not read back is published again after a
//! lost connection, in the same order, so a batch may stand in the log twice but never before one that was taken
//! earlier; a queue that vanished, or that ends before what was read from it, stops the engine for good.
//!
//! Messages of any other type than ours are ignored by every reader. The engine itself publishes such messages, to
//! learn where the log ends: a stream has no question for that, and a consumer that starts behind the end waits for
//! ever in silence.

mod copy;
mod disk;
mod link;
mod outbox;
mod reader;
mod session;
mod tail;

#[cfg(test)]
mod tests;

use super::{AppendError, Busy, LogEngine, LogError, LogReader, Position, Proposal, Report, Sink};
use crate::domain::batch::Batch;
use copy::LocalCopy;
use disk::Disk;
use parking_lot::Mutex;
use reader::Reader;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tail::Tail;
use tokio::sync::mpsc;

pub use crate::persistence::broker::Brokers;

/// Where the log is and how it is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// The broker. Its query may set `heartbeat` (seconds) and others.
    pub brokers: Brokers,
    /// The stream queue.
    pub queue: String,
    /// Whether a queue that is not there is made. False once anything is known of the log: then a missing queue is a
    /// lost log.
    pub create: bool,
    /// The most proposals that are taken and not reported.
    pub bound: usize,
    /// The most bytes of the newest batches that are kept in memory for readers.
    pub cache_bytes: usize,
    /// How long opening may take.
    pub open_within: Duration,
    /// The most bytes that a new queue keeps, if there is a limit; the oldest go first.
    pub keep_bytes: Option<u64>,
    /// Where a copy of everything is flushed before it is reported, if there is to be one.
    pub copy: Option<PathBuf>,
}

impl Options {
    /// The defaults for this broker and queue.
    pub fn new(brokers: Brokers, queue: impl Into<String>) -> Options {
        Options {
            brokers,
            queue: queue.into(),
            create: true,
            bound: 1_024,
            cache_bytes: 64 << 20,
            open_within: Duration::from_secs(60),
            keep_bytes: None,
            copy: None,
        }
    }
}

/// What the engine's thread and its readers share.
struct Shared {
    options: Options,
    tail: Mutex<Tail>,
    /// Proposals that were taken and not reported yet.
    outstanding: AtomicUsize,
    connected: AtomicBool,
    /// Whether the broker takes nothing although it is there: it is frozen, or short of memory or disk.
    stalled: AtomicBool,
    /// Whether the local copy can be written.
    disk: Disk,
    /// Whether the engine has stopped for good: nothing more is told of what the broker still takes.
    failed: AtomicBool,
    /// Whether the engine is being dropped.
    closing: AtomicBool,
}

/// The engine. See the module's documentation.
pub struct RabbitMq {
    shared: Arc<Shared>,
    proposals: Option<mpsc::UnboundedSender<Proposal>>,
    threads: Vec<JoinHandle<()>>,
}

impl RabbitMq {
    /// Connects and finds the log's end. From then on everything that any node appends is reported.
    ///
    /// # Errors
    /// [`LogError::Broker`] when it does not succeed in time, the queue is not there and must be, or the newest batch of
    /// the local copy is not in it; any other when the copy cannot be used.
    pub fn open(mut options: Options, mut sink: Sink) -> Result<RabbitMq, LogError> {
        let broker = |reason: String| LogError::Broker { reason };
        let copied = options.copy.as_deref().map(copy::newest).transpose()?.flatten();
        options.create &= copied.is_none();
        let shared = Arc::new(Shared {
            options,
            tail: Mutex::new(Tail::default()),
            outstanding: AtomicUsize::new(0),
            connected: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            disk: Disk::default(),
            failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        });
        // Bounded by `outstanding`: see `propose`.
        let (proposals, taken) = mpsc::unbounded_channel();
        let (tell, mut told) = mpsc::channel::<Report>(1_024);
        let (opened, is_open) = crossbeam_channel::bounded(1);
        let session = {
            let shared = Arc::clone(&shared);
            let run = move || session::run(&shared, taken, tell, copied, &opened);
            std::thread::Builder::new().name("log broker".into()).spawn(run).map_err(|e| broker(e.to_string()))?
        };
        let mut engine = RabbitMq { shared: Arc::clone(&shared), proposals: Some(proposals), threads: vec![session] };
        let next = match is_open.recv() {
            Ok(opened) => opened?,
            Err(_) => return Err(broker("the engine's thread has ended".into())),
        };
        let mut copy = match &shared.options.copy {
            Some(folder) => Some(LocalCopy::begin(folder, next)?),
            None => None,
        };
        let reporter = move || {
            while let Some(report) = told.blocking_recv() {
                let mut group = vec![report];
                if let Some(copy) = &mut copy {
                    // One flush for all that has come meanwhile.
                    while let Ok(more) = told.try_recv() {
                        group.push(more);
                    }
                    if let Err(error) = flush(copy, &group, &shared) {
                        // The session goes on reading, and nobody hears of it any more.
                        shared.failed.store(true, Ordering::Release);
                        return sink(Report::Failed { error });
                    }
                }
                for report in group {
                    if matches!(&report, Report::Failed { .. }) {
                        shared.failed.store(true, Ordering::Release);
                    }
                    let answers =
                        matches!(&report, Report::Committed { proposal: Some(_), .. } | Report::Refused { .. });
                    sink(report);
                    if answers {
                        shared.outstanding.fetch_sub(1, Ordering::AcqRel);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("log reports".into()).spawn(reporter);
        engine.threads.push(thread.map_err(|error| broker(error.to_string()))?);
        Ok(engine)
    }
}

/// Flushes what these reports tell of to the local copy. Waits as long as the disk is full, unless the engine is being
/// dropped: nobody is told of anything that is not there.
fn flush(copy: &mut LocalCopy, reports: &[Report], shared: &Shared) -> Result<(), AppendError> {
    let batches = reports.iter().flat_map(|report| match report {
        Report::Committed { batches, .. } => batches.as_slice(),
        Report::Refused { .. } | Report::Failed { .. } => &[],
    });
    let batches: Vec<Batch> = batches.map(|committed| Batch::clone(&committed.batch)).collect();
    if batches.is_empty() {
        return Ok(());
    }
    shared.disk.insist(&shared.closing, || copy.write(batches.clone()))
}

impl LogEngine for RabbitMq {
    fn propose(&self, proposal: Proposal) -> Result<(), Busy> {
        let bound = self.shared.options.bound;
        let room = |n: usize| (n < bound).then_some(n + 1);
        self.shared.outstanding.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).map_err(|_| Busy)?;
        let sent = self.proposals.as_ref().map(|proposals| proposals.send(proposal));
        if let Some(Ok(())) = sent {
            return Ok(());
        }
        self.shared.outstanding.fetch_sub(1, Ordering::AcqRel);
        Err(Busy)
    }

    fn end(&self) -> Position {
        self.shared.tail.lock().end()
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(Reader::new(Arc::clone(&self.shared)))
    }

    fn available(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        let hindered = is(&self.shared.stalled) || is(&self.shared.failed) || self.shared.disk.takes_nothing();
        is(&self.shared.connected) && !hindered
    }

    fn is_held_up_by_its_disk(&self) -> bool {
        self.shared.disk.takes_nothing()
    }
}

impl Drop for RabbitMq {
    /// Publishes what was taken and waits, for a while, until it was read back. With a full disk it stays unknown whether
    /// it was.
    fn drop(&mut self) {
        self.proposals = None;
        self.shared.closing.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}
