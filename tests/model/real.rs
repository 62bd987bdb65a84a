//! The domain under test, as one state.

use crate::bank::{BASE, QUOTE};
use crate::flow::Scene;
use agora::domain::batch::Batch;
use agora::domain::book::Book;
use agora::domain::codec::Entries;
use agora::domain::entry::{LedgerEntry, MarketEntry};
use agora::domain::event::{Crossed, Event};
use agora::domain::ids::{OrderId, StreamId};
use agora::domain::ledger::Ledger;
use agora::domain::posting::Pair;
use agora::domain::time::Timestamp;
use bytes::Bytes;

/// The first thing that differed.
pub type Differs = String;

const PAIR: Pair = Pair { base: BASE, quote: QUOTE };

/// The domain under test.
pub struct Real {
    pub book: Book,
    pub ledger: Ledger,
}

impl Real {
    /// Nothing but the market's rules, before the first entry.
    pub fn new(scene: &Scene) -> Result<Real, Differs> {
        let [base, quote] = &scene.currencies;
        let scale = scene.config.validate(base, quote).map_err(|e| e.to_string())?;
        Ok(Real { book: Book::new(scene.config.clone(), scale), ledger: Ledger::new() })
    }

    pub fn apply(&mut self, at: Timestamp, entry: &MarketEntry, events: &mut Vec<Event>) {
        self.book.apply(at, entry, events);
        for event in &*events {
            let mut postings = Vec::new();
            PAIR.postings(event, |posting| postings.push(posting));
            self.ledger.post(&postings);
        }
    }

    /// Applies encoded batches, as recovery does.
    pub fn replay(&mut self, log: &[Bytes]) -> Result<(), Differs> {
        for bytes in log {
            let batch = Batch::decode(bytes).map_err(|e| e.to_string())?;
            if batch.stream == StreamId::Ledger {
                for entry in Entries::<LedgerEntry>::new(&batch.payload) {
                    self.ledger.apply(&entry.map_err(|e| e.to_string())?, &mut Vec::new());
                }
            } else {
                for entry in Entries::<MarketEntry>::new(&batch.payload) {
                    self.apply(batch.at, &entry.map_err(|e| e.to_string())?, &mut Vec::new());
                }
            }
        }
        Ok(())
    }

    pub fn image(&self) -> Result<Vec<u8>, Differs> {
        postcard::to_stdvec(&(&self.book, &self.ledger)).map_err(|e| e.to_string())
    }

    pub fn from_image(bytes: &[u8]) -> Result<Real, Differs> {
        let (book, ledger) = postcard::from_bytes(bytes).map_err(|e| e.to_string())?;
        Ok(Real { book, ledger })
    }
}

/// The orders that an event is about.
pub fn named(event: &Event) -> [Option<OrderId>; 2] {
    match event {
        Event::Accepted(id, _) => [Some(*id), None],
        Event::Opened(opened) => [Some(opened.id), None],
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => [Some(fill.maker), Some(fill.taker)],
        Event::Changed(change) => [Some(change.id), None],
        Event::Triggered(triggered) => [Some(triggered.id), None],
        Event::Done(done) => [Some(done.id), None],
        Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::BatchRefused { .. }
        | Event::Configured(_)
        | Event::Phase(_) => [None, None],
    }
}

/// The event as the reference says it: where a book keeps its orders is no rule.
pub fn without_slots(mut event: Event) -> Event {
    match &mut event {
        Event::Accepted(id, _) => id.slot = 0,
        Event::Opened(opened) => opened.id.slot = 0,
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => (fill.maker.slot, fill.taker.slot) = (0, 0),
        Event::Changed(change) => change.id.slot = 0,
        Event::Triggered(triggered) => triggered.id.slot = 0,
        Event::Done(done) => done.id.slot = 0,
        Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::BatchRefused { .. }
        | Event::Configured(_)
        | Event::Phase(_) => {}
    }
    event
}
