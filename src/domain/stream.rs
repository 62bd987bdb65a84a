//! Which batches of a stream count, and the sequence numbers of their entries.
//!
//! The same rule holds for every reader of every stream, whatever the log's engine: an epoch begins
//! with its marker (an empty batch); batches of an older epoch that come later count for nobody;
//! batches carry consecutive numbers within their epoch, so a repeat is dropped.

use super::batch::Batch;
use super::ids::{Epoch, Sequence};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How far a stream was read: the fence, and the place of the newest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamState {
    /// The newest epoch.
    pub epoch: Epoch,
    /// The newest batch of that epoch.
    pub batch: u64,
    /// The newest entry.
    pub sequence: Sequence,
}

/// What a reader does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply its entries; the first has this sequence.
    Accept(Sequence),
    /// It is the marker of a newer epoch; what older epochs admitted and is not here is void.
    NewEpoch,
    /// It was read before.
    Repeat,
    /// A newer epoch has begun; it counts for nobody.
    Stale,
}

/// A batch is missing: what follows cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("batch {found} of epoch {epoch} follows batch {last}; one is missing")]
pub struct Gap {
    /// The epoch of the batch found.
    pub epoch: Epoch,
    /// The batch before.
    pub last: u64,
    /// The batch found.
    pub found: u64,
}

impl StreamState {
    /// Judges the next batch that the stream delivers and moves on past it.
    ///
    /// # Errors
    /// [`Gap`] when a batch before it is missing; nothing changes then.
    pub fn judge(&mut self, batch: &Batch) -> Result<Verdict, Gap> {
        #[cfg(test)]
        if let Some(verdict) = self.misjudge(batch) {
            return Ok(verdict);
        }
        if batch.epoch < self.epoch {
            return Ok(Verdict::Stale);
        }
        if batch.epoch > self.epoch {
            if batch.number != 1 {
                return Err(Gap { epoch: batch.epoch, last: 0, found: batch.number });
            }
            self.epoch = batch.epoch;
            self.batch = 1;
            if batch.count == 0 {
                return Ok(Verdict::NewEpoch);
            }
        } else if batch.number <= self.batch {
            return Ok(Verdict::Repeat);
        } else if batch.number != self.batch + 1 {
            return Err(Gap { epoch: batch.epoch, last: self.batch, found: batch.number });
        } else {
            self.batch = batch.number;
        }
        let first = self.sequence.next();
        self.sequence = Sequence(self.sequence.0 + u64::from(batch.count));
        Ok(Verdict::Accept(first))
    }
}

#[cfg(test)]
impl StreamState {
    /// What a reader without one of the rules would say.
    fn misjudge(&mut self, batch: &Batch) -> Option<Verdict> {
        use super::sabotage::{Mistake, is_made};
        let repeat = batch.epoch == self.epoch && batch.number <= self.batch;
        let accepted = batch.count > 0
            && (repeat && is_made(Mistake::AppliesRepeats)
                || batch.epoch < self.epoch && is_made(Mistake::IgnoresTheFence));
        accepted.then(|| {
            let first = self.sequence.next();
            self.sequence = Sequence(self.sequence.0 + u64::from(batch.count));
            Verdict::Accept(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::StreamId;
    use crate::domain::time::Timestamp;
    use bytes::Bytes;

    fn batch(counter: u64, number: u64, count: u32) -> Batch {
        let epoch = Epoch { counter, node: 0 };
        Batch { stream: StreamId::Ledger, epoch, number, at: Timestamp(0), count, payload: Bytes::new() }
    }

    #[test]
    fn a_reader_takes_each_batch_of_the_newest_epoch_once() {
        let mut state = StreamState::default();
        let gap = |counter, last, found| Err(Gap { epoch: Epoch { counter, node: 0 }, last, found });
        let script = [
            (batch(1, 1, 0), Ok(Verdict::NewEpoch)),
            (batch(1, 2, 3), Ok(Verdict::Accept(Sequence(1)))),
            (batch(1, 2, 3), Ok(Verdict::Repeat)),
            (batch(1, 4, 1), gap(1, 2, 4)),
            (batch(1, 3, 1), Ok(Verdict::Accept(Sequence(4)))),
            (batch(3, 2, 1), gap(3, 0, 2)),
            (batch(3, 1, 0), Ok(Verdict::NewEpoch)),
            (batch(1, 4, 9), Ok(Verdict::Stale)),
            (batch(2, 1, 9), Ok(Verdict::Stale)),
            (batch(3, 2, 1), Ok(Verdict::Accept(Sequence(5)))),
            (batch(3, 1, 0), Ok(Verdict::Repeat)),
        ];
        for (step, (batch, expected)) in script.iter().enumerate() {
            assert_eq!(state.judge(batch), *expected, "step {step}");
        }
        assert_eq!(state, StreamState { epoch: Epoch { counter: 3, node: 0 }, batch: 2, sequence: Sequence(5) });
    }
}
