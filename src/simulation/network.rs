//! What lies between the nodes: the lock that says who should lead, and commands on their way.

use crate::actors::cluster::lead::Lock;
use crate::actors::trading::Unavailable;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The service that gives the lock away. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Locks(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    /// The node that has it, and which process of it.
    by: Option<(u16, u64)>,
    cut_off: BTreeSet<u16>,
}

impl Locks {
    /// The lock as one process of a node sees it.
    pub(super) fn seen_by(&self, node: u16, process: u64) -> SeenLock {
        SeenLock { locks: self.clone(), node, process }
    }

    /// The node cannot reach the service, or can again.
    pub(super) fn cut_off(&self, node: u16, cut: bool) {
        let mut held = self.0.lock();
        if cut {
            held.cut_off.insert(node);
        } else {
            held.cut_off.remove(&node);
        }
    }

    /// The service has not heard of the node for too long, or knows that its process has ended.
    pub(super) fn expire(&self, node: u16) {
        self.0.lock().by.take_if(|(by, _)| *by == node);
    }

    pub(super) fn holder(&self) -> Option<u16> {
        self.0.lock().by.map(|(node, _)| node)
    }
}

/// The service is out of reach, or has given the lock to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost;

/// See [`Locks::seen_by`].
pub(super) struct SeenLock {
    locks: Locks,
    node: u16,
    process: u64,
}

impl Lock for SeenLock {
    type Error = Lost;

    async fn take(&self) -> Result<bool, Lost> {
        let mut held = self.locks.0.lock();
        if held.cut_off.contains(&self.node) {
            return Err(Lost);
        }
        let own = (self.node, self.process);
        Ok(*held.by.get_or_insert(own) == own)
    }

    fn check(&self) -> Result<(), Lost> {
        let held = self.locks.0.lock();
        let own = held.by == Some((self.node, self.process)) && !held.cut_off.contains(&self.node);
        if own { Ok(()) } else { Err(Lost) }
    }

    async fn release(&self) -> Result<(), Lost> {
        self.check()?;
        self.locks.0.lock().by = None;
        Ok(())
    }
}

/// Takes an encoded answer, or the word that the command never left.
pub(super) type Answer = oneshot::Sender<Result<Vec<u8>, Unavailable>>;

/// A command on its way from one node to another.
pub(super) struct Letter {
    /// Its name, for the answer.
    pub(super) id: u64,
    /// The sender, and which process of it.
    pub(super) from: (usize, u64),
    pub(super) to: usize,
    pub(super) command: Vec<u8>,
}

/// An answer on its way back.
pub(super) struct Return {
    pub(super) id: u64,
    pub(super) from: usize,
    pub(super) to: (usize, u64),
    pub(super) answer: Vec<u8>,
}

/// What is on its way, in no order.
#[derive(Default)]
pub(super) struct Network {
    pub(super) letters: Vec<Letter>,
    pub(super) returns: Vec<Return>,
    /// Who waits for which answer, by the letter's id.
    pub(super) waiting: std::collections::BTreeMap<u64, Answer>,
    pub(super) sent: u64,
}
