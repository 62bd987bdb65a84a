//! Commands of the ledger's stream that are on their way through the log, with whoever waits for each.

use super::super::post::Reply;
use super::rules::closes;
use crate::domain::entry::{LedgerEntry, TransferId};
use crate::domain::ids::Ticket;
use crate::domain::ledger::{LedgerOutcome, needs};
use rustc_hash::{FxHashMap, FxHashSet};

/// One of them.
struct Waiting {
    reply: Reply<LedgerOutcome>,
    /// The transfer that it makes, if that takes money.
    takes: Option<TransferId>,
    /// Whether nothing may leave before it is applied.
    closes: bool,
}

/// All of them, and what follows from them for others meanwhile.
#[derive(Default)]
pub(super) struct Underway {
    waiting: FxHashMap<Ticket, Waiting>,
    taking: FxHashSet<TransferId>,
    closing: usize,
}

impl Underway {
    /// Whether a transfer that takes money is on its way: what becomes of it is not known yet.
    pub(super) fn takes(&self, transfer: TransferId) -> bool {
        self.taking.contains(&transfer)
    }

    /// Whether somebody's freezing, or a stop of the venue, is on its way.
    pub(super) fn is_closing(&self) -> bool {
        self.closing > 0
    }

    /// An entry is on its way from here on.
    pub(super) fn begins(&mut self, entry: &LedgerEntry, reply: Reply<LedgerOutcome>) {
        let takes = needs(entry).and(entry.transfer());
        self.taking.extend(takes);
        let closes = closes(entry);
        self.closing += usize::from(closes);
        self.waiting.insert(entry.ticket(), Waiting { reply, takes, closes });
    }

    /// The entry with this ticket was applied, or never will be; who waits for it, if it is of one of these.
    pub(super) fn ends(&mut self, ticket: Ticket) -> Option<Reply<LedgerOutcome>> {
        let Waiting { reply, takes, closes } = self.waiting.remove(&ticket)?;
        if let Some(transfer) = takes {
            self.taking.remove(&transfer);
        }
        self.closing -= usize::from(closes);
        Some(reply)
    }

    /// Whoever waits, and need not any more.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Reply<LedgerOutcome>> {
        std::mem::take(self).waiting.into_values().map(|waiting| waiting.reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::Movement;
    use crate::domain::ids::{AccountId, CurrencyId};
    use crate::domain::money::Amount;

    const ADA: AccountId = AccountId::FIRST_USER;

    fn begins(underway: &mut Underway, entry: &LedgerEntry) {
        underway.begins(entry, Reply::here().0);
    }

    #[test]
    fn what_is_on_its_way_counts_until_each_has_ended() {
        let freeze = |ticket| LedgerEntry::SetFrozen { ticket: Ticket(ticket), account: ADA, frozen: true };
        let thaw = LedgerEntry::SetFrozen { ticket: Ticket(3), account: ADA, frozen: false };
        let mut underway = Underway::default();
        for entry in [freeze(1), freeze(2), thaw] {
            begins(&mut underway, &entry);
        }
        // That the later one is refused changes nothing for the earlier one.
        assert!(underway.ends(Ticket(2)).is_some() && underway.is_closing());
        assert!(underway.ends(Ticket(2)).is_none() && underway.is_closing());
        assert!(underway.ends(Ticket(1)).is_some() && !underway.is_closing());
        begins(&mut underway, &freeze(4));
        assert_eq!(underway.give_up().count(), 2);
        assert!(!underway.is_closing());
    }

    #[test]
    fn transfers_that_take_money_are_known_while_they_are_on_their_way() {
        let movement = |ticket, transfer| Movement {
            ticket: Ticket(ticket),
            account: ADA,
            currency: CurrencyId(0),
            amount: Amount(1),
            transfer,
        };
        let mut underway = Underway::default();
        begins(&mut underway, &LedgerEntry::Transfer { movement: movement(1, 10), to: AccountId(ADA.0 + 1) });
        begins(&mut underway, &LedgerEntry::Deposit(movement(2, 20)));
        assert!(underway.takes(10) && !underway.takes(20));
        assert!(underway.ends(Ticket(1)).is_some() && !underway.takes(10));
    }
}
