//! What the database says of trading at one moment, and whether a replay says the same.

use crate::domain::ids::{AccountId, CurrencyId, MarketId};
use crate::domain::money::Amount;
use crate::domain::order::OrderRecord;
use crate::domain::replica::MarketOutcomes;
use crate::domain::venue::{Market, Observer, Venue};
use crate::persistence::db::Connection;
use crate::persistence::log::Position;
use crate::persistence::{fills, ledger_entries, orders, projection};
use anyhow::{anyhow, ensure};
use diesel::QueryResult;
use std::collections::BTreeMap;

/// The rows of one moment, small enough to be held in memory: live orders whole, the rest in sums.
#[derive(Debug)]
pub(super) struct Rows {
    /// The last batch whose rows are there.
    pub position: Position,
    live: BTreeMap<(MarketId, u64), OrderRecord>,
    /// How many orders each market has.
    orders: BTreeMap<MarketId, u64>,
    /// How many fills each market has, and the number of the newest.
    fills: BTreeMap<MarketId, (u64, u64)>,
    /// The balance after the newest ledger entry of each account and currency.
    balances: BTreeMap<(AccountId, CurrencyId), Amount>,
}

impl Rows {
    /// Reads them; to be called in a transaction that sees one moment.
    pub fn read(conn: &mut Connection) -> QueryResult<Rows> {
        let position = projection::stands_at(conn)?;
        let live = orders::live(conn)?.into_iter().map(|(market, record)| ((market, record.id.number), record));
        Ok(Rows {
            position,
            live: live.collect(),
            orders: orders::counts(conn)?.into_iter().collect(),
            fills: fills::counts(conn)?.into_iter().map(|(market, count, newest)| (market, (count, newest))).collect(),
            balances: ledger_entries::balances(conn)?
                .into_iter()
                .map(|(account, currency, balance)| ((account, currency), balance))
                .collect(),
        })
    }

    /// How many live orders and balances there are.
    pub fn len(&self) -> (usize, usize) {
        (self.live.len(), self.balances.len())
    }

    /// Compares with a replay that stands at the same position. `tally` counts since the log's beginning, if the replay
    /// began there.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, venue: &Venue, tally: Option<&Tally>) -> anyhow::Result<()> {
        let mut expected = 0;
        for market in &venue.markets {
            let book = &market.replica.book;
            let id = book.config().id;
            for order in book.all_orders() {
                let (number, row) = (order.id.number, self.live.get(&(id, order.id.number)));
                ensure!(
                    row == Some(&order),
                    "order {number} of market {} differs: replay {order:?}, database {row:?}",
                    id.0
                );
                expected += 1;
            }
            let orders = self.orders.get(&id).copied().unwrap_or_default();
            let replayed = book.accepted_orders();
            ensure!(orders == replayed, "market {} has {replayed} orders, the database {orders}", id.0);
            if let Some(tally) = tally {
                let replayed = tally.fills.get(&id).copied().unwrap_or_default();
                let rows = self.fills.get(&id).copied().unwrap_or_default();
                ensure!(
                    rows == (replayed, replayed),
                    "market {} has {replayed} fills, the database {} with {} as the newest",
                    id.0,
                    rows.0,
                    rows.1
                );
            }
        }
        if self.live.len() != expected {
            let is_live = |market: &MarketId, number: u64| {
                let mut live = venue.markets.iter().filter(|m| m.replica.book.config().id == *market);
                live.any(|m| m.replica.book.all_orders().any(|order| order.id.number == number))
            };
            let extra = self.live.keys().find(|(market, number)| !is_live(market, *number));
            let (market, number) =
                extra.ok_or_else(|| anyhow!("the database has live orders that the replay has not"))?;
            return Err(anyhow!("order {number} of market {} is live in the database alone", market.0));
        }
        let ledger = &venue.ledger.ledger;
        for (&(account, currency), balance) in &self.balances {
            let replayed = ledger.balance(account, currency).total();
            ensure!(
                replayed == *balance,
                "account {} has {} atoms of currency {}, by the database's newest entry {}",
                account.0,
                replayed.0,
                currency.0,
                balance.0
            );
        }
        for (account, balances) in ledger.balances().filter(|(account, _)| *account != AccountId::OUTSIDE) {
            for (currency, balance) in balances.iter().enumerate().filter(|(_, balance)| !balance.total().is_zero()) {
                let key = (account, CurrencyId(u16::try_from(currency)?));
                ensure!(
                    self.balances.contains_key(&key),
                    "account {} has {} atoms of currency {currency}, and no entry in the database",
                    account.0,
                    balance.total().0
                );
            }
        }
        Ok(())
    }
}

/// What only a replay from the beginning can count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    fills: BTreeMap<MarketId, u64>,
}

impl Observer for Tally {
    fn market(&mut self, outcomes: &MarketOutcomes, _: &Market) {
        let fills = outcomes.events.iter().filter(|event| event.fill().is_some()).count() as u64;
        if fills > 0 {
            *self.fills.entry(outcomes.market).or_default() += fills;
        }
    }
}
