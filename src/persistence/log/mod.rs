//! The engines behind the event log: where batches become durable and final.
//!
//! An engine takes **proposals** (a group of batches, any streams), makes each group durable with
//! as few flushes as it can, and reports what was committed **in order** to one sink. A proposal
//! counts only once it was reported as committed. Batches read back carry everything needed to
//! order them; nothing outside `actors::event_log` knows which engine is used.
//!
//! Every engine passes the same conformance suite (`conformance.rs`).

pub mod conformance;
pub mod embedded;
pub mod faulty;
mod places;
pub mod rabbitmq;

use crate::domain::batch::{Batch, BatchError};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// A place in an engine's log: how many frames precede and include it. 0 is the very start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A group of batches to be made durable together.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Chosen by the proposer, echoed in the report.
    pub id: u64,
    /// The batches, in the order in which they must stand in the log.
    pub batches: Vec<Batch>,
}

/// A batch with its place in the log.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The place; reading from it again starts with the batch after this one.
    pub position: Position,
    /// The batch.
    pub batch: Arc<Batch>,
}

/// What an engine tells its sink, in the order in which it happened.
#[derive(Debug)]
pub enum Report {
    /// These batches are durable and final, in log order. `proposal` is the id of the proposal
    /// they came from, when it was ours.
    Committed {
        /// Whose batches they are.
        proposal: Option<u64>,
        /// In log order; empty for an empty proposal.
        batches: Vec<Committed>,
    },
    /// Nothing of this proposal is in the log or ever will be; it may be proposed again.
    Refused {
        /// The proposal that was not written.
        proposal: u64,
        /// Why.
        error: AppendError,
    },
    /// The engine cannot tell what is on its medium any more ([`AppendError::Io`]) and has stopped: whoever owns it must
    /// stop too, since a restart reads what is really there. Or it can ([`AppendError::Lost`]), and nothing can be added to it.
    Failed {
        /// What the medium said.
        error: AppendError,
    },
}

/// Why a proposal was not written.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// No space is left. Heals by itself once there is.
    #[error("no space is left for the log")]
    DiskFull,
    /// The medium is out of reach for now (a broker that is away). Heals by itself.
    #[error("the log is out of reach: {0}")]
    Unavailable(String),
    /// The medium failed in a way that leaves its content unknown.
    #[error("the log cannot be written: {0}")]
    Io(String),
    /// What was acknowledged is not in the log any more (a broker that lost its data), or the log is not ours. This node still
    /// knows what it was; a program that is started again could only refuse to.
    #[error("the log is not what it was: {0}")]
    Lost(String),
    /// A batch is larger than any engine takes. Proposing it again cannot help.
    #[error("a batch of {bytes} bytes is larger than the log takes")]
    TooLarge {
        /// Bytes of its payload.
        bytes: usize,
    },
}

/// Why a log could not be opened or read.
#[derive(Debug, Error)]
pub enum LogError {
    /// Another process has the log open for writing.
    #[error("the folder {0} is in use by another process")]
    Locked(PathBuf),
    /// Something other than a torn tail is wrong. Nothing was changed.
    #[error("the log is damaged in {file} at byte {offset} (frame {frame}): {reason}")]
    Damaged {
        /// The segment file.
        file: PathBuf,
        /// Where in the file the bad frame begins, in bytes.
        offset: u64,
        /// The number of the frame that must stand there.
        frame: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The asked position lies behind the oldest frame that is still there.
    #[error("the log begins after position {oldest}; {asked} was asked for")]
    Pruned {
        /// Where reading was to begin.
        asked: Position,
        /// Where it can begin.
        oldest: Position,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What could not be done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The broker is out of reach, or its queue is not what it must be.
    #[error("the log's broker: {reason}")]
    Broker {
        /// What is wrong.
        reason: String,
    },
    /// The database's archive holds what the log has no more, and not as it was archived. Waiting does not mend it.
    #[error("the archived part from {0} on is damaged")]
    Archive(Position),
    /// A batch inside an intact frame cannot be read.
    #[error("the batch at position {0} cannot be read: {1}")]
    Batch(Position, BatchError),
}

/// Where an engine's reports go. Called from the engine's own thread; must not block for long.
pub type Sink = Box<dyn FnMut(Report) + Send>;

/// The queue in front of the engine is full; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the log's queue is full")]
pub struct Busy;

/// One engine. Dropping it flushes what it took and releases its medium.
pub trait LogEngine: Send {
    /// Hands over a proposal. The outcome is reported to the sink: exactly one `Committed` or
    /// `Refused` with its id, unless the engine reports `Failed`.
    ///
    /// # Errors
    /// [`Busy`] when the bounded queue is full; the proposal was not taken.
    fn propose(&self, proposal: Proposal) -> Result<(), Busy>;

    /// The place of the newest committed batch.
    fn end(&self) -> Position;

    /// Whether a proposal made now can be expected to be written soon. False while a broker is away, or a disk that it has
    /// to be on too takes nothing.
    fn available(&self) -> bool {
        true
    }

    /// Whether it is this node's own disk that keeps proposals from being written, because it is full or hangs: another
    /// node may go on.
    fn is_held_up_by_its_disk(&self) -> bool {
        false
    }

    /// A reader of its own over what is committed, which may be used on another thread while the
    /// engine goes on writing.
    fn reader(&self) -> Arc<dyn LogReader>;
}

/// Batches in log order.
pub type Batches = Box<dyn Iterator<Item = Result<Committed, LogError>> + Send>;

/// Reads committed batches back.
pub trait LogReader: Send + Sync {
    /// The batches after `from`, up to what is committed when the iterator reaches it; then `None`.
    /// It may be called again from the last position to go on.
    ///
    /// # Errors
    /// [`LogError::Pruned`] when frames after `from` were removed, [`LogError::Damaged`] or
    /// [`LogError::Io`] when they cannot be read.
    fn read(&self, from: Position) -> Result<Batches, LogError>;
}
