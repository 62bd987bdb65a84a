//! What happened, as a digest of all of it and the last lines in words.

use std::collections::VecDeque;

/// Lines that are kept.
const KEPT: usize = 80;

/// The story of a run.
pub(super) struct Trace {
    hasher: blake3::Hasher,
    lines: VecDeque<String>,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace { hasher: blake3::Hasher::new(), lines: VecDeque::with_capacity(KEPT) }
    }

    /// Adds what happened.
    pub(super) fn tell(&mut self, line: String) {
        tracing::debug!(target: "agora::simulation", "{line}");
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Adds bytes that nobody reads.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Of everything so far.
    pub(super) fn digest(&self) -> String {
        let hash = self.hasher.finalize();
        hash.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The last lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
