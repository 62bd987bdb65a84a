//! What the projector writes of an outcome.

use crate::domain::entry::Movement;
use crate::domain::event::{Crossed, Event};
use crate::domain::ids::{AccountId, OrderId, Sequence, StreamId};
use crate::domain::ledger::{Ledger, LedgerOutcome, MovedKind};
use crate::domain::money::Amount;
use crate::domain::posting::{Posting, PostingKind};
use crate::domain::replica::{LedgerOutcomes, MarketOutcomes};
use crate::domain::venue::{Market, Observer};
use crate::persistence::fills::FillRow;
use crate::persistence::ledger_entries::{Cause, LedgerRow, TradePlace};
use crate::persistence::projection::{Changes, Contained};
use crate::persistence::transfers::{TransferKind, TransferRow};
use std::collections::{BTreeMap, BTreeSet};

/// Turns outcomes into rows.
pub(super) struct Collector<'a> {
    changes: &'a mut Changes,
    /// What the database has already.
    written: Option<&'a Contained>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(changes: &'a mut Changes, written: Option<&'a Contained>) -> Collector<'a> {
        Collector { changes, written }
    }

    /// Whether the rows of what ends with this entry are in the database.
    fn has(&self, stream: StreamId, last: Sequence) -> bool {
        self.written.is_some_and(|written| written.has(stream, last))
    }

    fn ledger_row(&mut self, row: LedgerRow) {
        if row.account != AccountId::OUTSIDE {
            self.changes.ledger.push(row);
        }
    }

    fn transfer_row(&mut self, row: TransferRow) {
        if row.account != AccountId::OUTSIDE {
            self.changes.transfers.push(row);
        }
    }
}

/// Makes the history of every account chain again where rows come late: each follows what the database has, which is newer.
/// The venue stands after all of them.
pub(super) fn chain(rows: &mut [LedgerRow], ledger: &Ledger) {
    let mut after = BTreeMap::new();
    for row in rows.iter_mut().rev() {
        let (account, currency) = (row.account, row.currency);
        let balance: &mut Amount =
            after.entry((account, currency)).or_insert_with(|| ledger.balance(account, currency).total());
        row.balance = *balance;
        *balance -= row.amount;
    }
}

/// How the holder of an account sees a movement of money, and who is on its other side.
fn seen_by(account: AccountId, kind: MovedKind, movement: &Movement) -> (TransferKind, Option<AccountId>) {
    match kind {
        MovedKind::Deposit => (TransferKind::Deposit, None),
        MovedKind::Withdraw => (TransferKind::Withdraw, None),
        MovedKind::Transfer(to) if account == movement.account => (TransferKind::InternalWithdraw, Some(to)),
        MovedKind::Transfer(_) => (TransferKind::InternalDeposit, Some(movement.account)),
    }
}

impl Observer for Collector<'_> {
    fn posted(&mut self, outcomes: &MarketOutcomes, balance: Amount, posting: &Posting) {
        if self.has(StreamId::Market(outcomes.market), outcomes.last()) {
            return;
        }
        let place = TradePlace { market: outcomes.market, order: posting.order, trade: posting.trade };
        let cause = match posting.kind {
            PostingKind::Match => Cause::Match(place),
            PostingKind::Fee => Cause::Fee(place),
            PostingKind::Hold | PostingKind::Transfer => return,
        };
        self.ledger_row(LedgerRow {
            account: posting.account,
            currency: posting.currency,
            amount: posting.amount(),
            balance,
            cause,
            at: outcomes.at,
        });
    }

    fn market(&mut self, outcomes: &MarketOutcomes, market: &Market) {
        let id = outcomes.market;
        if self.has(StreamId::Market(id), outcomes.last()) {
            return;
        }
        let mut touched = BTreeSet::<OrderId>::new();
        let mut traded = false;
        for (feed_sequence, event) in outcomes.numbered() {
            match event {
                Event::Accepted(order, _) => drop(touched.insert(*order)),
                Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
                    traded = true;
                    touched.insert(fill.maker);
                    self.changes.fills.push(FillRow { market: id, at: outcomes.at, feed_sequence, fill: *fill });
                }
                Event::Changed(change) => drop(touched.insert(change.id)),
                Event::Triggered(triggered) => drop(touched.insert(triggered.id)),
                Event::Opened(_)
                | Event::Done(_)
                | Event::Configured(_)
                | Event::BatchRefused { .. }
                | Event::Phase(_) => {}
                Event::Rejected { .. } | Event::Refused { .. } => {}
            }
        }
        for order in touched {
            if let Some(record) = market.replica.book.order(order) {
                self.changes.orders.insert((id, order.number), record);
            }
        }
        for record in &outcomes.ended {
            self.changes.orders.insert((id, record.id.number), *record);
        }
        if traded {
            for series in market.data.all_series() {
                if let Some(candle) = series.newest() {
                    self.changes.candles.insert((id, series.granularity(), candle.start), *candle);
                }
            }
        }
        self.changes.events.entry(id).or_default().add(outcomes);
        self.changes.streams.insert(StreamId::Market(id), outcomes.last());
    }

    fn ledger(&mut self, outcomes: &LedgerOutcomes, ledger: &Ledger) {
        let last = Sequence(outcomes.first.0 + outcomes.entries.len() as u64 - 1);
        if self.has(StreamId::Ledger, last) {
            return;
        }
        // The ledger shows the balances after the whole batch, so rows are made from the last to the first.
        let mut after = BTreeMap::new();
        let mut rows = Vec::new();
        let mut end = outcomes.postings.len();
        for (index, (_, outcome, _)) in outcomes.entries.iter().enumerate().rev() {
            let start = index.checked_sub(1).and_then(|i| outcomes.entries.get(i)).map_or(0, |(.., end)| *end as usize);
            let postings = outcomes.postings.get(start..end).unwrap_or_default();
            end = start;
            let LedgerOutcome::Moved(moved, movement) = outcome else { continue };
            let sequence = Sequence(outcomes.first.0 + index as u64);
            for posting in postings.iter().rev() {
                let (account, currency) = (posting.account, posting.currency);
                let balance: &mut Amount =
                    after.entry((account, currency)).or_insert_with(|| ledger.balance(account, currency).total());
                let (kind, counterpart) = seen_by(account, *moved, movement);
                let (id, at, amount) = (movement.transfer, outcomes.at, posting.amount());
                let cause = Cause::Transfer(kind, id);
                let ledger = LedgerRow { account, currency, amount, balance: *balance, cause, at };
                let amount = movement.amount;
                let transfer = TransferRow { account, sequence, id, kind, currency, amount, counterpart, at };
                rows.push((ledger, transfer));
                *balance -= posting.amount();
            }
        }
        for (ledger, transfer) in rows.into_iter().rev() {
            self.ledger_row(ledger);
            self.transfer_row(transfer);
        }
        self.changes.streams.insert(StreamId::Ledger, last);
    }
}
