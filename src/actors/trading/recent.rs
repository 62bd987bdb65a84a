//! Orders that ended and fills of a short while ago, for readers that the database cannot serve yet.
//!
//! Bounded: the oldest go first. By then the projector has them in the database, unless that is out
//! of reach for long.

use super::order_book::TimedFill;
use crate::domain::ids::{AccountId, OrderId};
use crate::domain::order::OrderRecord;
use crate::domain::replica::MarketOutcomes;
use crate::persistence::log::Position;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

const KEPT: usize = 20_000;

/// The newest ended orders and fills of one market.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    ended: VecDeque<(Position, OrderId)>,
    orders: FxHashMap<OrderId, OrderRecord>,
    fills: VecDeque<(Position, TimedFill)>,
    forgotten: Position,
}

impl Recent {
    /// Adds what the batch at this position ended and traded.
    pub fn add(&mut self, outcomes: &MarketOutcomes, at: Position) {
        for record in &outcomes.ended {
            self.orders.insert(record.id, *record);
            self.ended.push_back((at, record.id));
        }
        for (feed_sequence, event) in outcomes.numbered() {
            if let Some(fill) = event.fill() {
                let (market, time) = (outcomes.market, outcomes.at);
                self.fills.push_back((at, TimedFill { market, at: time, feed_sequence, fill: *fill }));
            }
        }
        while self.ended.len() > KEPT {
            if let Some((at, oldest)) = self.ended.pop_front() {
                self.orders.remove(&oldest);
                self.forgotten = self.forgotten.max(at);
            }
        }
        while self.fills.len() > KEPT {
            if let Some((at, _)) = self.fills.pop_front() {
                self.forgotten = self.forgotten.max(at);
            }
        }
    }

    /// The position of the newest batch of which something is not remembered any more.
    pub fn forgotten(&self) -> Position {
        self.forgotten
    }

    /// Says of everything so far that it is at `position` or before.
    pub fn date(&mut self, position: Position) {
        self.ended.iter_mut().for_each(|(at, _)| *at = position);
        self.fills.iter_mut().for_each(|(at, _)| *at = position);
        if self.forgotten != Position(0) {
            self.forgotten = position;
        }
    }

    /// An order that ended a short while ago.
    pub fn order(&self, id: OrderId) -> Option<OrderRecord> {
        self.orders.get(&id).copied()
    }

    /// A user's, newest end first.
    pub fn orders_of(&self, account: AccountId) -> Vec<OrderRecord> {
        let newest_first = self.ended.iter().rev().filter_map(|(_, id)| self.orders.get(id));
        newest_first.filter(|record| record.account == account).copied().collect()
    }

    /// A user's, newest first.
    pub fn fills_of(&self, account: AccountId) -> Vec<TimedFill> {
        let own = |timed: &&TimedFill| [timed.fill.maker_account, timed.fill.taker_account].contains(&account);
        self.fills.iter().rev().map(|(_, timed)| timed).filter(own).copied().collect()
    }
}
