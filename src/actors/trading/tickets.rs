//! Tickets: what ties an entry to the admission that proposed it.

use crate::domain::ids::Ticket;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static NEWEST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The newest ticket of the node that is simulated on this thread, if one is.
    static SIMULATED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A ticket that this process has not used before, so that actors that were restarted cannot take
/// an older incarnation's entry for one of their own.
pub fn next_ticket() -> Ticket {
    Ticket(match SIMULATED.get() {
        Some(newest) => {
            SIMULATED.set(Some(newest + 1));
            newest + 1
        }
        None => NEWEST.fetch_add(1, Ordering::Relaxed) + 1,
    })
}

/// Lets this thread count its own tickets from here on, or not; gives back how far it had counted.
pub(super) fn count_apart(newest: Option<u64>) -> Option<u64> {
    SIMULATED.replace(newest)
}
