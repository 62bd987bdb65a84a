//! What goes wrong around a market that is listed while everything runs.
//!
//! Whoever takes over must know of the holds in every market that is listed, also in one that he has not opened yet. That
//! is so for a moment only, and by itself hardly ever together with a user who has ordered there and spends the same money
//! elsewhere in that moment. So in some runs a node sleeps through the listing, and leads as soon as it wakes up.

use super::super::clients::LATE;
use super::super::node::Process;
use super::World;
use super::trouble::VENUE;
use crate::domain::ids::MarketId;

/// For so many steps after its listing a market is new.
const NEW: u32 = 60;

/// For so many steps from then on the market is not opened, and users spend what they have.
const RUSH: u32 = 300;

/// A node that sleeps through a listing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sleeper {
    node: usize,
    wakes_at: u32,
}

impl World {
    /// While a market is opened on the nodes, panics are more likely than otherwise: of its own actors, and of the log,
    /// which takes everything that trades down with it.
    pub(super) fn trouble_a_new_market(&mut self, node: usize) {
        if self.listed_at.is_none() && self.oracle.lists(LATE) {
            self.listed_at = Some(self.step);
            self.counts.listings += 1;
            self.send_to_sleep();
        }
        let is_new = self.listed_at.is_some_and(|listed| self.step < listed + NEW);
        if self.mixture.panics == 0 || !is_new || self.random.below(10) > 0 {
            return;
        }
        let path = match self.random.below(3) {
            0 => format!("{VENUE}/market data {LATE}"),
            1 => format!("{VENUE}/order book {LATE}"),
            _ => "agora/trading/event log".to_owned(),
        };
        self.make_panic(node, &path);
    }

    fn send_to_sleep(&mut self) {
        let leads = |node: usize| self.locks.holder() == Some(node as u16 + 1);
        let others: Vec<usize> = (0..self.slots.len()).filter(|node| !leads(*node)).collect();
        if self.locks.holder().is_none() || others.is_empty() || self.random.below(4) == 0 {
            return;
        }
        let node = others[self.random.below(others.len() as u64) as usize];
        let steps = 60 + self.random.below(120) as u32;
        if self.freeze(node, steps) {
            self.sleeper = Some(Sleeper { node, wakes_at: self.step + steps });
        }
    }

    /// Lets whoever slept through the listing lead when it wakes up, before it has opened the market.
    pub(super) fn usurp(&mut self) {
        if let Some(node) = self.usurper() {
            let newest = MarketId((self.oracle.venue().markets.len() as u16).saturating_sub(1));
            let leads_without = |process: &mut Process| {
                let lacks = process.trading().is_some_and(|trading| trading.market_by_id(newest).is_none());
                process.role.is_active() && lacks
            };
            self.counts.blind += u64::from(self.running(node).is_some_and(leads_without));
        }
        if let Some(Sleeper { node, .. }) = self.sleeper.filter(|sleeper| sleeper.wakes_at + RUSH == self.step) {
            self.hold_up(node, None);
        }
        let Some(Sleeper { node, .. }) = self.sleeper.filter(|sleeper| sleeper.wakes_at == self.step) else { return };
        for other in (0..self.slots.len()).filter(|other| *other != node) {
            self.kill(other, "a node that slept is to lead");
            self.locks.expire(other as u16 + 1);
        }
        self.hold_up(node, Some(format!("{VENUE}/order book {LATE}")));
        self.counts.usurpations += 1;
    }

    fn hold_up(&mut self, node: usize, path: Option<String>) {
        if let Some(process) = self.slots.get_mut(node).and_then(|slot| slot.process.as_mut()) {
            process.hold_up(path);
        }
    }

    /// The market for which users have a liking now: that in which the sleeper knows of nothing.
    pub(super) fn favourite(&self) -> Option<MarketId> {
        let markets = self.oracle.venue().markets.len() as u16;
        self.sleeper.filter(|sleeper| self.step < sleeper.wakes_at).map(|_| MarketId(markets.saturating_sub(1)))
    }

    /// The node that has just woken up to lead.
    pub(super) fn usurper(&self) -> Option<usize> {
        let rush = |sleeper: &Sleeper| (sleeper.wakes_at..sleeper.wakes_at + RUSH).contains(&self.step);
        self.sleeper.filter(rush).map(|sleeper| sleeper.node)
    }
}
