//! Client order ids that are taken, and the orders behind them.
//!
//! A fold of accepted orders. Only the newest are kept in memory; older ones are in the database,
//! and [`ClientIds::has_forgotten`] says whether there are any.

use super::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// How many of the newest ids are remembered.
pub const REMEMBERED: usize = 200_000;

type Entry = (AccountId, ClientOrderId, MarketId, OrderId);

/// The newest client order ids of all users.
#[derive(Clone, Debug, Default)]
pub struct ClientIds {
    newest: VecDeque<Entry>,
    /// Keys come from clients, so this map keeps the standard library's keyed hash.
    orders: HashMap<(AccountId, ClientOrderId), (MarketId, OrderId)>,
    forgotten: bool,
}

impl ClientIds {
    /// An order with a client id was accepted; the id is taken from now on.
    pub fn remember(&mut self, account: AccountId, id: ClientOrderId, market: MarketId, order: OrderId) {
        if self.orders.insert((account, id), (market, order)).is_none() {
            self.newest.push_back((account, id, market, order));
        }
        if self.newest.len() > REMEMBERED
            && let Some((account, id, ..)) = self.newest.pop_front()
        {
            self.orders.remove(&(account, id));
            self.forgotten = true;
        }
    }

    /// The order behind an id, as far as is remembered.
    pub fn get(&self, account: AccountId, id: ClientOrderId) -> Option<(MarketId, OrderId)> {
        self.orders.get(&(account, id)).copied()
    }

    /// How many ids are remembered.
    pub fn remembered(&self) -> usize {
        self.newest.len()
    }

    /// Whether an id that is not remembered may be taken all the same.
    pub fn has_forgotten(&self) -> bool {
        self.forgotten
    }
}

impl Serialize for ClientIds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.newest, self.forgotten).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientIds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ClientIds, D::Error> {
        let (newest, forgotten) = <(VecDeque<Entry>, bool)>::deserialize(deserializer)?;
        let orders = newest.iter().map(|(account, id, market, order)| ((*account, *id), (*market, *order))).collect();
        Ok(ClientIds { newest, orders, forgotten })
    }
}
