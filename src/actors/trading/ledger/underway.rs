//! The movements that take money and are on their way through the log.

use crate::domain::entry::{LedgerEntry, TransferId};
use crate::domain::ids::Ticket;
use rustc_hash::{FxHashMap, FxHashSet};

/// Their ids, each for as long as its caller waits: what becomes of it is not known yet.
#[derive(Debug, Default)]
pub(super) struct Underway {
    tickets: FxHashMap<Ticket, TransferId>,
    transfers: FxHashSet<TransferId>,
}

impl Underway {
    /// Whether this transfer is on its way.
    pub(super) fn has(&self, transfer: TransferId) -> bool {
        self.transfers.contains(&transfer)
    }

    /// A transfer that is not, is from here on.
    pub(super) fn begins(&mut self, ticket: Ticket, transfer: TransferId) {
        self.tickets.insert(ticket, transfer);
        self.transfers.insert(transfer);
    }

    /// The entry with this ticket was applied, or never will be.
    pub(super) fn ends(&mut self, ticket: Ticket) {
        if let Some(transfer) = self.tickets.remove(&ticket) {
            self.transfers.remove(&transfer);
        }
    }

    /// Nobody waits any more.
    pub(super) fn clear(&mut self) {
        self.tickets.clear();
        self.transfers.clear();
    }
}

/// The transfer that an entry makes, and that a repeat would make again.
pub(super) fn transfer_of(entry: &LedgerEntry) -> Option<TransferId> {
    match entry {
        LedgerEntry::Deposit(movement)
        | LedgerEntry::Withdraw(movement)
        | LedgerEntry::HoldWithdrawal(movement)
        | LedgerEntry::Transfer { movement, .. } => Some(movement.transfer),
        LedgerEntry::ListCurrency(_)
        | LedgerEntry::ListMarket(_)
        | LedgerEntry::OpenAccount { .. }
        | LedgerEntry::SetFrozen { .. }
        | LedgerEntry::ReleaseWithdrawal { .. }
        | LedgerEntry::SettleWithdrawal { .. }
        | LedgerEntry::AddCurrency { .. }
        | LedgerEntry::AddMarket { .. }
        | LedgerEntry::SetStopped { .. } => None,
    }
}
