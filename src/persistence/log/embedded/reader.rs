//! Reads committed batches while the writer goes on.

use super::super::places::Places;
use super::super::{Batches, Committed, LogError, LogReader, Position};
use super::Shared;
use super::segment::{Step, Walk};
use crate::domain::batch::Batch;
use std::sync::Arc;
use std::time::Duration;

/// A reader over the committed part of the log.
pub(super) struct Reader(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    places: Places<Walk>,
}

/// A walk holds an open file and what was read ahead of it.
const LASTING: Duration = Duration::from_secs(60);

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Reader {
        Reader(Arc::new(Inner { shared, places: Places::new(LASTING) }))
    }
}

impl LogReader for Reader {
    /// A position past the end gives nothing until the log has grown beyond it.
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        let walk = self.0.places.take(from);
        let mut batches =
            Reading { inner: Arc::clone(&self.0), at: from.0, walk, limit: 0, came_from: None, ended: false };
        // A walk that is taken up again may hold the beginning of a frame whose rest must still be read.
        match &batches.walk {
            Some(walk) => batches.limit = batches.limit_of(walk)?,
            None => batches.walk = batches.locate()?,
        }
        Ok(Box::new(batches))
    }
}

/// The batches after a position.
struct Reading {
    inner: Arc<Inner>,
    /// The last position that was handed out, or the one to begin after.
    at: u64,
    walk: Option<Walk>,
    /// How far the file of the walk may be read.
    limit: u64,
    /// The end of the segment before, for the chain from one to the next.
    came_from: Option<Walk>,
    ended: bool,
}

impl Reading {
    /// Opens the segment that holds the next frame and goes to its place. `None` when nothing after
    /// the place is committed.
    fn locate(&mut self) -> Result<Option<Walk>, LogError> {
        let (path, first) = {
            let state = self.inner.shared.state.lock();
            if self.at >= state.end {
                return Ok(None);
            }
            let later = state.segments.partition_point(|segment| segment.header.first <= self.at + 1);
            let Some(segment) = later.checked_sub(1).and_then(|index| state.segments.get(index)) else {
                return Err(LogError::Pruned { asked: Position(self.at), oldest: Position(state.oldest()) });
            };
            self.limit = segment.len;
            (segment.path.clone(), segment.header.first)
        };
        let mut walk = match Walk::open(&path, first) {
            Ok(walk) => walk,
            Err(error) => return Err(self.pruned_meanwhile().unwrap_or(error)),
        };
        if self.came_from.take().is_some_and(|before| before.chain != walk.chain) {
            return Err(walk.damaged("the chain of hashes breaks between this segment and the one before".into()));
        }
        walk.skip_through(self.at, self.limit)?;
        Ok(Some(walk))
    }

    fn pruned_meanwhile(&self) -> Option<LogError> {
        let oldest = self.inner.shared.state.lock().oldest();
        (self.at < oldest).then_some(LogError::Pruned { asked: Position(self.at), oldest: Position(oldest) })
    }

    /// How far the file of the walk may be read by now.
    fn limit_of(&self, walk: &Walk) -> Result<u64, LogError> {
        let committed = {
            let state = self.inner.shared.state.lock();
            state.segments.iter().rfind(|segment| segment.path == walk.path()).map(|segment| segment.len)
        };
        // A segment that is not listed any more was pruned, so it had been sealed.
        committed.map_or_else(|| walk.file_len(), Ok)
    }

    fn advance(&mut self) -> Result<Option<Committed>, LogError> {
        loop {
            if self.walk.is_none() {
                self.walk = self.locate()?;
            }
            let Some(walk) = self.walk.as_mut() else { return Ok(None) };
            match walk.step(self.limit)? {
                Step::Frame(frame) => {
                    let position = Position(frame.header.number);
                    let batch = Batch::decode(&frame.content).map_err(|error| LogError::Batch(position, error))?;
                    self.at = position.0;
                    return Ok(Some(Committed { position, batch: Arc::new(batch) }));
                }
                Step::Seal => self.came_from = self.walk.take(),
                Step::End => {
                    let Some(walk) = self.walk.as_ref() else { return Ok(None) };
                    let limit = self.limit_of(walk)?;
                    if limit <= self.limit {
                        return Ok(None);
                    }
                    self.limit = limit;
                }
                Step::Bad { reason, .. } => return Err(walk.damaged(reason)),
            }
        }
    }
}

impl Iterator for Reading {
    type Item = Result<Committed, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = matches!(next, Some(Err(_)));
        next
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(walk) = self.walk.take().filter(|walk| !self.ended && walk.next == self.at + 1) {
            self.inner.places.keep(Position(self.at), walk);
        }
    }
}
