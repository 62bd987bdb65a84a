//! Balances by the rules: what each outcome takes from whom and gives to whom.

use agora::domain::event::{Crossed, Event};
use agora::domain::ids::{AccountId, CurrencyId};
use agora::domain::order::Side;
use std::collections::BTreeMap;

/// Available and hold of each account and currency, and what is admitted but not applied.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    pub balances: BTreeMap<(AccountId, CurrencyId), (i128, i128)>,
    pub pending: BTreeMap<(AccountId, CurrencyId), i128>,
}

pub const BASE: CurrencyId = CurrencyId(0);
pub const QUOTE: CurrencyId = CurrencyId(1);

pub fn held(side: Side) -> CurrencyId {
    if side == Side::Buy { QUOTE } else { BASE }
}

impl Bank {
    pub fn balance(&self, account: AccountId, currency: CurrencyId) -> (i128, i128) {
        self.balances.get(&(account, currency)).copied().unwrap_or_default()
    }

    pub fn spendable(&self, account: AccountId, currency: CurrencyId) -> i128 {
        self.balance(account, currency).0 - self.pending.get(&(account, currency)).copied().unwrap_or(0)
    }

    /// Moves `amount` from one account's available part to another's.
    pub fn transfer(&mut self, from: AccountId, to: AccountId, currency: CurrencyId, amount: i128) {
        self.balances.entry((from, currency)).or_default().0 -= amount;
        self.balances.entry((to, currency)).or_default().0 += amount;
    }

    fn hold(&mut self, account: AccountId, side: Side, amount: i128) {
        let balance = self.balances.entry((account, held(side))).or_default();
        balance.0 -= amount;
        balance.1 += amount;
    }

    /// What an outcome of the market does to balances.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Accepted(_, order) => self.hold(order.account, order.side, order.hold.0),
            Event::Changed(change) => self.hold(change.account, change.side, change.hold_delta.0),
            Event::Done(done) => self.hold(done.account, done.side, -done.released.0),
            Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
                let taker_buys = fill.maker_side == Side::Sell;
                let (maker, taker) = ((fill.maker_account, fill.maker_fee.0), (fill.taker_account, fill.taker_fee.0));
                let (buyer, seller) = if taker_buys { (taker, maker) } else { (maker, taker) };
                self.balances.entry((buyer.0, QUOTE)).or_default().1 -= fill.quote.0 + buyer.1;
                self.balances.entry((buyer.0, BASE)).or_default().0 += fill.base.0;
                self.balances.entry((seller.0, BASE)).or_default().1 -= fill.base.0;
                self.balances.entry((seller.0, QUOTE)).or_default().0 += fill.quote.0 - seller.1;
                self.balances.entry((AccountId::HOUSE, QUOTE)).or_default().0 += buyer.1 + seller.1;
            }
            _ => {}
        }
    }
}
