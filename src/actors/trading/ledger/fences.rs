//! Every market begins a new epoch before the ledger admits anything: a book that admitted against a ledger which died may
//! have entries on their way whose holds are not pending here.

use super::LedgerActor;
use crate::actors::trading::order_book::Refence;
use crate::domain::ids::Epoch;
use std::time::Duration;

/// How often is looked whether a book that was to begin an epoch still can.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

impl LedgerActor {
    /// Asks every book for a new epoch.
    pub(super) fn refence(&mut self) {
        self.unfenced = self.parts.books.lock().keys().copied().collect();
        self.unasked.clone_from(&self.unfenced);
        self.ask_for_epochs();
    }

    /// Asks the books that were not asked yet, and waits no longer for one that was halted meanwhile: it will bring no
    /// entries, and when it is started again it begins an epoch by itself. A ledger without an epoch asks nobody.
    pub(super) fn ask_for_epochs(&mut self) {
        if self.unfenced.is_empty() || self.epoch == Epoch::default() {
            return;
        }
        let books = self.parts.books.lock();
        let unasked = &mut self.unasked;
        self.unfenced.retain(|market| {
            let Some(book) = books.get(market).filter(|book| !book.is_closed()) else {
                unasked.remove(market);
                return false;
            };
            if unasked.contains(market) {
                match book.try_send(Refence) {
                    Ok(()) => drop(unasked.remove(market)),
                    Err(why) => tracing::debug!(market = market.0, %why, "a book is asked for a new epoch later"),
                }
            }
            true
        });
    }
}
