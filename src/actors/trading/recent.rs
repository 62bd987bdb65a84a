//! Orders that ended and fills of a short while ago, for readers that the database cannot serve yet.
//!
//! Bounded: the oldest go first. By then the projector has them in the database, unless that is out
//! of reach for long.

use super::order_book::TimedFill;
use crate::domain::event::Event;
use crate::domain::ids::{AccountId, OrderId};
use crate::domain::order::OrderRecord;
use crate::domain::replica::MarketOutcomes;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

const KEPT: usize = 20_000;

/// The newest ended orders and fills of one market.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    ended: VecDeque<OrderId>,
    orders: FxHashMap<OrderId, OrderRecord>,
    fills: VecDeque<TimedFill>,
}

impl Recent {
    /// Adds what a batch ended and traded.
    pub fn add(&mut self, outcomes: &MarketOutcomes) {
        for record in &outcomes.ended {
            self.orders.insert(record.id, *record);
            self.ended.push_back(record.id);
        }
        for (feed_sequence, event) in outcomes.numbered() {
            if let Event::Filled(fill) = event {
                self.fills.push_back(TimedFill {
                    market: outcomes.market,
                    at: outcomes.at,
                    feed_sequence,
                    fill: *fill,
                });
            }
        }
        while self.ended.len() > KEPT {
            if let Some(oldest) = self.ended.pop_front() {
                self.orders.remove(&oldest);
            }
        }
        while self.fills.len() > KEPT {
            self.fills.pop_front();
        }
    }

    /// An order that ended a short while ago.
    pub fn order(&self, id: OrderId) -> Option<OrderRecord> {
        self.orders.get(&id).copied()
    }

    /// A user's, newest end first.
    pub fn orders_of(&self, account: AccountId) -> Vec<OrderRecord> {
        let newest_first = self.ended.iter().rev().filter_map(|id| self.orders.get(id));
        newest_first.filter(|record| record.account == account).copied().collect()
    }

    /// A user's, newest first.
    pub fn fills_of(&self, account: AccountId) -> Vec<TimedFill> {
        let own = |timed: &&TimedFill| [timed.fill.maker_account, timed.fill.taker_account].contains(&account);
        self.fills.iter().rev().filter(own).copied().collect()
    }
}
