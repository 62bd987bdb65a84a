//! State machines with their place in the stream: judge a batch, decode it, apply it.
//!
//! Live traffic, recovery, projection, hot standby and audit all read batches through these few
//! lines, so they cannot disagree.

use super::batch::Batch;
use super::book::Book;
use super::client_ids::ClientIds;
use super::codec::{CodecError, Entries};
use super::entry::{LedgerEntry, MarketEntry};
use super::event::Event;
use super::ids::{Epoch, MarketId, Sequence, Ticket};
use super::ledger::{Ledger, LedgerOutcome};
use super::order::OrderRecord;
use super::posting::{Pair, Posting};
use super::stream::{Gap, StreamState, Verdict};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a batch cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplicaError {
    /// A batch before it is missing.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// An entry cannot be read.
    #[error("entry {0:?} cannot be read: {1}")]
    Codec(Sequence, CodecError),
    /// The header promises another number of entries than there are.
    #[error("a batch holds another number of entries than its header says")]
    Count,
}

/// Where the outcomes of one entry end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryEnd {
    /// Who waits for them.
    pub ticket: Ticket,
    /// The index of the first event after them.
    pub end: u32,
}

/// What one batch of a market's stream produced.
#[derive(Clone, Debug)]
pub struct MarketOutcomes {
    /// The market.
    pub market: MarketId,
    /// The epoch of the batch.
    pub epoch: Epoch,
    /// Its time.
    pub at: Timestamp,
    /// The sequence of its first entry.
    pub first: Sequence,
    /// The feed sequence before its first event.
    pub feed_before: u64,
    /// One for each entry.
    pub entries: Vec<EntryEnd>,
    /// All events, in order.
    pub events: Vec<Event>,
    /// The tickets of the parts of atomic batches, whose holds go with them.
    pub parts: Vec<Ticket>,
    /// The records of the orders that ended, if the book keeps them.
    pub ended: Vec<OrderRecord>,
    /// Whether the market's rules may be others than before.
    pub rules_changed: bool,
    /// Whether the batch was the marker of a new epoch; then it has no entries.
    pub marker: bool,
}

impl MarketOutcomes {
    /// The sequence of the last entry; of the one before the first when there are none.
    pub fn last(&self) -> Sequence {
        Sequence(self.first.0 + self.entries.len() as u64 - 1)
    }

    /// The feed sequence after its last event.
    pub fn feed_after(&self) -> u64 {
        self.feed_before + self.events.iter().filter(|event| event.is_public()).count() as u64
    }

    /// The entries with the events of each.
    pub fn by_entry(&self) -> impl Iterator<Item = (Sequence, Ticket, &[Event])> {
        let mut start = 0;
        self.entries.iter().zip(self.first.0..).map(move |(entry, sequence)| {
            let events = self.events.get(start..entry.end as usize).unwrap_or_default();
            start = entry.end as usize;
            (Sequence(sequence), entry.ticket, events)
        })
    }

    /// All events with the feed sequence after each; a public event's own is that number.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Event)> {
        let mut sequence = self.feed_before;
        self.events.iter().map(move |event| {
            sequence += u64::from(event.is_public());
            (sequence, event)
        })
    }
}

/// A market's book and its place in its stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MarketReplica {
    /// The book.
    pub book: Book,
    /// How far its stream was read.
    pub stream: StreamState,
}

impl MarketReplica {
    /// An empty book at the start of its stream.
    pub fn new(book: Book) -> MarketReplica {
        MarketReplica { book, stream: StreamState::default() }
    }

    /// Reads the next batch. `None` when it counts for nobody or was read before.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was applied then, and nothing after it can be.
    pub fn read(&mut self, batch: &Batch) -> Result<Option<MarketOutcomes>, ReplicaError> {
        self.read_each(batch, |_| {})
    }

    /// The same; `next` hears of every entry before it is applied.
    ///
    /// # Errors
    /// As [`MarketReplica::read`].
    pub fn read_each(
        &mut self,
        batch: &Batch,
        mut next: impl FnMut(Sequence),
    ) -> Result<Option<MarketOutcomes>, ReplicaError> {
        let mut stream = self.stream;
        let verdict = stream.judge(batch)?;
        let (first, marker) = match verdict {
            Verdict::Accept(first) => (first, false),
            Verdict::NewEpoch => (stream.sequence.next(), true),
            Verdict::Repeat | Verdict::Stale => {
                self.stream = stream;
                return Ok(None);
            }
        };
        let decoded = decode::<MarketEntry>(batch, first)?;
        self.stream = stream;
        let mut outcomes = MarketOutcomes {
            market: self.book.config().id,
            epoch: batch.epoch,
            at: batch.at,
            first,
            feed_before: self.book.feed_sequence(),
            entries: Vec::with_capacity(decoded.len()),
            events: Vec::with_capacity(decoded.len() * 2),
            parts: Vec::new(),
            ended: Vec::new(),
            rules_changed: false,
            marker,
        };
        for (at, (entry, sequence)) in decoded.iter().zip(first.0..).enumerate() {
            if at % Book::LOOK_AHEAD == 0 {
                self.book.look_ahead(decoded.get(at..).unwrap_or_default());
            }
            next(Sequence(sequence));
            #[cfg(test)]
            stumble(entry);
            self.book.apply(batch.at, entry, &mut outcomes.events);
            outcomes.entries.push(EntryEnd { ticket: entry.ticket(), end: outcomes.events.len() as u32 });
            if let MarketEntry::Atomic(batch) = entry {
                outcomes.parts.extend(batch.part_tickets());
            }
            outcomes.rules_changed |= matches!(entry, MarketEntry::Configure(_) | MarketEntry::Reconfigure { .. });
        }
        outcomes.ended = self.book.take_ended();
        Ok(Some(outcomes))
    }
}

/// What one batch of the ledger's stream produced.
#[derive(Clone, Debug)]
pub struct LedgerOutcomes {
    /// The epoch of the batch.
    pub epoch: Epoch,
    /// Its time.
    pub at: Timestamp,
    /// The sequence of its first entry.
    pub first: Sequence,
    /// One for each entry: who waits, what happened, and where its postings end.
    pub entries: Vec<(Ticket, LedgerOutcome, u32)>,
    /// All postings, in order.
    pub postings: Vec<Posting>,
    /// Whether the batch was the marker of a new epoch; then it has no entries.
    pub marker: bool,
}

/// The ledger with its place in its own stream and in every market's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerReplica {
    /// The balances.
    pub ledger: Ledger,
    /// How far its own stream was read.
    pub stream: StreamState,
    /// The newest entry of each market whose outcomes are in the balances.
    pub markets: Vec<Sequence>,
    /// The newest client order ids.
    pub client_ids: ClientIds,
}

impl Default for LedgerReplica {
    fn default() -> LedgerReplica {
        LedgerReplica {
            ledger: Ledger::new(),
            stream: StreamState::default(),
            markets: Vec::new(),
            client_ids: ClientIds::default(),
        }
    }
}

impl LedgerReplica {
    /// Reads the next batch of the ledger's stream. `None` when it counts for nobody or was read
    /// before.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing was applied then, and nothing after it can be.
    pub fn read(&mut self, batch: &Batch) -> Result<Option<LedgerOutcomes>, ReplicaError> {
        let mut stream = self.stream;
        let verdict = stream.judge(batch)?;
        let (first, marker) = match verdict {
            Verdict::Accept(first) => (first, false),
            Verdict::NewEpoch => (stream.sequence.next(), true),
            Verdict::Repeat | Verdict::Stale => {
                self.stream = stream;
                return Ok(None);
            }
        };
        let decoded = decode::<LedgerEntry>(batch, first)?;
        self.stream = stream;
        let mut outcomes = LedgerOutcomes {
            epoch: batch.epoch,
            at: batch.at,
            first,
            entries: Vec::new(),
            postings: Vec::new(),
            marker,
        };
        for entry in &decoded {
            let outcome = self.ledger.apply(entry, &mut outcomes.postings);
            outcomes.entries.push((entry.ticket(), outcome, outcomes.postings.len() as u32));
        }
        Ok(Some(outcomes))
    }

    /// Adds what a market's batch moved; entries that were added before are left out. `posted`
    /// hears of every posting and of those that its event made after it; the ledger stands after all of them.
    pub fn add(&mut self, outcomes: &MarketOutcomes, mut posted: impl FnMut(&Ledger, &Posting, &[Posting])) {
        let index = usize::from(outcomes.market.0);
        if self.markets.len() <= index {
            self.markets.resize(index + 1, Sequence::default());
        }
        let Some(config) = self.ledger.market(outcomes.market).map(|(config, _)| config) else { return };
        let pair = Pair { base: config.base, quote: config.quote };
        let Some(newest) = self.markets.get_mut(index) else { return };
        let known = *newest;
        *newest = outcomes.last().max(known);
        let mut group = Vec::with_capacity(8);
        for (sequence, _, events) in outcomes.by_entry() {
            if sequence <= known {
                continue;
            }
            for event in events {
                group.clear();
                pair.postings(event, |posting| group.push(posting));
                self.ledger.post(&group);
                for (at, posting) in group.iter().enumerate() {
                    posted(&self.ledger, posting, group.get(at + 1..).unwrap_or_default());
                }
                if let Event::Accepted(id, order) = event
                    && let Some(client_id) = order.client_id
                {
                    self.client_ids.remember(order.account, client_id, outcomes.market, *id);
                }
            }
        }
    }
}

/// The entries of a batch, whose first has this sequence.
///
/// # Errors
/// [`ReplicaError`] when one cannot be read or there are more or fewer than the header says.
pub fn decode<E: super::codec::Coded>(batch: &Batch, first: Sequence) -> Result<Vec<E>, ReplicaError> {
    let mut decoded = Vec::with_capacity(batch.count as usize);
    for (entry, sequence) in Entries::<E>::new(&batch.payload).zip(first.0..) {
        decoded.push(entry.map_err(|error| ReplicaError::Codec(Sequence(sequence), error))?);
    }
    if decoded.len() == batch.count as usize { Ok(decoded) } else { Err(ReplicaError::Count) }
}

#[cfg(test)]
fn stumble(entry: &MarketEntry) {
    use super::sabotage::{Mistake, STUMBLING_BLOCK, is_made};
    if let MarketEntry::Place(order) = entry {
        assert!(order.size.0 != STUMBLING_BLOCK || !is_made(Mistake::Stumbles), "a mistake made on purpose");
    }
}
