//! The event log as an actor: proposals in, committed batches out, in order.
//!
//! Owns what is queued for each stream and the one proposal that is on its way. Everything that is
//! queued when the engine is free goes into one proposal and one flush, over all streams. Invariants:
//! at most one proposal is under way; a batch number is used up only when its batch was written;
//! what an older epoch queued is dropped when its stream begins a new one.

mod meter;
#[cfg(test)]
mod tests;

pub use meter::LogMeter;

use super::log_time::LogTime;
use super::role::Role;
use super::supervision::{Handle, Lifeline, Port};
use crate::domain::batch::{Batch, MAX_PAYLOAD};
use crate::domain::ids::{Epoch, StreamId};
use crate::domain::time::Timestamp;
use crate::persistence::log::{AppendError, Committed, LogEngine, Proposal, Report};
use actix::prelude::*;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The most bytes that wait for one stream; beyond it proposals are refused.
const MAX_QUEUED: usize = MAX_PAYLOAD / 2;

/// How often the log looks at its engine, and after what it could not write.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After so many looks (three seconds) a refusal alone does not count any more: a proxy that sends nothing to a node that
/// takes nothing would never learn that it does again. Counted, not timed: there is no clock but the one that is handed in.
const REFUSAL_COUNTS_FOR: u32 = 15;

/// What a stream's owner hears from the log, in order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum FromLog {
    /// A batch of the stream is durable and final.
    Committed(Committed),
    /// What was queued was not written and never will be; it may be proposed again.
    NotWritten {
        /// The batch as it would have been.
        batch: Arc<Batch>,
        /// Why.
        error: AppendError,
    },
    /// Another node has begun a newer epoch: nothing is admitted here any more. What is under way may or may not come
    /// back before the marker of its stream.
    Deposed,
    /// What is admitted here would count for nobody, or something was not heard of, so another epoch is to be begun.
    /// Either the stream has a newer one than the one that was begun here: an earlier process of this node had it on its
    /// way when this one read how far the log is. Or another process has begun the same one, and writes in it. Or the
    /// owner's mailbox had no room for one of the above.
    Outrun,
}

/// Queues encoded entries for a stream. Answered by [`FromLog`] to the stream's owner.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), NotQueued>")]
pub struct Propose {
    /// The stream.
    pub stream: StreamId,
    /// The epoch in which the entries were admitted.
    pub epoch: Epoch,
    /// The entries, encoded.
    pub entries: Vec<u8>,
    /// How many.
    pub count: u32,
}

/// Why entries were not queued; nothing was kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// The stream has begun a newer epoch.
    #[error("a newer epoch has begun")]
    Stale,
    /// Too much waits already.
    #[error("the log is overloaded")]
    Full,
    /// The log's broker is away.
    #[error("the log is out of reach")]
    OutOfReach,
}

/// Names the owner of a stream and, on a node that may, begins a new epoch of it. The marker is on its way when this
/// is answered; the owner admits once it reads it back. On a standby its owners only apply.
#[derive(Debug, Message)]
#[rtype(result = "Begun")]
pub struct Begin {
    /// The stream.
    pub stream: StreamId,
    /// Who hears of its batches from now on.
    pub owner: Port<FromLog>,
}

/// As [`Begin`], for a stream whose owner is down: nothing more of it gets into the log before the marker. Whoever owns
/// the stream next has to look into the log.
#[derive(Debug, Message)]
#[rtype(result = "Option<Epoch>")]
pub struct StandIn {
    /// The stream.
    pub stream: StreamId,
    /// Who hears of its batches meanwhile.
    pub owner: Port<FromLog>,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The new epoch, which is on its way; none on a standby.
    pub epoch: Option<Epoch>,
    /// Whether everything that was committed since the stream's last epoch began was put into its
    /// owner's mailbox. Otherwise the owner has to look for it in the log.
    pub unbroken: bool,
    /// The incarnation of the event log, which owns the stream from now on.
    pub log: u64,
}

/// A report of the engine.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EngineReport(pub Report);

/// The source of epoch numbers and of the names of proposals; outlives the actor, so that numbers
/// only grow and a report on an older incarnation's proposal is never taken for another's.
#[derive(Debug)]
pub struct Epochs {
    counter: AtomicU64,
    node: u16,
    proposals: AtomicU64,
}

impl Epochs {
    /// Numbers above `newest`, for this node.
    pub fn above(newest: Epoch, node: u16) -> Epochs {
        Epochs { counter: AtomicU64::new(newest.counter), node, proposals: AtomicU64::new(0) }
    }

    fn next_proposal(&self) -> u64 {
        self.proposals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An epoch was read: those that are begun here must be greater.
    fn observe(&self, epoch: Epoch) {
        self.counter.fetch_max(epoch.counter, Ordering::Relaxed);
    }

    fn next(&self) -> Epoch {
        Epoch { counter: self.counter.fetch_add(1, Ordering::Relaxed) + 1, node: self.node }
    }
}

struct Stream {
    epoch: Epoch,
    /// The number of the newest batch that was proposed.
    number: u64,
    marker_due: bool,
    queued: Vec<u8>,
    count: u32,
    owner: Port<FromLog>,
    /// Whether the owner took everything that was committed since the epoch began.
    unbroken: bool,
    /// Whether the owner has taken every batch since it began. Once it has not, it gets no more of them until it begins
    /// anew: the marker of a newer epoch would hide what is missing of the older one.
    whole: bool,
    /// Whether the owner did not take something and was not told so yet.
    owes_word: bool,
}

struct UnderWay {
    id: u64,
    since: Instant,
    batches: Vec<Arc<Batch>>,
}

/// The actor. See the module's documentation.
pub struct EventLog {
    engine: Arc<dyn LogEngine + Sync>,
    epochs: Arc<Epochs>,
    role: Role,
    meter: Arc<LogMeter>,
    streams: BTreeMap<StreamId, Stream>,
    under_way: Option<UnderWay>,
    time: Arc<LogTime>,
    /// Whether the engine could be reached when last looked at.
    available: bool,
    /// How often the engine was looked at since the last refusal.
    looks: u32,
    lifeline: Lifeline,
}

impl EventLog {
    /// A log over this engine, whose sink must forward its reports here as [`EngineReport`].
    /// Only through `time` does time enter the log; it never runs backwards in it.
    pub fn new(
        engine: Arc<dyn LogEngine + Sync>,
        epochs: Arc<Epochs>,
        role: Role,
        meter: Arc<LogMeter>,
        time: Arc<LogTime>,
        lifeline: Lifeline,
    ) -> EventLog {
        EventLog {
            engine,
            epochs,
            role,
            meter,
            streams: BTreeMap::new(),
            under_way: None,
            time,
            available: true,
            looks: 0,
            lifeline,
        }
    }

    fn flush(&mut self) {
        if self.under_way.is_some() || self.streams.values().all(|s| s.count == 0 && !s.marker_due) {
            return;
        }
        let at = self.time.stamp();
        let mut batches = Vec::new();
        for (id, stream) in &mut self.streams {
            let mut batch = |stream: &mut Stream, count, payload| {
                stream.number += 1;
                let (epoch, number) = (stream.epoch, stream.number);
                batches.push(Batch { stream: *id, epoch, number, at, count, payload });
            };
            if stream.marker_due {
                stream.marker_due = false;
                batch(stream, 0, Bytes::new());
            }
            if stream.count > 0 {
                let count = std::mem::take(&mut stream.count);
                let room = stream.queued.len();
                let payload = std::mem::replace(&mut stream.queued, Vec::with_capacity(room));
                batch(stream, count, Bytes::from(payload));
            }
        }
        let shared: Vec<Arc<Batch>> = batches.iter().cloned().map(Arc::new).collect();
        let id = self.epochs.next_proposal();
        match self.engine.propose(Proposal { id, batches }) {
            Ok(()) => {
                #[cfg(test)]
                self.take_for_committed(&shared);
                self.under_way = Some(UnderWay { id, since: Instant::now(), batches: shared });
            }
            // One proposal at a time never fills the engine's queue, unless the engine is gone.
            Err(busy) => {
                self.under_way = Some(UnderWay { id, since: Instant::now(), batches: shared });
                self.refused(id, AppendError::Unavailable(busy.to_string()));
            }
        }
    }

    fn committed(&mut self, proposal: Option<u64>, batches: Vec<Committed>) {
        // An engine may lose the word that a proposal was committed, but not its batches: what was read back is there.
        let is_done = |under_way: &mut UnderWay| {
            let last = under_way.batches.last();
            // The content too: what another process has put in its place does not say that it is done.
            let is_last = |read: &Committed| last.is_some_and(|last| *last == read.batch);
            Some(under_way.id) == proposal || batches.iter().any(is_last)
        };
        if let Some(under_way) = self.under_way.take_if(is_done) {
            let took = under_way.since.elapsed();
            self.meter.flush.observe(took);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.meter.flush_nanos.fetch_add(nanos, Ordering::Relaxed);
            self.meter.flushes.fetch_add(1, Ordering::Relaxed);
            self.meter.degraded.store(false, Ordering::Relaxed);
            self.meter.refuses.store(!self.available, Ordering::Relaxed);
        }
        // The next group is on its way to the disk while this one is applied.
        self.flush();
        for committed in batches {
            let batch = &committed.batch;
            tracing::debug!(target: "agora::path", stream = %batch.stream, number = batch.number, entries = batch.count,
                position = committed.position.0, "committed");
            let (stream, position) = (batch.stream, committed.position);
            self.meter.entries.fetch_add(u64::from(batch.count), Ordering::Relaxed);
            self.time.saw(batch.at);
            self.observe(batch);
            let taken = self.tell(stream, FromLog::Committed(committed));
            self.meter.hand_over(self.lifeline.incarnation(), stream, position, taken);
        }
    }

    /// Takes note of the epoch of a batch that was read. When it is newer than the stream's own, this node steps down if it
    /// is another node's, and begins anew if it is its own; or if it is the stream's, but another process writes in it.
    fn observe(&mut self, batch: &Batch) {
        let (stream, epoch) = (batch.stream, batch.epoch);
        self.epochs.observe(epoch);
        self.role.observed(epoch);
        let own = self.streams.get(&stream).map(|stream| stream.epoch);
        let is_newer = own.is_some_and(|own| own != Epoch::default() && epoch > own);
        if !is_newer && !self.is_a_namesakes(batch) {
            return;
        }
        // Two processes with one number would go on for ever, each with a newer epoch than the other's. The one whose
        // number the broker has given away takes the other one for another node.
        if epoch.node == self.role.node() && !self.meter.number_taken.load(Ordering::Relaxed) {
            tracing::warn!(%stream, %epoch, "another process of this node's number was here: one before \
                this one, whose batches came late, or one that runs");
            return self.end_epoch(stream, FromLog::Outrun);
        }
        // It may have stepped down before, when its take-over took too long; the streams do not know that yet.
        self.role.step_down();
        tracing::warn!(%stream, %epoch, "another node has taken over");
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in streams {
            self.end_epoch(id, FromLog::Deposed);
        }
    }

    /// Whether a batch of a stream's present epoch is not of this process: it stands where another one is on its way,
    /// or where none was proposed yet. What comes behind a batch of this process in the same place counts for nobody,
    /// and markers say nothing but where the epoch begins.
    fn is_a_namesakes(&self, batch: &Batch) -> bool {
        let Some(own) = self.streams.get(&batch.stream) else { return false };
        if own.epoch != batch.epoch || batch.count == 0 {
            return false;
        }
        let mut under_way = self.under_way.iter().flat_map(|under_way| &under_way.batches);
        let is_displaced = |ours: &Arc<Batch>| ours.is_same_place(batch) && **ours != *batch;
        batch.number > own.number || under_way.any(is_displaced)
    }

    /// Takes nothing of a stream's present epoch any more, and tells its owner why.
    fn end_epoch(&mut self, id: StreamId, why: FromLog) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // Nothing of this was proposed, and it never will be.
        stream.queued.clear();
        (stream.count, stream.marker_due, stream.epoch) = (0, false, Epoch::default());
        self.tell(id, why);
    }

    fn refused(&mut self, proposal: u64, error: AppendError) {
        let Some(under_way) = self.under_way.take_if(|under_way| under_way.id == proposal) else { return };
        tracing::warn!(%error, "the log refused a proposal");
        self.meter.refused.fetch_add(1, Ordering::Relaxed);
        self.meter.degraded.store(true, Ordering::Relaxed);
        self.meter.refuses.store(true, Ordering::Relaxed);
        self.looks = 0;
        #[cfg(test)]
        if crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::ProposesRefusedAgain) {
            for batch in &under_way.batches {
                if let Some(stream) = self.streams.get_mut(&batch.stream).filter(|s| s.epoch == batch.epoch) {
                    stream.queued.extend_from_slice(&batch.payload);
                    stream.count += batch.count;
                }
            }
        }
        for batch in under_way.batches.into_iter().rev() {
            let Some(stream) = self.streams.get_mut(&batch.stream) else { continue };
            if stream.epoch == batch.epoch {
                stream.number = batch.number - 1;
                // A marker must come before anything else of its epoch, so it is tried again.
                stream.marker_due |= batch.count == 0;
            }
            if batch.count > 0 {
                self.tell(batch.stream, FromLog::NotWritten { batch, error: error.clone() });
            }
        }
    }

    /// Tells a stream's owner, if it has one; whether that has taken it.
    fn tell(&mut self, stream: StreamId, message: FromLog) -> bool {
        let Some(told) = self.streams.get_mut(&stream) else { return true };
        let committed = matches!(message, FromLog::Committed(_));
        if committed && !told.whole {
            return false;
        }
        let Err(why) = told.owner.try_send(message) else { return true };
        // The owner rebuilds itself from the log, so nothing is lost; but it must notice.
        tracing::error!(%stream, %why, "a stream's owner did not take what the log has to say");
        told.unbroken &= !committed;
        told.whole &= !committed;
        told.owes_word = true;
        false
    }
}

impl EventLog {
    /// Tells those who did not take something. In a quiet stream nothing may come by which they would notice: whoever waits
    /// for what was not written would count as under way for ever.
    fn remind(&mut self) {
        for stream in self.streams.values_mut().filter(|stream| stream.owes_word) {
            stream.owes_word = stream.owner.try_send(FromLog::Outrun).is_err();
        }
    }

    /// Looks whether the engine is in reach, and tells the meter.
    fn look(&mut self) {
        let available = self.engine.available();
        if available != self.available {
            self.meter.degraded.store(!available, Ordering::Relaxed);
        }
        self.available = available;
        self.looks = self.looks.saturating_add(1);
        let refused = self.meter.degraded.load(Ordering::Relaxed) && self.looks < REFUSAL_COUNTS_FOR;
        self.meter.refuses.store(!available || refused, Ordering::Relaxed);
    }

    /// Begins a new epoch if this node may, and tells whether the owner before took everything.
    fn begin(&mut self, stream: StreamId, owner: Port<FromLog>, unbroken: bool) -> Begun {
        let epoch = self.role.may_begin().then(|| self.epochs.next());
        let begun = Stream {
            epoch: epoch.unwrap_or_default(),
            number: 0,
            marker_due: epoch.is_some(),
            queued: Vec::new(),
            count: 0,
            owner,
            unbroken,
            whole: true,
            owes_word: false,
        };
        let log = self.lifeline.incarnation();
        self.meter.has_owner(log, stream);
        let unbroken = self.streams.insert(stream, begun).is_some_and(|before| before.unbroken);
        self.flush();
        Begun { epoch, unbroken, log }
    }
}

impl Actor for EventLog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.meter.incarnations.fetch_add(1, Ordering::Relaxed);
        self.meter.begins_with(self.lifeline.incarnation());
        // Refused proposals (a full disk) are tried again even when nobody else comes along.
        ctx.run_interval(LOOK_EVERY, |log, _| {
            log.flush();
            log.look();
            log.remind();
        });
    }
}

impl Handler<Begin> for EventLog {
    type Result = MessageResult<Begin>;

    fn handle(&mut self, Begin { stream, owner }: Begin, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.begin(stream, owner, true))
    }
}

impl Handler<StandIn> for EventLog {
    type Result = MessageResult<StandIn>;

    fn handle(&mut self, StandIn { stream, owner }: StandIn, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.begin(stream, owner, false).epoch)
    }
}

impl Handler<Propose> for EventLog {
    type Result = Result<(), NotQueued>;

    fn handle(&mut self, proposal: Propose, _: &mut Self::Context) -> Self::Result {
        let stream = self.streams.get_mut(&proposal.stream).ok_or(NotQueued::Stale)?;
        if stream.epoch != proposal.epoch {
            return Err(NotQueued::Stale);
        }
        let reachable = self.engine.available();
        if !reachable || stream.queued.len() + proposal.entries.len() > MAX_QUEUED {
            // The owner does not wait for the answer: it hears through its port, as of any refusal.
            let (epoch, count, payload) = (proposal.epoch, proposal.count, Bytes::from(proposal.entries));
            let at = self.time.now();
            let batch = Batch { stream: proposal.stream, epoch, number: 0, at, count, payload };
            let why = if reachable { NotQueued::Full } else { NotQueued::OutOfReach };
            let error = AppendError::Unavailable(why.to_string());
            self.tell(proposal.stream, FromLog::NotWritten { batch: Arc::new(batch), error });
            return Err(why);
        }
        stream.queued.extend_from_slice(&proposal.entries);
        stream.count += proposal.count;
        self.flush();
        Ok(())
    }
}

impl Handler<EngineReport> for EventLog {
    type Result = ();

    fn handle(&mut self, EngineReport(report): EngineReport, ctx: &mut Self::Context) {
        match report {
            Report::Committed { proposal, batches } => self.committed(proposal, batches),
            Report::Refused { proposal, error } => self.refused(proposal, error),
            Report::Failed { error } => {
                self.meter.degraded.store(true, Ordering::Relaxed);
                self.meter.refuses.store(true, Ordering::Relaxed);
                match error {
                    AppendError::Io(_) => self.lifeline.fatal(format!("the log has failed: {error}")),
                    // Reads are answered here for as long as somebody needs them to find out what is missing.
                    error => self.lifeline.fault(error),
                }
                ctx.stop();
            }
        }
    }
}

#[cfg(test)]
impl EventLog {
    /// Tells the owners of what was not read back.
    fn take_for_committed(&mut self, batches: &[Arc<Batch>]) {
        if !crate::domain::sabotage::is_made(crate::domain::sabotage::Mistake::TakesProposedForCommitted) {
            return;
        }
        for (batch, place) in batches.iter().zip(self.engine.end().0 + 1..) {
            let position = crate::persistence::log::Position(place);
            self.tell(batch.stream, FromLog::Committed(Committed { position, batch: batch.clone() }));
        }
    }
}

/// Where the engine's reports go until the actor exists, and from then on to it.
#[derive(Clone, Debug, Default)]
pub struct ReportLine(Arc<parking_lot::Mutex<Option<Handle<EventLog>>>>);

impl ReportLine {
    /// Connects the line to the actor.
    pub fn connect(&self, log: Handle<EventLog>) {
        *self.0.lock() = Some(log);
    }

    /// Forwards a report; the engine's thread waits while the mailbox is full.
    pub fn forward(&self, report: Report) {
        let mut report = report;
        while let Err(refused) = self.offer(report) {
            report = refused;
            // Other nodes may have appended already: their batches wait until those who apply them are there. When
            // nobody is left who could connect the line, the start has failed.
            if Arc::strong_count(&self.0) <= 1 && self.0.lock().is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Forwards a report, or gives it back when nobody takes it yet.
    ///
    /// # Errors
    /// The report, which is to be offered again.
    pub fn offer(&self, report: Report) -> Result<(), Report> {
        let Some(log) = self.0.lock().clone() else { return Err(report) };
        match log.offer(EngineReport(report)) {
            Err(refused) if refused.why != super::supervision::Unreachable::Closed => Err(refused.message.0),
            // Whoever is closed needs no reports any more.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
