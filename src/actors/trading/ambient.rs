//! What belongs to a thread, and in a simulation, where several nodes share one, to a node.

use super::outbox::{self, Outbox};
use super::tickets;

/// What a node keeps in its threads. A process that begins has used no tickets and has nothing to hand over.
pub struct Ambient {
    outbox: Outbox,
    tickets: Option<u64>,
}

impl Default for Ambient {
    fn default() -> Ambient {
        Ambient { outbox: Outbox::default(), tickets: Some(0) }
    }
}

impl Ambient {
    /// Exchanges this with what the thread has now: before a node has its turn, and again after it.
    pub fn swap(&mut self) {
        outbox::swap(&mut self.outbox);
        self.tickets = tickets::count_apart(self.tickets);
    }
}
