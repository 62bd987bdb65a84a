//! Tickets: what ties an entry to the admission that proposed it.

use crate::domain::ids::Ticket;
use std::sync::atomic::{AtomicU64, Ordering};

static NEWEST: AtomicU64 = AtomicU64::new(0);

/// A ticket that this process has not used before, so that actors that were restarted cannot take
/// an older incarnation's entry for one of their own.
pub fn next_ticket() -> Ticket {
    Ticket(NEWEST.fetch_add(1, Ordering::Relaxed) + 1)
}
