//! What is known of the log beside the actor, for metrics and for whoever follows it; outlives the actor.
//!
//! Invariants: `position` and what was handed over change under one lock, by the word of one incarnation at a time; what
//! is said to hold nothing of a stream holds nothing of it, whoever asks and whenever.

use crate::actors::latency::Latency;
use crate::domain::ids::StreamId;
use crate::domain::stream::StreamState;
use crate::persistence::log::Position;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Figures that operators watch, shared with the metrics.
#[derive(Debug, Default)]
pub struct LogMeter {
    /// Proposals that were committed.
    pub flushes: AtomicU64,
    /// Entries that were committed.
    pub entries: AtomicU64,
    /// Proposals that were refused.
    pub refused: AtomicU64,
    /// Nanoseconds from proposal to commit, summed.
    pub flush_nanos: AtomicU64,
    /// Time from proposal to commit.
    pub flush: Latency,
    /// The position of the newest committed batch.
    pub position: AtomicU64,
    /// How many event logs there were in this program. One that dies takes with it who owns which stream.
    pub incarnations: AtomicU64,
    /// The position of the newest batch that the bridge has told other services of; 0 while it tells of none here.
    pub published: AtomicU64,
    /// The position of the newest batch that the database's archive was found to have, of a log at a broker; 0 of a log
    /// in files, of which nothing goes before it is archived.
    pub archived: AtomicU64,
    /// Behind where a part of the log was found to be gone of which the database has neither rows of trading nor a copy
    /// in its archive; until it was read after all.
    pub gone: Mutex<Option<Position>>,
    /// Whether the same was found of rows of chat.
    pub chat_gone: AtomicBool,
    /// Whether the broker has refused this node's number when last asked for it: another process has it, or one that
    /// has died a moment ago.
    pub number_taken: AtomicBool,
    /// Whether the last proposal was refused, or the engine is out of reach or has failed.
    pub degraded: AtomicBool,
    /// The same, but that a refusal counts for some seconds only: whether proposals made now had better go elsewhere.
    pub refuses: AtomicBool,
    /// What was handed to the owners of streams. `position` is set under its lock.
    handed: Mutex<Handed>,
}

/// What event logs have handed to the owners of streams.
#[derive(Debug, Default)]
struct Handed {
    /// The incarnation whose word counts: one that was given up may wake and go on with what it was doing.
    log: u64,
    streams: BTreeMap<StreamId, HandedOver>,
}

/// The same of one stream.
#[derive(Debug, Default)]
struct HandedOver {
    /// The position of the newest batch.
    newest: u64,
    /// Whether the owner did not take one since it began.
    missed: bool,
    /// Where the stream stood when its owner had read everything, and the position up to which nothing follows that.
    quiet: Option<(StreamState, Position)>,
}

impl LogMeter {
    /// Whether a part of the log is gone of which the database lacks rows, and a copy in its archive.
    pub fn is_gone(&self) -> bool {
        self.gone.lock().is_some() || self.chat_gone.load(Ordering::Relaxed)
    }

    /// The position of the newest batch of a stream since the start; 0 when there was none.
    pub fn newest_of(&self, stream: StreamId) -> u64 {
        self.handed.lock().streams.get(&stream).map_or(0, |handed| handed.newest)
    }

    /// Only this incarnation's word counts from now on, unless a later one has begun.
    pub(super) fn begins_with(&self, log: u64) {
        let mut handed = self.handed.lock();
        handed.log = handed.log.max(log);
    }

    /// A stream has an owner from now on, who looks by itself for what came before.
    pub(super) fn has_owner(&self, log: u64, stream: StreamId) {
        let mut handed = self.handed.lock();
        if log == handed.log {
            handed.streams.entry(stream).or_default().missed = false;
        }
    }

    /// A batch was handed to the owner of its stream, who has `taken` it or not.
    pub(super) fn hand_over(&self, log: u64, stream: StreamId, position: Position, taken: bool) {
        let mut handed = self.handed.lock();
        if log < handed.log {
            return;
        }
        let of_stream = handed.streams.entry(stream).or_default();
        of_stream.newest = position.0;
        of_stream.missed |= !taken;
        // Whoever sees the position and then asks the owner finds the batch applied: it is in the mailbox before.
        self.position.store(position.0, Ordering::Release);
    }

    /// The owner of a stream, which it began at this incarnation of the event log, has read it up to position `at`, where
    /// it stands at `place`. If that is all that was handed over, nothing of the stream lies between there and the newest
    /// batch of all that were; which is remembered, since the owner's own word dies with it, and the log may be long.
    pub fn has_read(&self, stream: StreamId, log: u64, at: Position, place: StreamState) {
        let mut handed = self.handed.lock();
        if handed.log != log {
            return;
        }
        let through = at.max(Position(self.position.load(Ordering::Relaxed)));
        let of_stream = handed.streams.entry(stream).or_default();
        if !of_stream.missed && of_stream.newest <= at.0 {
            of_stream.quiet = Some((place, through));
        }
    }

    /// Behind which position to look for what follows in a stream that was read up to position `at`, where it stands at
    /// `place`. What is known to hold nothing of it is left out.
    pub fn unread_behind(&self, stream: StreamId, at: Position, place: StreamState) -> Position {
        let quiet = self.handed.lock().streams.get(&stream).and_then(|handed| handed.quiet);
        quiet.filter(|(stood, _)| *stood == place).map_or(at, |(_, through)| at.max(through))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Epoch, MarketId, Sequence};

    const QUIET: StreamId = StreamId::Market(MarketId(0));
    const BUSY: StreamId = StreamId::Ledger;

    fn place(sequence: u64) -> StreamState {
        StreamState { epoch: Epoch { counter: 1, node: 1 }, batch: sequence, sequence: Sequence(sequence) }
    }

    /// A meter of a log in which the quiet stream stands at position 10 and the busy one at 500.
    fn meter() -> LogMeter {
        let meter = LogMeter::default();
        meter.begins_with(1);
        meter.has_owner(1, QUIET);
        meter.hand_over(1, QUIET, Position(10), true);
        meter.hand_over(1, BUSY, Position(500), true);
        meter
    }

    #[test]
    fn what_holds_nothing_of_a_stream_is_left_out() {
        let meter = meter();
        // Its owner has not come to its newest batch yet.
        meter.has_read(QUIET, 1, Position(9), place(1));
        assert_eq!(meter.unread_behind(QUIET, Position(9), place(1)), Position(9));
        meter.has_read(QUIET, 1, Position(10), place(2));
        assert_eq!(meter.unread_behind(QUIET, Position(10), place(2)), Position(500));
        // Of whoever stands elsewhere nothing is known.
        assert_eq!(meter.unread_behind(QUIET, Position(9), place(1)), Position(9));
        assert_eq!(meter.unread_behind(BUSY, Position(10), place(2)), Position(10));
        // What comes next is in a mailbox: it does not change what is known of before.
        meter.hand_over(1, QUIET, Position(501), true);
        meter.hand_over(1, BUSY, Position(600), true);
        meter.has_read(QUIET, 1, Position(10), place(2));
        assert_eq!(meter.unread_behind(QUIET, Position(10), place(2)), Position(500));
    }

    #[test]
    fn nobody_is_believed_who_may_lack_something() {
        let meter = meter();
        meter.begins_with(2);
        // A log that was given up goes on with what it was doing.
        meter.hand_over(1, BUSY, Position(700), true);
        assert_eq!((meter.position.load(Ordering::Relaxed), meter.newest_of(BUSY)), (500, 500));
        // With it was lost what this owner did not get.
        meter.has_read(QUIET, 1, Position(10), place(2));
        assert_eq!(meter.unread_behind(QUIET, Position(10), place(2)), Position(10));
        // This one did not take a batch, but one behind it that counts for nobody.
        meter.has_owner(2, QUIET);
        meter.hand_over(2, QUIET, Position(800), false);
        meter.hand_over(2, QUIET, Position(801), true);
        meter.hand_over(2, BUSY, Position(900), true);
        meter.has_read(QUIET, 2, Position(801), place(2));
        assert_eq!(meter.unread_behind(QUIET, Position(801), place(2)), Position(801));
        // It begins anew, and looks by itself.
        meter.has_owner(2, QUIET);
        meter.has_read(QUIET, 2, Position(801), place(3));
        assert_eq!(meter.unread_behind(QUIET, Position(801), place(3)), Position(900));
    }
}
