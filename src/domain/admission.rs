//! What was admitted but not yet read back from the log: pending holds.
//!
//! This is the only state outside the log, and only the active node has it. An order or withdrawal
//! is admitted when `available − pending ≥ need`; when its entry is applied the posting becomes
//! real and the pending hold goes. A new epoch drops what older epochs left behind.

use super::ids::{AccountId, ClientOrderId, CurrencyId, Epoch, MarketId, OrderId, StreamId, Ticket};
use super::ledger::Ledger;
use super::money::Amount;
use super::order::Reject;
use rustc_hash::FxHashMap;
use std::collections::{HashMap, VecDeque};

/// How many of the newest client order ids are remembered here; older ones are in the database.
pub const REMEMBERED_CLIENT_IDS: usize = 200_000;

#[derive(Clone, Copy, Debug)]
struct Pending {
    epoch: Epoch,
    account: AccountId,
    currency: CurrencyId,
    amount: Amount,
    client_id: Option<ClientOrderId>,
}

/// Who stands behind a client order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// An order that was admitted and is on its way through the log.
    InFlight,
    /// This order.
    Order(MarketId, OrderId),
}

/// Pending holds and the newest client order ids.
#[derive(Debug, Default)]
pub struct Admission {
    pending: FxHashMap<(StreamId, Ticket), Pending>,
    sums: FxHashMap<(AccountId, CurrencyId), Amount>,
    /// Keys come from clients, so this map keeps the standard library's keyed hash.
    client_ids: HashMap<(AccountId, ClientOrderId), Known>,
    newest: VecDeque<(AccountId, ClientOrderId)>,
    forgotten: bool,
}

/// What is to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The stream its entry goes to.
    pub stream: StreamId,
    /// Its ticket there.
    pub ticket: Ticket,
    /// The epoch in which it will be proposed.
    pub epoch: Epoch,
    /// Who pays.
    pub account: AccountId,
    /// In which currency.
    pub currency: CurrencyId,
    /// How much; may be zero.
    pub amount: Amount,
    /// The client's id of the order, if it has one.
    pub client_id: Option<ClientOrderId>,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule says no.
    Reject(Reject),
    /// The client id is taken: the caller gets that order instead.
    Repeat(Known),
}

impl Admission {
    /// Admits a request and keeps its hold until [`Admission::settle`].
    ///
    /// # Errors
    /// [`Refusal`]; nothing is kept then.
    pub fn admit(&mut self, ledger: &Ledger, request: Request) -> Result<(), Refusal> {
        let Request { stream, ticket, epoch, account, currency, amount, client_id } = request;
        if let Some(known) = client_id.and_then(|id| self.client_ids.get(&(account, id))) {
            return Err(Refusal::Repeat(*known));
        }
        if !ledger.is_open(account) {
            return Err(Refusal::Reject(Reject::UnknownAccount));
        }
        if ledger.is_frozen(account) {
            return Err(Refusal::Reject(Reject::AccountFrozen));
        }
        let pending = self.sums.get(&(account, currency)).copied().unwrap_or_default();
        if ledger.balance(account, currency).available - pending < amount {
            return Err(Refusal::Reject(Reject::InsufficientFunds));
        }
        *self.sums.entry((account, currency)).or_default() += amount;
        if let Some(id) = client_id {
            self.client_ids.insert((account, id), Known::InFlight);
        }
        self.pending.insert((stream, ticket), Pending { epoch, account, currency, amount, client_id });
        Ok(())
    }

    /// What the account could spend on top of everything admitted so far.
    pub fn spendable(&self, ledger: &Ledger, account: AccountId, currency: CurrencyId) -> Amount {
        let pending = self.sums.get(&(account, currency)).copied().unwrap_or_default();
        ledger.balance(account, currency).available - pending
    }

    /// The entry of this ticket was applied, or never will be: its pending hold goes.
    pub fn settle(&mut self, stream: StreamId, ticket: Ticket) {
        let Some(pending) = self.pending.remove(&(stream, ticket)) else { return };
        let key = (pending.account, pending.currency);
        if let Some(sum) = self.sums.get_mut(&key) {
            *sum -= pending.amount;
            if sum.is_zero() {
                self.sums.remove(&key);
            }
        }
        if let Some(id) = pending.client_id {
            let key = (pending.account, id);
            if self.client_ids.get(&key) == Some(&Known::InFlight) {
                self.client_ids.remove(&key);
            }
        }
    }

    /// An order with a client id was accepted; its id is taken from now on.
    pub fn remember(&mut self, account: AccountId, id: ClientOrderId, market: MarketId, order: OrderId) {
        if self.client_ids.insert((account, id), Known::Order(market, order)).is_none_or(|old| old == Known::InFlight) {
            self.newest.push_back((account, id));
        }
        if self.newest.len() > REMEMBERED_CLIENT_IDS {
            if let Some(oldest) = self.newest.pop_front() {
                self.client_ids.remove(&oldest);
                self.forgotten = true;
            }
        }
    }

    /// The order behind a client id, as far as is remembered.
    pub fn known(&self, account: AccountId, id: ClientOrderId) -> Option<Known> {
        self.client_ids.get(&(account, id)).copied()
    }

    /// Whether ids that are not remembered may still be taken: older ones are in the database.
    pub fn has_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Says that ids older than the remembered ones exist (the state came from a snapshot).
    pub fn set_forgotten(&mut self) {
        self.forgotten = true;
    }

    /// Drops the pending holds that epochs before `epoch` left on `stream`; tells their tickets.
    pub fn drop_older(&mut self, stream: StreamId, epoch: Epoch) -> Vec<Ticket> {
        let mut stale: Vec<Ticket> = self
            .pending
            .iter()
            .filter(|((s, _), pending)| *s == stream && pending.epoch < epoch)
            .map(|((_, ticket), _)| *ticket)
            .collect();
        stale.sort_unstable();
        for ticket in &stale {
            self.settle(stream, *ticket);
        }
        stale
    }

    /// How many holds are pending.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The newest client ids with their orders, oldest first, for a snapshot.
    pub fn remembered(&self) -> impl Iterator<Item = (AccountId, ClientOrderId, MarketId, OrderId)> + '_ {
        self.newest.iter().filter_map(|(account, id)| match self.client_ids.get(&(*account, *id)) {
            Some(Known::Order(market, order)) => Some((*account, *id, *market, *order)),
            _ => None,
        })
    }
}
