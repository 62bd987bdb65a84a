//! What nodes tell each other besides commands and states: hints that may get lost and that nobody waits for.

use tokio::sync::{broadcast, mpsc};

/// Hints that wait for their way out; beyond, they are dropped.
const OUTGOING: usize = 1_024;
/// Hints that a reader may be behind; then it hears that it missed some.
const INCOMING: usize = 1_024;

/// The way to all other nodes and back. Clones share it.
#[derive(Clone, Debug)]
pub struct Gossip {
    out: mpsc::Sender<Vec<u8>>,
    heard: broadcast::Sender<Vec<u8>>,
}

impl Gossip {
    /// A way, and its other end.
    pub(super) fn new() -> (Gossip, mpsc::Receiver<Vec<u8>>) {
        let (out, taken) = mpsc::channel(OUTGOING);
        (Gossip { out, heard: broadcast::Sender::new(INCOMING) }, taken)
    }

    /// Tells all nodes, this one too; false when it was dropped because too much waits.
    pub fn tell(&self, hint: Vec<u8>) -> bool {
        self.out.try_send(hint).is_ok()
    }

    /// Everything that is told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Vec<u8>> {
        self.heard.subscribe()
    }

    pub(super) fn heard(&self, hint: Vec<u8>) {
        // That nobody listens is no fault.
        let _ = self.heard.send(hint);
    }
}
