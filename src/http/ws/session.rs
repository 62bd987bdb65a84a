//! One connection as its worker sees it.
//!
//! Invariant: past events of a market are sent by one replay at most. Whoever leaves the events of a market ends its
//! replay, also one that waits for something, so that a later one begins where its client says.

use super::market_feed::Wants;
use super::outbox::Outbox;
use super::request::Channel;
use crate::domain::ids::{AccountId, MarketId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    /// Its number on this worker.
    pub id: u64,
    /// What waits to be sent.
    pub outbox: Rc<Outbox>,
    /// Whose it is, once its client has said so.
    pub user: Cell<Option<AccountId>>,
    /// When its client was last heard.
    pub heard: Cell<Instant>,
    pub(super) channels: RefCell<BTreeMap<MarketId, BTreeSet<Channel>>>,
    pub(super) status: Cell<bool>,
    /// The markets of which past events are being sent, with the number of the replay.
    replays: RefCell<BTreeMap<MarketId, u64>>,
    /// How many replays have begun.
    begun: Cell<u64>,
}

impl Session {
    /// One that has subscribed to nothing.
    pub(super) fn new(id: u64) -> Session {
        Session {
            id,
            outbox: Rc::default(),
            user: Cell::new(None),
            heard: Cell::new(Instant::now()),
            channels: RefCell::default(),
            status: Cell::new(false),
            replays: RefCell::default(),
            begun: Cell::new(0),
        }
    }

    /// Which events of the market it wants.
    pub fn wants(&self, market: MarketId) -> Wants {
        self.channels.borrow().get(&market).map(Wants::of).unwrap_or_default()
    }

    /// Whether past events of the market are still being sent.
    pub fn is_replaying(&self, market: MarketId) -> bool {
        self.replays.borrow().contains_key(&market)
    }

    /// Begins to send past events of a market; the number of this replay.
    pub(super) fn begin_replay(&self, market: MarketId) -> u64 {
        let number = self.begun.get() + 1;
        self.begun.set(number);
        self.replays.borrow_mut().insert(market, number);
        number
    }

    /// Whether this replay goes on.
    pub(super) fn is_replay(&self, market: MarketId, number: u64) -> bool {
        self.replays.borrow().get(&market) == Some(&number)
    }

    /// Ends the replay of a market, if there is one.
    pub(super) fn end_replay(&self, market: MarketId) {
        self.replays.borrow_mut().remove(&market);
    }

    /// It has ended: what it had of each market.
    pub(super) fn leave(&self) -> BTreeMap<MarketId, BTreeSet<Channel>> {
        self.replays.take();
        self.channels.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_on_until_it_is_ended_or_another_begins() {
        let (session, market, other) = (Session::new(1), MarketId(0), MarketId(1));
        let first = session.begin_replay(market);
        assert!(session.is_replaying(market) && session.is_replay(market, first) && !session.is_replaying(other));
        session.end_replay(market);
        assert!(!session.is_replaying(market) && !session.is_replay(market, first));
        let second = session.begin_replay(market);
        assert!(session.is_replay(market, second) && !session.is_replay(market, first));
        session.leave();
        assert!(!session.is_replay(market, second));
    }
}
