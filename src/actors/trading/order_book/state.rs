//! What primary and twin of an order book have alike.

use super::super::recent::Recent;
use super::super::twin::Standby;
use crate::domain::order::Side;
use crate::domain::replica::MarketReplica;
use crate::domain::stream::StreamState;
use crate::domain::venue::StateHash;
use crate::persistence::log::{Committed, Position};

/// A book with more live orders is not copied on the trading thread, nor hashed there as a whole.
pub(super) const SMALL: usize = 20_000;

/// Everything that follows from a market's stream: what primary and twin have alike.
#[derive(Clone)]
pub struct BookState {
    /// The book and its place in its stream.
    pub replica: MarketReplica,
    /// What ended of late.
    pub recent: Recent,
    /// The position of the newest batch that was read.
    pub position: Position,
}

impl Standby for BookState {
    type Item = Committed;
    type Mark = StreamState;

    fn apply(&mut self, committed: &Committed) -> Result<(), String> {
        #[cfg(test)]
        if crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::TwinSkipsEntries) {
            self.replica.stream.judge(&committed.batch).map_err(|gap| gap.to_string())?;
            self.position = committed.position;
            return Ok(());
        }
        if let Some(outcomes) = self.replica.read(&committed.batch).map_err(|error| error.to_string())? {
            self.recent.add(&outcomes, committed.position);
        }
        self.position = committed.position;
        Ok(())
    }

    fn mark(&self) -> StreamState {
        self.replica.stream
    }

    /// Of the whole state when the book is small; else of what any difference in fills, ids or levels would show in.
    fn hash(&self) -> StateHash {
        let book = &self.replica.book;
        if book.live_orders() <= SMALL {
            return StateHash::of(&self.replica);
        }
        let best = [Side::Buy, Side::Sell].map(|side| book.best(side));
        let counts = (book.live_orders(), book.accepted_orders(), book.feed_sequence());
        StateHash::of(&(self.replica.stream, counts, book.fill_digest(), best))
    }
}
