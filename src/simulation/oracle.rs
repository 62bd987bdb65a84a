//! What must hold, whatever went wrong: looked at after every step, from the log alone.
//!
//! The oracle reads what is durable, in order, into a venue of its own, and remembers what state each stream leads to.
//! Whatever a node says, in an answer, on a feed or about its state, must agree with that.

use crate::actors::trading::ledger::LedgerState;
use crate::actors::trading::order_book::BookState;
use crate::actors::trading::twin::Standby;
use crate::domain::entry::TransferId;
use crate::domain::event::Event;
use crate::domain::ids::{AccountId, ClientOrderId, CurrencyId, Epoch, MarketId, OrderId, Sequence};
use crate::domain::ledger::{Ledger, LedgerOutcome, MovedKind};
use crate::domain::money::Amount;
use crate::domain::order::NewOrder;
use crate::domain::replica::{LedgerOutcomes, MarketOutcomes};
use crate::domain::stream::StreamState;
use crate::domain::venue::{Market, Observer, StateHash, Venue};
use crate::persistence::log::{LogReader, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A place in a stream, as a key.
type Place = (Epoch, u64, Sequence);

fn place(stream: StreamState) -> Place {
    (stream.epoch, stream.batch, stream.sequence)
}

/// Where an actor says that its state stands, and its hash there.
#[derive(Clone, Debug)]
pub(super) enum Weighed {
    Book(MarketId, <BookState as Standby>::Mark, StateHash),
    Ledger(<LedgerState as Standby>::Mark, StateHash),
}

impl Weighed {
    /// Of which market; the ledger is of none.
    pub(super) fn market(&self) -> Option<MarketId> {
        match self {
            Weighed::Book(market, ..) => Some(*market),
            Weighed::Ledger(..) => None,
        }
    }
}

/// An order that is in the log, with what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) market: MarketId,
    pub(super) id: OrderId,
    pub(super) order: NewOrder,
}

/// What the log says.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) orders: BTreeMap<(AccountId, ClientOrderId), Accepted>,
    done: BTreeSet<(MarketId, OrderId)>,
    pub(super) transfers: BTreeMap<TransferId, AccountId>,
    /// What came in less what went out, by currency.
    net: BTreeMap<CurrencyId, Amount>,
    /// The events up to a feed sequence, by the batch that ends there.
    feeds: BTreeMap<(MarketId, u64), [u8; 32]>,
    /// Client ids and transfers that the newest batches brought.
    new_orders: Vec<(AccountId, ClientOrderId)>,
    new_transfers: Vec<TransferId>,
    broken: Option<String>,
}

/// A hash of what a batch of a market did, for readers of its feed.
pub(super) fn digest(outcomes: &MarketOutcomes) -> [u8; 32] {
    StateHash::of(&(outcomes.feed_before, &outcomes.events)).0
}

impl Observer for Facts {
    fn market(&mut self, outcomes: &MarketOutcomes, _: &Market) {
        let market = outcomes.market;
        for event in &outcomes.events {
            match event {
                Event::Accepted(id, order) => {
                    let Some(client_id) = order.client_id else { continue };
                    let accepted = Accepted { market, id: *id, order: *order };
                    self.new_orders.push((order.account, client_id));
                    if let Some(first) = self.orders.insert((order.account, client_id), accepted) {
                        let (first, second) = (first.id.number, id.number);
                        self.broken = Some(format!(
                            "client order id {} of account {} was accepted twice: as order {first} and {second}",
                            client_id.0, order.account.0
                        ));
                    }
                }
                Event::Done(done) => drop(self.done.insert((market, done.id))),
                _ => {}
            }
        }
        if outcomes.feed_after() > outcomes.feed_before {
            self.feeds.insert((market, outcomes.feed_after()), digest(outcomes));
        }
    }

    fn ledger(&mut self, outcomes: &LedgerOutcomes, _: &Ledger) {
        for (_, outcome, _) in &outcomes.entries {
            let LedgerOutcome::Moved(kind, movement) = outcome else { continue };
            let net = self.net.entry(movement.currency).or_default();
            match kind {
                MovedKind::Deposit => *net += movement.amount,
                MovedKind::Withdraw => *net -= movement.amount,
                MovedKind::Transfer(_) => {}
            }
            self.new_transfers.push(movement.transfer);
            if self.transfers.insert(movement.transfer, movement.account).is_some() {
                self.broken = Some(format!("transfer {} was done twice", movement.transfer));
            }
        }
    }
}

/// See the module's documentation.
pub(super) struct Oracle {
    reader: Arc<dyn LogReader>,
    venue: Venue,
    position: Position,
    facts: Facts,
    books: BTreeMap<(MarketId, Place), StateHash>,
    ledgers: BTreeMap<(Place, Vec<Sequence>), StateHash>,
}

/// What the log has brought since it was last looked at.
#[derive(Default)]
pub(super) struct News {
    pub(super) orders: Vec<(AccountId, ClientOrderId)>,
    pub(super) transfers: Vec<TransferId>,
    pub(super) moved: bool,
}

impl Oracle {
    pub(super) fn new(reader: Arc<dyn LogReader>) -> Oracle {
        let mut venue = Venue::default();
        venue.keep_ended();
        Oracle {
            reader,
            venue,
            position: Position(0),
            facts: Facts::default(),
            books: BTreeMap::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// Reads what became durable.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn read(&mut self) -> Result<News, String> {
        let from = self.position;
        let batches = self.reader.read(from).map_err(|error| error.to_string())?;
        for committed in batches {
            let committed = committed.map_err(|error| error.to_string())?;
            let (venue, facts) = (&mut self.venue, &mut self.facts);
            let applied = catch_unwind(AssertUnwindSafe(|| venue.apply(&committed.batch, facts)));
            let at = |what: String| format!("after position {}: {what}", committed.position);
            match applied {
                Ok(applied) => applied.map_err(|error| at(error.to_string()))?,
                Err(_) => return Err(at("a rule of the ledger is broken".into())),
            }
            self.position = committed.position;
            if let Some(broken) = self.facts.broken.take() {
                return Err(at(broken));
            }
            self.venue.audit().map_err(at)?;
            self.remember();
        }
        Ok(News {
            orders: std::mem::take(&mut self.facts.new_orders),
            transfers: std::mem::take(&mut self.facts.new_transfers),
            moved: self.position != from,
        })
    }

    fn remember(&mut self) {
        for market in &self.venue.markets {
            let replica = &market.replica;
            let key = (replica.book.config().id, place(replica.stream));
            self.books.entry(key).or_insert_with(|| StateHash::of(replica));
        }
        let ledger = &self.venue.ledger;
        let key = (place(ledger.stream), ledger.markets.clone());
        let hash = || StateHash::of(&(&ledger.ledger, &ledger.stream, &ledger.markets));
        self.ledgers.entry(key).or_insert_with(hash);
    }

    /// Compares the state of an actor with the log's. False when the log never led to just that combination of streams,
    /// which is possible for the ledger alone.
    ///
    /// # Errors
    /// When they differ.
    pub(super) fn compare(&self, weighed: &Weighed) -> Result<bool, String> {
        let (what, expected, hash) = match weighed {
            Weighed::Book(market, mark, hash) => {
                let expected = self.books.get(&(*market, place(*mark)));
                let what = format!("the book of market {} at {mark:?}", market.0);
                if expected.is_none() {
                    return Err(format!("{what} is where the log never leads"));
                }
                (what, expected, hash)
            }
            Weighed::Ledger((stream, markets), hash) => {
                let expected = self.ledgers.get(&(place(*stream), markets.clone()));
                (format!("the ledger at {stream:?} and {markets:?}"), expected, hash)
            }
        };
        match expected {
            Some(expected) if expected != hash => Err(format!("{what} has another state than the log leads to")),
            expected => Ok(expected.is_some()),
        }
    }

    /// Whether an actor has read everything that there is.
    pub(super) fn is_newest(&self, weighed: &Weighed) -> bool {
        match weighed {
            Weighed::Book(market, mark, _) => {
                self.venue.markets.get(usize::from(market.0)).is_some_and(|market| market.replica.stream == *mark)
            }
            Weighed::Ledger((stream, markets), _) => {
                self.venue.ledger.stream == *stream && self.venue.ledger.markets == *markets
            }
        }
    }

    /// What a reader of a market's feed heard: that it is what the log says.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn heard(&self, market: MarketId, feed_after: u64, digest: [u8; 32]) -> Result<(), String> {
        match self.facts.feeds.get(&(market, feed_after)) {
            Some(expected) if *expected == digest => Ok(()),
            Some(_) => Err(format!("the feed of market {} told of other events up to {feed_after}", market.0)),
            None => Err(format!("the feed of market {} told of what is not in the log", market.0)),
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn is_done(&self, market: MarketId, id: OrderId) -> bool {
        self.facts.done.contains(&(market, id))
    }

    /// Whether there is a market of this symbol.
    pub(super) fn lists(&self, symbol: &str) -> bool {
        self.venue.markets.iter().any(|market| market.replica.book.config().symbol == symbol)
    }

    pub(super) fn venue(&self) -> &Venue {
        &self.venue
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// That the outside has given exactly what the log says.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn tally(&self) -> Result<(), String> {
        let ledger = &self.venue.ledger.ledger;
        for (currency, net) in &self.facts.net {
            let outside = ledger.balance(AccountId::OUTSIDE, *currency).total();
            if outside.0 + net.0 != 0 {
                return Err(format!("{} atoms of currency {} are outside, {} came in", outside.0, currency.0, net.0));
            }
        }
        Ok(())
    }
}
