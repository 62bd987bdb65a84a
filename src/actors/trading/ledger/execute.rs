//! Commands of the ledger's own stream, on their way into the log.

use super::super::post::Reply;
use super::super::tickets::next_ticket;
use super::super::{Refused, Unavailable};
use super::rules::kept_out;
use super::{LedgerActor, LedgerCommand};
use crate::actors::event_log::Propose;
use crate::domain::admission::{Refusal, Request};
use crate::domain::codec::Coded;
use crate::domain::entry::{LedgerEntry, Movement};
use crate::domain::ids::{CurrencyId, MarketId, StreamId};
use crate::domain::ledger::{Ignored, LedgerOutcome, needs};
use crate::domain::replica::LedgerReplica;

impl LedgerActor {
    /// Proposes what a command asks for, or answers at once why not.
    pub(super) fn execute(&mut self, command: LedgerCommand, reply: Reply<LedgerOutcome>) {
        let Some(replica) = self.state.as_ref().map(|state| &state.replica).filter(|replica| self.is_fenced(replica))
        else {
            return reply.send(Err(Refused::Unavailable(Unavailable::Starting)));
        };
        if let Some(answer) = kept_out(&replica.ledger, &command, self.underway.is_closing()) {
            return reply.send(answer);
        }
        let entry = to_be_written(command, replica);
        let transfer = entry.transfer();
        if transfer.is_some_and(|transfer| replica.ledger.knows_transfer(transfer)) {
            return reply.send(Ok(LedgerOutcome::Ignored(Ignored::Repeat)));
        }
        if let Some((ticket, account, currency, amount)) = needs(&entry) {
            if transfer.is_some_and(|transfer| self.underway.takes(transfer)) {
                // The money may be lacking because the first one has it.
                return reply.send(Err(Refused::Unavailable(Unavailable::OutcomeUnknown)));
            }
            let (stream, epoch) = (StreamId::Ledger, self.epoch);
            let request = Request { stream, ticket, epoch, account, currency, amount, client_id: None, vouched: None };
            if let Err(Refusal::Reject(reason)) = self.admission.admit(&replica.ledger, &replica.client_ids, request) {
                return reply.send(Err(Refused::Reject(reason)));
            }
        }
        let mut entries = Vec::new();
        entry.encode(&mut entries);
        let proposal = Propose { stream: StreamId::Ledger, epoch: self.epoch, entries, count: 1 };
        match self.parts.log.try_send(proposal) {
            Ok(()) => self.underway.begins(&entry, reply),
            Err(_) => {
                self.admission.settle(StreamId::Ledger, self.epoch, entry.ticket());
                reply.send(Err(Refused::Unavailable(Unavailable::Overloaded)));
            }
        }
    }
}

/// The entry of a command, under a new ticket.
fn to_be_written(command: LedgerCommand, replica: &LedgerReplica) -> LedgerEntry {
    let ticket = next_ticket();
    match command {
        LedgerCommand::OpenAccount(account) => LedgerEntry::OpenAccount { ticket, account },
        LedgerCommand::SetFrozen(account, frozen) => LedgerEntry::SetFrozen { ticket, account, frozen },
        LedgerCommand::Deposit(movement) => LedgerEntry::Deposit(Movement { ticket, ..movement }),
        LedgerCommand::Withdraw(movement) => LedgerEntry::Withdraw(Movement { ticket, ..movement }),
        LedgerCommand::Transfer(movement, to) => {
            LedgerEntry::Transfer { movement: Movement { ticket, ..movement }, to }
        }
        LedgerCommand::HoldWithdrawal(movement) => LedgerEntry::HoldWithdrawal(Movement { ticket, ..movement }),
        LedgerCommand::ReleaseWithdrawal(transfer) => LedgerEntry::ReleaseWithdrawal { ticket, transfer },
        LedgerCommand::SettleWithdrawal(transfer, how) => LedgerEntry::SettleWithdrawal { ticket, transfer, how },
        LedgerCommand::ListCurrency(mut currency) => {
            currency.id = CurrencyId(replica.ledger.currencies().len() as u16);
            LedgerEntry::AddCurrency { ticket, currency }
        }
        LedgerCommand::ListMarket(mut config) => {
            config.id = MarketId(replica.ledger.markets().len() as u16);
            LedgerEntry::AddMarket { ticket, config }
        }
        LedgerCommand::SetStopped(stopped) => LedgerEntry::SetStopped { ticket, stopped },
    }
}
