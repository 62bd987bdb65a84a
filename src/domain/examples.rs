//! Events and outcomes for tests of what is done with them.

use super::event::{Done, DoneReason, Event};
use super::ids::{AccountId, Epoch, MarketId, OrderId, Sequence, Ticket};
use super::money::{Amount, Size};
use super::order::Side;
use super::replica::{EntryEnd, MarketOutcomes};
use super::time::Timestamp;

/// The end of an order; that of a stop that slept is private.
pub(crate) fn canceled(slept: bool) -> Event {
    Event::Done(Done {
        id: OrderId { number: 1, slot: 0 },
        ticket: Ticket(0),
        account: AccountId(7),
        side: Side::Sell,
        price: None,
        remaining: Size(5),
        reason: DoneReason::Canceled,
        released: Amount(500),
        rested: !slept,
        slept,
    })
}

/// The outcomes of a batch of one entry.
pub(crate) fn outcomes_of(entry: u64, feed_before: u64, events: Vec<Event>) -> MarketOutcomes {
    MarketOutcomes {
        market: MarketId(0),
        epoch: Epoch::default(),
        at: Timestamp(1),
        first: Sequence(entry),
        feed_before,
        entries: vec![EntryEnd { ticket: Ticket(0), end: events.len() as u32 }],
        events,
        parts: Vec::new(),
        ended: Vec::new(),
        rules_changed: false,
        marker: false,
    }
}
