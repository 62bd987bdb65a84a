//! What was taken and not read back yet.

use crate::persistence::log::{Committed, Proposal, Report};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

struct Pending {
    id: u64,
    since: Instant,
    /// Its batches that were not read back, encoded, each with its serial.
    unread: VecDeque<(u64, Bytes)>,
}

/// Ties the batches that come back to the proposals they came from. Batches carry a serial; they come back in the
/// order of the serials, perhaps more than once.
pub(super) struct Outbox {
    /// Tells our messages from those of others, and of our own earlier lives.
    instance: String,
    /// The serial of the next batch that is taken.
    next: u64,
    /// The serial of the next batch that must come back.
    expected: u64,
    pending: VecDeque<Pending>,
    /// Batches of the first pending proposal that came back already.
    partial: Vec<Committed>,
}

impl Outbox {
    pub(super) fn new(instance: String) -> Outbox {
        Outbox { instance, next: 1, expected: 1, pending: VecDeque::new(), partial: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// When the oldest proposal was taken that was not read back yet.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.since)
    }

    /// The name of a batch as its message carries it.
    pub(super) fn name(&self, serial: u64) -> String {
        format!("{}.{serial}", self.instance)
    }

    fn serial(&self, name: &str) -> Option<u64> {
        name.strip_prefix(self.instance.as_str())?.strip_prefix('.')?.parse().ok()
    }

    /// Takes a proposal. Returns its batches as they are to be published, and the report of it if it has none.
    pub(super) fn take(&mut self, proposal: Proposal) -> (Vec<(u64, Bytes)>, Option<Report>) {
        let mut unread = VecDeque::with_capacity(proposal.batches.len());
        for batch in proposal.batches {
            let mut bytes = Vec::with_capacity(batch.encoded_len());
            batch.encode(&mut bytes);
            unread.push_back((self.next, Bytes::from(bytes)));
            self.next += 1;
        }
        let publish = unread.iter().cloned().collect();
        if unread.is_empty() && self.pending.is_empty() {
            return (publish, Some(Report::Committed { proposal: Some(proposal.id), batches: Vec::new() }));
        }
        self.pending.push_back(Pending { id: proposal.id, since: Instant::now(), unread });
        (publish, None)
    }

    /// Everything that must be published again, in order.
    pub(super) fn unread(&self) -> Vec<(u64, Bytes)> {
        self.pending.iter().flat_map(|pending| pending.unread.iter().cloned()).collect()
    }

    /// A batch came back under this name; what there is to report now.
    pub(super) fn came_back(&mut self, name: &str, committed: Committed) -> Vec<Report> {
        let mut reports = Vec::new();
        if self.serial(name) != Some(self.expected) {
            // Somebody else's, or one of ours that was published twice. Reports follow the order of the log.
            if !self.partial.is_empty() {
                reports.push(Report::Committed { proposal: None, batches: std::mem::take(&mut self.partial) });
            }
            reports.push(Report::Committed { proposal: None, batches: vec![committed] });
            return reports;
        }
        self.expected += 1;
        self.partial.push(committed);
        if let Some(first) = self.pending.front_mut() {
            first.unread.pop_front();
        }
        while self.pending.front().is_some_and(|pending| pending.unread.is_empty())
            && let Some(done) = self.pending.pop_front()
        {
            reports.push(Report::Committed { proposal: Some(done.id), batches: std::mem::take(&mut self.partial) });
        }
        reports
    }
}
