//! What was admitted but not yet read back from the log: pending holds.
//!
//! This is the only state outside the log, and only the active node has it. An order or withdrawal
//! is admitted when `available − pending ≥ need`; when its entry is applied the posting becomes
//! real and the pending hold goes. A new epoch drops what older epochs left behind.

use super::client_ids::ClientIds;
use super::ids::{AccountId, ClientOrderId, CurrencyId, Epoch, MarketId, OrderId, StreamId, Ticket};
use super::ledger::Ledger;
use super::money::Amount;
use super::order::Reject;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

#[derive(Clone, Copy, Debug)]
struct Pending {
    account: AccountId,
    currency: CurrencyId,
    amount: Amount,
    client_id: Option<ClientOrderId>,
}

/// Who stands behind a client order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// An order that was admitted and is on its way through the log.
    InFlight,
    /// This order.
    Order(MarketId, OrderId),
    /// Perhaps an order of long ago: the database has to be asked.
    Forgotten,
}

/// Pending holds, and the client order ids that are on their way.
#[derive(Debug, Default)]
pub struct Admission {
    /// Tickets are a process's own, so that one of another epoch may have the same.
    pending: FxHashMap<(StreamId, Epoch, Ticket), Pending>,
    sums: FxHashMap<(AccountId, CurrencyId), Amount>,
    /// Keys come from clients, so this set keeps the standard library's keyed hash.
    in_flight: HashSet<(AccountId, ClientOrderId)>,
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
    /// How many ids were forgotten when the database was asked for this one and did not know it.
    pub vouched: Option<u64>,
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
    pub fn admit(&mut self, ledger: &Ledger, client_ids: &ClientIds, request: Request) -> Result<(), Refusal> {
        let Request { account, currency, amount, client_id, vouched, .. } = request;
        #[cfg(test)]
        let client_id = client_id.filter(|_| !super::sabotage::is_made(super::sabotage::Mistake::ForgetsClientIds));
        if let Some(id) = client_id {
            if let Some((market, order)) = client_ids.get(account, id) {
                return Err(Refusal::Repeat(Known::Order(market, order)));
            }
            if self.in_flight.contains(&(account, id)) {
                return Err(Refusal::Repeat(Known::InFlight));
            }
            let is_vouched_for = vouched.is_some_and(|forgotten| client_ids.still_counts(forgotten));
            if !is_vouched_for && client_ids.may_be_forgotten(account, id) {
                return Err(Refusal::Repeat(Known::Forgotten));
            }
        }
        if ledger.is_stopped() {
            return Err(Refusal::Reject(Reject::KillSwitch));
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
        #[cfg(test)]
        let amount = match super::sabotage::is_made(super::sabotage::Mistake::ForgetsPendingHolds) {
            true => Amount::ZERO,
            false => amount,
        };
        self.note(Request { amount, client_id, ..request });
        Ok(())
    }

    /// Keeps the hold of what somebody else has admitted, and the log has, until [`Admission::settle`]. What is kept already is
    /// not kept twice.
    pub fn keep(&mut self, request: Request) {
        self.settle(request.stream, request.epoch, request.ticket);
        self.note(request);
    }

    fn note(&mut self, request: Request) {
        let Request { stream, ticket, epoch, account, currency, amount, client_id, .. } = request;
        *self.sums.entry((account, currency)).or_default() += amount;
        if let Some(id) = client_id {
            self.in_flight.insert((account, id));
        }
        self.pending.insert((stream, epoch, ticket), Pending { account, currency, amount, client_id });
    }

    /// Whether an order with this client id was admitted and is on its way still.
    pub fn is_in_flight(&self, account: AccountId, id: ClientOrderId) -> bool {
        self.in_flight.contains(&(account, id))
    }

    /// What the account could spend on top of everything admitted so far.
    pub fn spendable(&self, ledger: &Ledger, account: AccountId, currency: CurrencyId) -> Amount {
        let pending = self.sums.get(&(account, currency)).copied().unwrap_or_default();
        ledger.balance(account, currency).available - pending
    }

    /// The entry with this ticket of this epoch was applied, or never will be: its pending hold goes.
    pub fn settle(&mut self, stream: StreamId, epoch: Epoch, ticket: Ticket) {
        let Some(pending) = self.pending.remove(&(stream, epoch, ticket)) else { return };
        let key = (pending.account, pending.currency);
        if let Some(sum) = self.sums.get_mut(&key) {
            *sum -= pending.amount;
            if sum.is_zero() {
                self.sums.remove(&key);
            }
        }
        if let Some(id) = pending.client_id {
            self.in_flight.remove(&(pending.account, id));
        }
    }

    /// Drops the pending holds that epochs before `epoch` left on `stream`.
    pub fn drop_older(&mut self, stream: StreamId, epoch: Epoch) {
        let is_stale = |(of, begun, _): &&(StreamId, Epoch, Ticket)| *of == stream && *begun < epoch;
        let mut stale: Vec<_> = self.pending.keys().filter(is_stale).copied().collect();
        stale.sort_unstable();
        for (_, begun, ticket) in stale {
            self.settle(stream, begun, ticket);
        }
    }

    /// How many holds are pending.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}
