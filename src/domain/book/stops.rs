//! Stop orders that sleep, and how they wake.
//!
//! Every trade price counts, not only the last one of an entry: a stop wakes if any price between
//! was the last trade price for a moment. Stops that wake together enter the market in the order in
//! which they were accepted; the trades that they make may wake further ones, after them.

use super::Book;
use super::slab::Live;
use crate::domain::event::{Event, Triggered};
use crate::domain::money::Price;
use crate::domain::order::OrderRecord;
use crate::domain::order::Trigger;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The prices at which trades happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range(Option<(Price, Price)>);

impl Range {
    pub fn include(&mut self, price: Option<Price>) {
        if let Some(price) = price {
            self.0 = Some(match self.0 {
                None => (price, price),
                Some((low, high)) => (low.min(price), high.max(price)),
            });
        }
    }
}

impl Range {
    pub fn absorb(&mut self, other: Range) {
        if let Some((low, high)) = other.0 {
            self.include(Some(low));
            self.include(Some(high));
        }
    }
}

/// Sleeping stops by the price that wakes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    losses: BTreeSet<(Price, u64, u32)>,
    entries: BTreeSet<(Price, u64, u32)>,
    /// (number, slot) of those about to wake; kept to be used again.
    waking: Vec<(u64, u32)>,
}

impl Stops {
    pub fn insert(&mut self, live: &Live) {
        if let Some(stop) = live.stop() {
            let key = (stop.price, live.hot.number, live.slot);
            match stop.trigger {
                Trigger::Loss => self.losses.insert(key),
                Trigger::Entry => self.entries.insert(key),
            };
        }
    }

    pub fn remove(&mut self, live: &Live) {
        if let Some(stop) = live.stop() {
            let key = (stop.price, live.hot.number, live.slot);
            match stop.trigger {
                Trigger::Loss => self.losses.remove(&key),
                Trigger::Entry => self.entries.remove(&key),
            };
        }
    }

    /// Takes out those that wake at these prices, in the order of their acceptance.
    fn take(&mut self, low: Price, high: Price) -> Vec<(u64, u32)> {
        let mut waking = std::mem::take(&mut self.waking);
        waking.clear();
        while let Some(stop) = self.losses.last().copied().filter(|(price, ..)| *price >= low) {
            self.losses.remove(&stop);
            waking.push((stop.1, stop.2));
        }
        while let Some(stop) = self.entries.first().copied().filter(|(price, ..)| *price <= high) {
            self.entries.remove(&stop);
            waking.push((stop.1, stop.2));
        }
        waking.sort_unstable();
        waking
    }
}

impl Book {
    /// Wakes every stop that the prices in `range` reach, and those that their trades reach.
    pub(super) fn wake_stops(&mut self, range: &mut Range, out: &mut Vec<Event>) {
        loop {
            if range.0.is_some() && self.in_auction() {
                return self.unheard.absorb(*range);
            }
            let Some((low, high)) = range.0.take() else { return };
            let waking = self.stops.take(low, high);
            for (at, (_, slot)) in waking.iter().enumerate() {
                if at > 0 && self.in_auction() {
                    // What this one did halted the market: the others sleep on until the auction is over.
                    for (_, slot) in waking.iter().skip(at) {
                        let live = self.slab.live(*slot);
                        self.stops.insert(&live);
                    }
                    range.include(Some(low));
                    range.include(Some(high));
                    break;
                }
                let mut live = self.slab.live(*slot);
                live.hot.wake();
                self.forget(*slot);
                // The slot that was freed last is the vacant one, so the order keeps its id.
                let OrderRecord { id, account, client_id, side, kind, remaining: size, .. } = live.record();
                self.emit(out, Event::Triggered(Triggered { id, account, client_id, side, kind, size }));
                self.execute(&mut live, true, range, out);
            }
            self.stops.waking = waking;
        }
    }
}
