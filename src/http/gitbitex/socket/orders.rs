//! A user's own orders as one connection follows them.
//!
//! Events tell what changed; the front end wants the whole order after each change. So the records of the user's orders
//! are taken over from the book once, and from there on folded by the same lines as everywhere. Invariant: records stand
//! at `applied`, or after the newest batch that was folded.

use crate::actors::trading::market_data::Update;
use crate::actors::trading::order_book::OrdersOf;
use crate::domain::event::{Crossed, Event};
use crate::domain::ids::{AccountId, OrderId, Sequence};
use crate::domain::order::OrderRecord;
use crate::domain::replica::MarketOutcomes;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Changes that may wait while the orders are taken over.
const MOST_HELD: usize = 10_000;

/// How far a connection is with a user's orders of one market.
#[derive(Debug, Default)]
pub enum Orders {
    /// Nobody wants them.
    #[default]
    Off,
    /// They were asked for; meanwhile what happens is held back.
    Asked {
        /// Which asking; older answers do not count.
        asking: u64,
        /// What happened since, oldest first.
        held: Vec<Arc<Update>>,
    },
    /// They are followed.
    Followed(Followed),
}

impl Orders {
    /// Takes in a change; `tell` hears of every change of an order, in order. False when too much waits; then nothing
    /// waits any more, and the orders are not followed.
    #[must_use]
    pub fn take(&mut self, account: AccountId, update: &Arc<Update>, tell: impl FnMut(u64, &OrderRecord)) -> bool {
        match self {
            Orders::Off => true,
            Orders::Asked { held, .. } if held.len() < MOST_HELD => {
                held.push(update.clone());
                true
            }
            Orders::Asked { .. } => {
                *self = Orders::Off;
                false
            }
            Orders::Followed(followed) => {
                followed.fold(account, &update.outcomes, tell);
                true
            }
        }
    }

    /// The answer of the book has come: what happened since is told.
    pub fn begin(&mut self, of: u64, account: AccountId, orders: OrdersOf, mut tell: impl FnMut(u64, &OrderRecord)) {
        let Orders::Asked { asking, held } = self else { return };
        if *asking != of {
            return;
        }
        let held = std::mem::take(held);
        let mut followed = Followed::new(orders);
        for update in held {
            followed.fold(account, &update.outcomes, &mut tell);
        }
        *self = Orders::Followed(followed);
    }
}

/// The records of a user's live orders.
#[derive(Debug)]
pub struct Followed {
    applied: Sequence,
    records: FxHashMap<OrderId, OrderRecord>,
}

impl Followed {
    fn new(orders: OrdersOf) -> Followed {
        let OrdersOf { applied, live, ended } = orders;
        // Those that have ended may be in what was held back.
        let records = live.into_iter().chain(ended).map(|record| (record.id, record)).collect();
        Followed { applied: applied.unwrap_or_default(), records }
    }

    fn fold(&mut self, account: AccountId, outcomes: &MarketOutcomes, mut tell: impl FnMut(u64, &OrderRecord)) {
        let mut feed = outcomes.feed_before;
        let mut known = BTreeSet::new();
        for (sequence, _, events) in outcomes.by_entry() {
            for event in events {
                feed += u64::from(event.is_public());
                for id in changed(event, account).into_iter().flatten() {
                    if sequence <= self.applied {
                        // The record has it already; as it stands it is told once.
                        known.insert(id);
                        continue;
                    }
                    if let Event::Accepted(id, order) = event {
                        self.records.insert(*id, OrderRecord::accepted(*id, order, outcomes.at));
                    } else if let Some(record) = self.records.get_mut(&id) {
                        record.fold(event, outcomes.at);
                    }
                    let Some(record) = self.records.get(&id) else { continue };
                    tell(feed, record);
                    if record.is_done() {
                        self.records.remove(&id);
                    }
                }
            }
        }
        for record in known.iter().filter_map(|id| self.records.get(id)) {
            tell(feed, record);
        }
        if outcomes.last() >= self.applied {
            self.records.retain(|_, record| !record.is_done());
        }
    }
}

/// The user's orders that an event changes.
fn changed(event: &Event, user: AccountId) -> [Option<OrderId>; 2] {
    let own = |account, id| (account == user).then_some(id);
    match event {
        Event::Accepted(id, order) => [own(order.account, *id), None],
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
            [own(fill.maker_account, fill.maker), own(fill.taker_account, fill.taker)]
        }
        Event::Changed(change) => [own(change.account, change.id), None],
        Event::Triggered(order) => [own(order.account, order.id), None],
        Event::Done(done) => [own(done.account, done.id), None],
        // It rests now, which changes nothing that is shown.
        Event::Opened(_)
        | Event::Rejected { .. }
        | Event::Refused { .. }
        | Event::BatchRefused { .. }
        | Event::Configured(_)
        | Event::Phase(_) => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::trading::market_data::Texts;
    use crate::domain::event::{Done, DoneReason};
    use crate::domain::ids::{Epoch, MarketId, Ticket};
    use crate::domain::money::{Amount, Ppm, Price, Size};
    use crate::domain::order::{Kind, NewOrder, SelfTrade, Side, TimeInForce};
    use crate::domain::replica::EntryEnd;
    use crate::domain::time::Timestamp;

    const USER: AccountId = AccountId(7);

    fn accepted(number: u64) -> Event {
        let order = NewOrder {
            ticket: Ticket(0),
            account: USER,
            client_id: None,
            side: Side::Buy,
            kind: Kind::Limit { price: Price(100), time_in_force: TimeInForce::GoodTillCanceled, post_only: false },
            size: Size(5),
            stop: None,
            self_trade: SelfTrade::default(),
            maker_fee: Ppm(0),
            taker_fee: Ppm(0),
            hold: Amount(500),
        };
        Event::Accepted(OrderId { number, slot: 0 }, order)
    }

    fn done(number: u64) -> Event {
        Event::Done(Done {
            id: OrderId { number, slot: 0 },
            ticket: Ticket(0),
            account: USER,
            side: Side::Buy,
            price: Some(Price(100)),
            remaining: Size(5),
            reason: DoneReason::Canceled,
            released: Amount(500),
            rested: true,
            slept: false,
        })
    }

    /// A batch of entries of one event each.
    fn batch(first: u64, events: &[Event]) -> MarketOutcomes {
        MarketOutcomes {
            market: MarketId(0),
            epoch: Epoch::default(),
            at: Timestamp(1),
            first: Sequence(first),
            feed_before: first - 1,
            entries: (1..=events.len() as u32).map(|end| EntryEnd { ticket: Ticket(0), end }).collect(),
            events: events.to_vec(),
            parts: Vec::new(),
            ended: Vec::new(),
            rules_changed: false,
            marker: false,
        }
    }

    fn told(followed: &mut Followed, outcomes: &MarketOutcomes) -> Vec<(u64, u64, bool)> {
        let mut told = Vec::new();
        followed.fold(USER, outcomes, |feed, record| told.push((feed, record.id.number, record.is_done())));
        told
    }

    #[test]
    fn every_change_is_told_once_and_what_the_book_knew_already_as_it_stands() {
        // The book answered after entry 2: order 1 came and went, order 2 is not there yet.
        let Event::Accepted(id, order) = accepted(1) else { panic!("no order") };
        let mut ended = OrderRecord::accepted(id, &order, Timestamp(1));
        ended.fold(&done(1), Timestamp(1));
        let mut followed = Followed::new(OrdersOf { applied: Some(Sequence(2)), live: Vec::new(), ended: vec![ended] });
        let held = batch(1, &[accepted(1), done(1), accepted(2)]);
        assert_eq!(told(&mut followed, &held), [(3, 2, false), (3, 1, true)]);
        assert_eq!(followed.records.len(), 1);
        assert_eq!(told(&mut followed, &batch(4, &[accepted(3), done(2)])), [(4, 3, false), (5, 2, true)]);
        assert_eq!(told(&mut followed, &batch(6, &[done(9)])), []);
        assert_eq!(followed.records.len(), 1);
    }

    #[test]
    fn what_waits_while_the_book_does_not_answer_is_bounded() {
        let update = Arc::new(Update {
            market: MarketId(0),
            at: Timestamp(1),
            sequence: 1,
            outcomes: Arc::new(batch(1, &[accepted(1)])),
            levels: Vec::new(),
            orders: Vec::new(),
            fills: Vec::new(),
            tickers: Vec::new(),
            texts: Texts::default(),
            gitbitex: Texts::default(),
        });
        let mut orders = Orders::Asked { asking: 1, held: Vec::new() };
        for _ in 0..MOST_HELD {
            assert!(orders.take(USER, &update, |_, _| {}));
        }
        assert!(!orders.take(USER, &update, |_, _| {}));
        assert!(matches!(orders, Orders::Off));
        assert_eq!(Arc::strong_count(&update), 1, "nothing is held any more");
    }
}
