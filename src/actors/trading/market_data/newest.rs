//! The newest batches of a market, in memory for readers that missed some.

use crate::domain::event::Fill;
use crate::domain::ids::Sequence;
use crate::domain::replica::MarketOutcomes;
use crate::domain::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many of the newest events are kept for readers that missed some.
const KEPT_EVENTS: usize = 16_384;

/// The newest batches, whole, up to [`KEPT_EVENTS`] events.
#[derive(Debug, Default)]
pub(super) struct Newest {
    batches: VecDeque<Arc<MarketOutcomes>>,
    events: usize,
    /// The newest trade.
    pub(super) last_fill: Option<(u64, Timestamp, Fill)>,
}

impl Newest {
    pub(super) fn add(&mut self, outcomes: &Arc<MarketOutcomes>, last_fill: Option<&(u64, Fill)>) {
        // After a restart the actor may come across batches again that are here already.
        let known = self.batches.back().is_some_and(|newest| newest.last() >= outcomes.last());
        if outcomes.events.is_empty() || known {
            return;
        }
        // Whoever reads on from here must not step over a hole: what is older is in the archive.
        if self.batches.back().is_some_and(|newest| newest.feed_after() != outcomes.feed_before) {
            *self = Newest::default();
        }
        if let Some((sequence, fill)) = last_fill {
            self.last_fill = Some((*sequence, outcomes.at, *fill));
        }
        self.events += outcomes.events.len();
        self.batches.push_back(outcomes.clone());
        while self.events > KEPT_EVENTS && self.batches.len() > 1 {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.events -= oldest.events.len();
        }
    }

    /// All of them, oldest first.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Arc<MarketOutcomes>> {
        self.batches.iter()
    }

    /// The batches after entry `done` that hold events after this sequence, about `limit` events of them: as long as
    /// these are fewer, they are all there are. Private events have the sequence of the public one before them, so the
    /// batch that holds this very sequence comes first. `None` when memory does not go back so far; `newest` is the
    /// newest sequence of the market.
    pub(super) fn after(
        &self,
        sequence: u64,
        done: Sequence,
        limit: usize,
        newest: u64,
    ) -> Option<Vec<Arc<MarketOutcomes>>> {
        let reaches_back = self.batches.front().is_some_and(|first| first.feed_before <= sequence);
        if !reaches_back && sequence < newest {
            return None;
        }
        let mut left = limit;
        let begin = self.batches.partition_point(|batch| batch.feed_after() < sequence || batch.last() <= done);
        let wanted = self.batches.iter().skip(begin).take_while(|batch| {
            let more = left > 0;
            left = left.saturating_sub(batch.events.len());
            more
        });
        Some(wanted.cloned().collect())
    }

    /// Whether no private event that follows the public one of this sequence is missing here. They have its number, so
    /// the oldest batch does not tell when it begins right after that one: others may have been before it, unless it is
    /// the next after those that were taken, up to entry `done`.
    pub(super) fn is_whole_after(&self, sequence: u64, done: Sequence) -> bool {
        self.batches.front().is_some_and(|first| first.feed_before < sequence || first.first <= done.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::examples::{canceled, outcomes_of};

    /// A batch of one entry with so many public events and then so many private ones.
    fn batch(entry: u64, feed_before: u64, public: usize, private: usize) -> Arc<MarketOutcomes> {
        let events: Vec<Event> = (0..public + private).map(|n| canceled(n >= public)).collect();
        Arc::new(outcomes_of(entry, feed_before, events))
    }

    /// The entries of the batches that memory has to give.
    fn found(recent: &Newest, after: u64, done: u64, newest: u64) -> Option<Vec<u64>> {
        let batches = recent.after(after, Sequence(done), 4, newest)?;
        Some(batches.iter().map(|batch| batch.first.0).collect())
    }

    #[test]
    fn memory_gives_what_comes_after_a_sequence_or_says_that_it_does_not_go_back_so_far() {
        let mut recent = Newest::default();
        assert_eq!(found(&recent, 10, 0, 10), Some(vec![]));
        assert_eq!(found(&recent, 9, 0, 10), None);
        for (entry, before, public) in [(21, 10, 2), (22, 12, 3), (23, 15, 1)] {
            recent.add(&batch(entry, before, public, 0), None);
        }
        assert_eq!(found(&recent, 9, 0, 16), None);
        // The limit of 4 is reached with the second batch.
        assert_eq!(found(&recent, 10, 0, 16), Some(vec![21, 22]));
        assert_eq!(found(&recent, 13, 21, 16), Some(vec![22, 23]));
        assert_eq!(found(&recent, 13, 22, 16), Some(vec![23]));
        assert_eq!(found(&recent, 16, 23, 16), Some(vec![]));
        // A batch that is there already changes nothing.
        recent.add(&batch(22, 12, 3, 0), None);
        assert_eq!(recent.events, 6);
    }

    #[test]
    fn private_events_after_the_newest_public_one_are_given_too() {
        let mut recent = Newest::default();
        recent.add(&batch(1, 0, 2, 1), None);
        recent.add(&batch(2, 2, 0, 1), None);
        assert_eq!(found(&recent, 2, 0, 2), Some(vec![1, 2]));
        assert_eq!(found(&recent, 2, 1, 2), Some(vec![2]));
        assert_eq!(found(&recent, 2, 2, 2), Some(vec![]));
    }

    #[test]
    fn private_events_that_memory_may_lack_are_told_of() {
        let mut recent = Newest::default();
        let whole = |recent: &Newest, after, done| recent.is_whole_after(after, Sequence(done));
        assert!(!whole(&recent, 0, 0) && !whole(&recent, 5, 0), "nothing is here");
        // What came between the second event and this batch is not here.
        recent.add(&batch(9, 2, 0, 1), None);
        recent.add(&batch(10, 2, 1, 0), None);
        assert!(!whole(&recent, 1, 0) && !whole(&recent, 2, 0) && whole(&recent, 3, 0));
        assert!(!whole(&recent, 2, 7) && whole(&recent, 2, 8) && whole(&recent, 2, 9));
        // Before the first entry of the stream there is nothing.
        let mut all = Newest::default();
        all.add(&batch(1, 0, 0, 2), None);
        assert!(whole(&all, 0, 0));
    }

    #[test]
    fn memory_begins_anew_after_a_hole() {
        let mut recent = Newest::default();
        recent.add(&batch(1, 0, 3, 0), None);
        recent.add(&batch(5, 9, 2, 0), None);
        assert_eq!(recent.events, 2);
        assert_eq!(found(&recent, 1, 0, 11), None);
        assert_eq!(found(&recent, 3, 0, 11), None);
        assert_eq!(found(&recent, 9, 0, 11), Some(vec![5]));
    }
}
