//! The newest batches, in memory.

use crate::persistence::log::{Committed, Position};
use std::collections::VecDeque;

/// How far the queue was read, and the newest batches of it.
#[derive(Default)]
pub(super) struct Tail {
    /// Messages read so far, those that are no batches included: the offset of the next one.
    next: u64,
    /// The newest batch.
    end: Position,
    /// Every batch after this position is in `batches`.
    floor: u64,
    batches: VecDeque<Committed>,
    bytes: usize,
}

impl Tail {
    /// A tail that begins to read at this offset; the newest batch before it stands at `end`.
    pub(super) fn at(next: u64, end: Position) -> Tail {
        Tail { next, end, floor: next, ..Tail::default() }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn end(&self) -> Position {
        self.end
    }

    pub(super) fn floor(&self) -> Position {
        Position(self.floor)
    }

    /// The newest batch, if memory has it.
    pub(super) fn newest(&self) -> Option<Committed> {
        self.batches.back().cloned()
    }

    /// The next message was no batch.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    /// Adds the next batch and forgets the oldest beyond `bound` bytes.
    pub(super) fn push(&mut self, committed: Committed, bound: usize) {
        self.next = committed.position.0;
        self.end = committed.position;
        self.bytes += committed.batch.encoded_len();
        self.batches.push_back(committed);
        while self.bytes > bound
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.batch.encoded_len();
            self.floor = oldest.position.0;
        }
    }

    /// The first batch after `at`, if memory goes back so far.
    pub(super) fn after(&self, at: Position) -> Option<Committed> {
        if at.0 < self.floor {
            return None;
        }
        let index = self.batches.partition_point(|committed| committed.position <= at);
        self.batches.get(index).cloned()
    }
}
