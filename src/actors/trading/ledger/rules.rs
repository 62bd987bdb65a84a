//! What the ledger keeps out of its stream, whoever asks for it. Decided when a command is admitted: what is in the log is
//! applied.

use super::super::Refused;
use super::LedgerCommand;
use crate::domain::entry::{LedgerEntry, TransferId};
use crate::domain::ids::AccountId;
use crate::domain::ledger::{Ignored, Ledger, LedgerOutcome};
use crate::domain::order::Reject;

/// The answer to a command that is not to get into the log. `is_closing` says that somebody's freezing, or a stop of the
/// venue, is on its way.
pub(super) fn kept_out(
    ledger: &Ledger,
    command: &LedgerCommand,
    is_closing: bool,
) -> Option<Result<LedgerOutcome, Refused>> {
    match command {
        // The venue's own accounts are no users: what leaves does so through a custodian, and the house earns fees alone.
        LedgerCommand::Transfer(_, to) if *to < AccountId::FIRST_USER => {
            Some(Ok(LedgerOutcome::Ignored(Ignored::Invalid)))
        }
        LedgerCommand::ReleaseWithdrawal(transfer) => {
            // Whom it is about is known when it is applied; until then nothing leaves, and the desk asks again.
            let waits = is_closing.then_some(Reject::AccountFrozen);
            stays_held(ledger, *transfer).or(waits).map(|reason| Err(Refused::Reject(reason)))
        }
        _ => None,
    }
}

/// Whether nothing may leave before this entry is applied.
pub(super) fn closes(entry: &LedgerEntry) -> bool {
    matches!(entry, LedgerEntry::SetFrozen { frozen: true, .. } | LedgerEntry::SetStopped { stopped: true, .. })
}

/// Why a withdrawal whose money is held does not leave now: its owner may not withdraw, or nobody may. Until then it may be
/// called back.
fn stays_held(ledger: &Ledger, transfer: TransferId) -> Option<Reject> {
    let held = ledger.withdrawal(transfer).filter(|held| !held.released)?;
    if ledger.is_stopped() {
        return Some(Reject::KillSwitch);
    }
    ledger.is_frozen(held.movement.account).then_some(Reject::AccountFrozen)
}
