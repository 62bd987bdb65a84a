//! The embedded engine: segment files in one folder, one writer thread, group commit.
//!
//! Owns the folder: an exclusive lock on its file `LOCK` keeps other processes from writing. What is
//! in the files is described in `embedded/frame.rs`.
//!
//! Invariants: a batch is reported as committed only after it was flushed; nothing beyond the
//! committed end is ever read; a write goes to one segment, and a segment's successor exists on
//! disk before its seal does; opening repairs a torn last write and nothing else.

mod frame;
mod reader;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use super::{Busy, Committed, LogEngine, LogError, LogReader, Position, Proposal, Sink};
use crate::domain::batch::Batch;
use bytes::Bytes;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use reader::Reader;
use recover::Found;
use segment::{Segment, io_error};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use writer::Writer;

/// Bytes that a frame adds to its batch.
pub const FRAME_OVERHEAD: usize = frame::FRAME_HEADER;

/// How an embedded log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the segment files; made when it is not there.
    pub folder: PathBuf,
    /// A new segment is begun before one grows beyond this many bytes. A single proposal that is
    /// larger gets a segment of its own.
    pub segment_bytes: u64,
    /// So many zeroes are written ahead whenever the newest segment must grow, so that the flushes
    /// after that have no file length to write. 0 grows the file by what is appended.
    pub ahead_bytes: u64,
    /// The most bytes that all segments together may take; proposals beyond are refused as if the
    /// disk were full, until old segments are pruned.
    pub max_bytes: Option<u64>,
    /// How many proposals may wait for the writer.
    pub queue: usize,
    /// A write takes no further proposals from the queue once it has this many bytes.
    pub write_bytes: usize,
}

impl Options {
    /// The usual settings for a log in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Options {
        Options {
            folder: folder.into(),
            segment_bytes: 64 << 20,
            ahead_bytes: 256 << 10,
            max_bytes: None,
            queue: 1024,
            write_bytes: 4 << 20,
        }
    }
}

/// What opening a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Reading may begin here or later; older segments were pruned.
    pub oldest: Position,
    /// The place of the newest batch.
    pub end: Position,
    /// The write that was under way when the log was last written, if it did not get through.
    /// None of its cut frames was ever reported as committed.
    pub torn: Option<TornTail>,
}

/// The remains of a write that did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Where the remains begin; the file was cut here.
    pub offset: u64,
    /// How many bytes there were, zeroes at the end not counted.
    pub bytes: u64,
}

/// A segment that will never change again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// The file.
    pub path: PathBuf,
    /// The place of its first batch.
    pub first: Position,
    /// The place of its last batch.
    pub last: Position,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What a full check of a log folder found in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What opening it for writing would find; a torn tail is told, and left alone.
    pub opened: Opened,
    /// How many segments there are.
    pub segments: usize,
    /// How many bytes of frames were checked.
    pub bytes: u64,
}

/// What writer, readers and the owner know together.
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
    /// Held while files are removed, so that they go oldest first.
    pruning: Mutex<()>,
}

/// The committed part of the log. Only ever describes what was flushed.
struct State {
    /// Ascending, without gaps; the newest is the last.
    segments: Vec<Segment>,
    /// The number of the newest committed frame.
    end: u64,
}

impl State {
    /// The place before the oldest frame that is still there.
    fn oldest(&self) -> u64 {
        self.segments.first().map_or(self.end, |segment| segment.header.first - 1)
    }

    /// Takes the oldest segment out, if it is not the newest and all its frames are at or before this one.
    fn take_oldest(&mut self, through: u64) -> Option<Segment> {
        let next = self.segments.get(1)?;
        (next.header.first <= through.saturating_add(1)).then(|| self.segments.remove(0))
    }
}

impl Shared {
    fn new(folder: &Path, found: &Found) -> Arc<Shared> {
        let state = State { segments: found.segments.clone(), end: found.end };
        Arc::new(Shared { folder: folder.to_path_buf(), state: Mutex::new(state), pruning: Mutex::new(()) })
    }
}

impl Found {
    fn opened(&self) -> Opened {
        let oldest = self.segments.first().map_or(self.end, |segment| segment.header.first - 1);
        Opened { oldest: Position(oldest), end: Position(self.end), torn: self.torn.clone() }
    }
}

/// The embedded log, open for writing.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while it is being dropped.
    queue: Option<Sender<Proposal>>,
    writer: Option<JoinHandle<()>>,
    /// Holds the lock until it is closed.
    _lock: File,
}

impl Embedded {
    /// Opens the log, or begins one. A torn tail is cut and told; the log then ends before it. All
    /// that is found good is flushed before it is called committed.
    ///
    /// # Errors
    /// [`LogError::Locked`] when another writer has the folder; [`LogError::Damaged`] when anything
    /// but the last write is damaged, and nothing was changed; [`LogError::Io`].
    pub fn open(options: Options, sink: Sink) -> Result<(Embedded, Opened), LogError> {
        let folder = options.folder.clone();
        std::fs::create_dir_all(&folder)
            .map_err(io_error(|| format!("the log folder {} cannot be made", folder.display())))?;
        let lock = lock(&folder)?;
        let mut found = recover::inspect(&folder, false)?;
        let opened = found.opened();
        let file = writer::make_ready(&folder, &mut found)?;
        let shared = Shared::new(&folder, &found);
        let (queue, proposals) = crossbeam_channel::bounded(options.queue.max(1));
        let writer = Writer::new(options, Arc::clone(&shared), proposals, sink, file, found.chain)
            .map_err(io_error(|| "the newest segment cannot be used"))?;
        let writer = std::thread::Builder::new()
            .name("event-log".into())
            .spawn(move || writer.run())
            .map_err(io_error(|| "the log's writer thread cannot be started"))?;
        if let Some(torn) = &opened.torn {
            tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, "cut a torn write off the log");
        }
        Ok((Embedded { shared, queue: Some(queue), writer: Some(writer), _lock: lock }, opened))
    }

    /// The segments that will not change any more, oldest first. An archiver may copy them.
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        sealed(&self.shared.state.lock())
    }

    /// Removes the segments all of whose batches lie at or before `through`, and returns their
    /// files. Reading from `through` still works; the newest segment always stays. They go oldest first, so that what
    /// stays has no hole, whenever this ends.
    ///
    /// # Errors
    /// [`LogError::Io`] when a file cannot be removed: it stays, and all after it.
    pub fn prune(&self, through: Position) -> Result<Vec<PathBuf>, LogError> {
        let _one_at_a_time = self.shared.pruning.lock();
        let mut pruned = Vec::new();
        let mut outcome = Ok(());
        loop {
            // Nobody finds it here any more when its file goes.
            let Some(oldest) = self.shared.state.lock().take_oldest(through.0) else { break };
            match std::fs::remove_file(&oldest.path) {
                // Somebody has made room by hand.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    outcome = Err(io_error(|| format!("{} cannot be removed", oldest.path.display()))(error));
                    self.shared.state.lock().segments.insert(0, oldest);
                    break;
                }
                Ok(()) | Err(_) => pruned.push(oldest.path),
            }
        }
        if !pruned.is_empty() {
            sync_folder(&self.shared.folder)
                .map_err(io_error(|| format!("{} cannot be flushed", self.shared.folder.display())))?;
        }
        outcome.map(|()| pruned)
    }
}

impl LogEngine for Embedded {
    /// After a `Failed` report nothing is taken any more.
    fn propose(&self, proposal: Proposal) -> Result<(), Busy> {
        self.queue.as_ref().map_or(Err(Busy), |queue| queue.try_send(proposal).map_err(|_| Busy))
    }

    fn end(&self) -> Position {
        Position(self.shared.state.lock().end)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(Reader::new(Arc::clone(&self.shared)))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer ends when the queue is empty and has no sender left.
        self.queue = None;
        if let Some(Err(_)) = self.writer.take().map(JoinHandle::join) {
            tracing::error!("the log's writer thread has panicked");
        }
    }
}

/// A log as it stood when it was opened, for tools. Takes no lock and changes nothing, so a writer
/// may be at work on it.
pub struct ReadOnly {
    shared: Arc<Shared>,
}

impl ReadOnly {
    /// Looks at the log in `folder`.
    ///
    /// # Errors
    /// [`LogError::Damaged`] and [`LogError::Io`], as [`Embedded::open`].
    pub fn open(folder: &Path) -> Result<(ReadOnly, Opened), LogError> {
        let found = recover::inspect(folder, false)?;
        Ok((ReadOnly { shared: Shared::new(folder, &found) }, found.opened()))
    }

    /// The place of the newest batch when it was opened.
    pub fn end(&self) -> Position {
        Position(self.shared.state.lock().end)
    }

    /// A reader over what was there when it was opened.
    pub fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(Reader::new(Arc::clone(&self.shared)))
    }

    /// The segments that will not change any more, oldest first.
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        sealed(&self.shared.state.lock())
    }
}

/// The file in `folder` of the segment whose first batch is at `first`.
pub fn segment_path(folder: &Path, first: Position) -> PathBuf {
    segment::path_of(folder, first.0)
}

/// The batches of a sealed segment, from its content; `None` when that is not as it was written.
pub fn batches_of(content: Bytes) -> Option<Vec<Committed>> {
    let header = frame::FileHeader::decode(&content).ok()?;
    let (mut next, mut chain) = (header.first, header.chain);
    let (salt, mut rest) = (chain.salt(), content.slice(frame::FILE_HEADER..));
    let mut batches = Vec::new();
    loop {
        let frame = frame::FrameHeader::decode(&rest, salt).filter(|frame| frame.number == next)?;
        if frame.seal {
            return (frame.chain == chain).then_some(batches);
        }
        let end = frame::FRAME_HEADER + frame.len as usize;
        let content = (rest.len() >= end).then(|| rest.slice(frame::FRAME_HEADER..end))?;
        chain = chain.after(next, &content);
        if frame.chain != chain {
            return None;
        }
        batches.push(Committed { position: Position(next), batch: Arc::new(Batch::decode(&content).ok()?) });
        rest = rest.slice(end..);
        next += 1;
    }
}

/// Checks every frame of every segment in `folder`: numbers, checksums and the chain of hashes.
/// Takes no lock and changes nothing.
///
/// # Errors
/// [`LogError::Damaged`] names the first damaged place; [`LogError::Io`].
pub fn verify(folder: &Path) -> Result<Verified, LogError> {
    let found = recover::inspect(folder, true)?;
    let bytes = found.segments.iter().map(|segment| segment.len).sum();
    Ok(Verified { opened: found.opened(), segments: found.segments.len(), bytes })
}

fn sealed(state: &State) -> Vec<SealedSegment> {
    let next = state.segments.iter().skip(1);
    let pairs = state.segments.iter().zip(next);
    pairs
        .map(|(segment, next)| SealedSegment {
            path: segment.path.clone(),
            first: Position(segment.header.first),
            last: Position(next.header.first - 1),
            bytes: segment.len,
        })
        .collect()
}

/// Takes the folder for this process, as long as the file that is returned stays open.
fn lock(folder: &Path) -> Result<File, LogError> {
    let path = folder.join("LOCK");
    let what = || format!("{} cannot be locked", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io_error(what))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked(folder.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(LogError::Io { what: what(), source }),
    }
}

/// Makes the names of the files in the folder durable.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
