//! What every engine must do, as functions over a [`Subject`] that opens the engine under test.
//!
//! The functions panic with a reason when the engine does not comply, so a test calls [`all`].
//! Nothing here knows an engine: the log may hold batches of earlier functions, and an engine that
//! needs driving is driven through [`Subject::drive`].

use super::{Busy, Committed, LogEngine, Position, Proposal, Report, Sink};
use crate::domain::batch::Batch;
use crate::domain::ids::{Epoch, MarketId, StreamId};
use crate::domain::time::Timestamp;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long an engine may take before the suite gives it up, generously.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens one engine on one medium that outlives it.
pub trait Subject {
    /// Opens the log. The one opened before was dropped.
    fn open(&self, sink: Sink) -> Box<dyn LogEngine>;

    /// Lets an engine that does nothing by itself do what it can. Others need nothing.
    fn drive(&self) {}
}

/// Everything an engine reported, in order.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<Report>>>);

impl Reports {
    fn sink(&self) -> Sink {
        let reports = self.clone();
        Box::new(move |report| reports.0.lock().push(report))
    }

    /// How often each proposal was answered.
    fn answers(&self) -> BTreeMap<u64, usize> {
        let mut answers = BTreeMap::new();
        for report in self.0.lock().iter() {
            match report {
                Report::Committed { proposal: Some(id), .. } | Report::Refused { proposal: id, .. } => {
                    *answers.entry(*id).or_default() += 1;
                }
                Report::Committed { proposal: None, .. } => {}
                Report::Failed { error } => panic!("the engine failed: {error}"),
            }
        }
        answers
    }

    /// The committed batches of all our proposals, in the order of the reports.
    fn ours(&self) -> Vec<Committed> {
        let reports = self.0.lock();
        let of = |report: &Report| match report {
            Report::Committed { proposal: Some(_), batches } => batches.clone(),
            _ => Vec::new(),
        };
        reports.iter().flat_map(of).collect()
    }
}

/// An open engine with what it reports.
struct Run<'a> {
    subject: &'a dyn Subject,
    engine: Box<dyn LogEngine>,
    reports: Reports,
}

impl<'a> Run<'a> {
    fn open(subject: &'a dyn Subject) -> Run<'a> {
        let reports = Reports::default();
        Run { subject, engine: subject.open(reports.sink()), reports }
    }

    /// Proposes, again and again while the queue is full.
    fn propose(&self, proposal: Proposal) {
        let taken = until(self.subject, || self.engine.propose(proposal.clone()).is_ok());
        assert!(taken, "the engine stays busy");
    }

    /// Waits until these proposals were answered, each once.
    fn settle(&self, ids: impl IntoIterator<Item = u64>) {
        let ids: Vec<u64> = ids.into_iter().collect();
        let all = until(self.subject, || {
            let answers = self.reports.answers();
            ids.iter().all(|id| answers.contains_key(id))
        });
        let answers = self.reports.answers();
        assert!(all, "{} of {} proposals were never answered", ids.len() - answers.len().min(ids.len()), ids.len());
        assert!(answers.values().all(|count| *count == 1), "a proposal was answered more than once");
    }

    fn read(&self, from: Position) -> Vec<Committed> {
        read(&*self.engine, from)
    }
}

fn read(engine: &dyn LogEngine, from: Position) -> Vec<Committed> {
    let batches = match engine.reader().read(from) {
        Ok(batches) => batches,
        Err(error) => panic!("reading from {from}: {error}"),
    };
    batches.map(|batch| batch.unwrap_or_else(|error| panic!("reading after {from}: {error}"))).collect()
}

/// Drives the engine until something holds; false when it never did.
fn until(subject: &dyn Subject, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        subject.drive();
        std::thread::sleep(Duration::from_micros(100));
    }
    true
}

fn same(left: &[Committed], right: &[Committed]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.position == r.position && l.batch == r.batch)
}

/// A batch whose content follows from `number`.
pub fn batch(stream: StreamId, epoch: u64, number: u64, bytes: usize) -> Batch {
    let fill = (number as usize..).map(|n| (n % 251) as u8);
    Batch {
        stream,
        epoch: Epoch { counter: epoch, node: 3 },
        number,
        at: Timestamp(1_700_000_000_000_000 + number as i64),
        count: bytes.div_ceil(64) as u32,
        payload: fill.take(bytes).collect::<Vec<u8>>().into(),
    }
}

/// A proposal of some batches on several streams; ids and numbers follow from `id`.
fn proposal(id: u64, batches: u64) -> Proposal {
    let streams = [StreamId::Ledger, StreamId::Market(MarketId(7)), StreamId::Chat(2)];
    let make = |(n, stream): (u64, &StreamId)| batch(*stream, 5, id * 100 + n, (id as usize * 37 + n as usize) % 900);
    Proposal { id, batches: (0..batches).zip(streams.iter().cycle()).map(make).collect() }
}

/// Runs the whole suite on one medium.
pub fn all(subject: &dyn Subject) {
    order_is_kept_and_everything_is_answered_once(subject);
    any_position_can_be_read_from(subject);
    reopening_keeps_everything(subject);
    a_reader_at_work_sees_a_prefix(subject);
    a_full_queue_refuses_and_loses_nothing(subject);
    epochs_and_numbers_are_not_interpreted(subject);
    large_batches_survive(subject);
    an_empty_proposal_is_answered(subject);
    dropping_flushes_what_was_taken(subject);
}

/// Batches stand in the log as proposed: within a proposal and across; each proposal is answered
/// once, in order; what is read back is what was reported.
pub fn order_is_kept_and_everything_is_answered_once(subject: &dyn Subject) {
    let run = Run::open(subject);
    let start = run.engine.end();
    let proposals: Vec<Proposal> = (1..=200).map(|id| proposal(id, id % 5)).collect();
    proposals.iter().for_each(|proposal| run.propose(proposal.clone()));
    run.settle(1..=200);
    let ours = run.reports.ours();
    let expected: Vec<&Batch> = proposals.iter().flat_map(|proposal| &proposal.batches).collect();
    assert!(ours.iter().map(|committed| &*committed.batch).eq(expected), "the log has other batches, or another order");
    let positions: Vec<Position> = ours.iter().map(|committed| committed.position).collect();
    assert!(positions.is_sorted_by(|earlier, later| earlier < later), "positions do not grow");
    assert!(positions.iter().all(|position| *position > start), "a position was given twice");
    assert_eq!(run.engine.end(), positions.last().copied().unwrap_or(start), "the end is not the newest batch");
    let answered: Vec<u64> = run
        .reports
        .0
        .lock()
        .iter()
        .filter_map(|report| match report {
            Report::Committed { proposal, .. } => *proposal,
            _ => None,
        })
        .collect();
    assert!(answered.into_iter().eq(1..=200), "proposals were answered out of order");
    assert!(same(&run.read(start), &ours), "what is read back is not what was reported");
}

/// Reading from a position gives exactly what stands after it.
pub fn any_position_can_be_read_from(subject: &dyn Subject) {
    let run = Run::open(subject);
    let start = run.engine.end();
    (1..=40).for_each(|id| run.propose(proposal(id, 2)));
    run.settle(1..=40);
    let whole = run.read(start);
    assert_eq!(whole.len(), 80);
    for (index, committed) in whole.iter().enumerate() {
        let after = run.read(committed.position);
        assert!(same(&after, whole.get(index + 1..).unwrap_or_default()), "reading from {}", committed.position);
    }
    assert!(run.read(run.engine.end()).is_empty(), "something stands after the end");
    // One reader goes on from where it stopped.
    let reader = run.engine.reader();
    let mut at = start;
    let mut seen = Vec::new();
    while let Some(next) = reader.read(at).ok().and_then(|mut batches| batches.next()) {
        let next = next.unwrap_or_else(|error| panic!("reading after {at}: {error}"));
        at = next.position;
        seen.push(next);
    }
    assert!(same(&seen, &whole), "reading one at a time gives something else");
    // So do several who share it, each at a place of its own and piece by piece.
    let mut followers = [(0, start), (20, whole[19].position), (50, whole[49].position)];
    while followers.iter().any(|(next, _)| *next < whole.len()) {
        for (next, at) in &mut followers {
            let batches = reader.read(*at).unwrap_or_else(|error| panic!("reading after {at}: {error}"));
            let piece: Vec<Committed> = batches.take(7).map(|next| next.unwrap_or_else(|e| panic!("{e}"))).collect();
            let expected = &whole[*next..whole.len().min(*next + 7)];
            assert!(same(&piece, expected), "a follower that shares its reader sees something else from {next}");
            *next += piece.len();
            *at = piece.last().map_or(*at, |last| last.position);
        }
    }
}

/// A log that was closed and opened again has the same end and content, and goes on from there.
pub fn reopening_keeps_everything(subject: &dyn Subject) {
    let run = Run::open(subject);
    let start = run.engine.end();
    (1..=30).for_each(|id| run.propose(proposal(id, 3)));
    run.settle(1..=30);
    let (before, end) = (run.read(start), run.engine.end());
    drop(run);
    for round in 0..3 {
        let run = Run::open(subject);
        assert!(run.engine.end() >= end, "the end went back");
        let after = run.read(start);
        assert!(same(after.get(..before.len()).unwrap_or_default(), &before), "round {round} reads something else");
        run.propose(proposal(100 + round, 1));
        run.settle([100 + round]);
        assert!(run.reports.ours().iter().all(|committed| committed.position > end), "a position was given twice");
    }
}

/// A reader on another thread never sees anything but a growing prefix of the log.
pub fn a_reader_at_work_sees_a_prefix(subject: &dyn Subject) {
    let run = Run::open(subject);
    let start = run.engine.end();
    let reader = run.engine.reader();
    let done = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&done);
    let reading = std::thread::spawn(move || {
        let (mut seen, mut at) = (Vec::<Committed>::new(), start);
        loop {
            let last_round = finished.load(Ordering::Acquire);
            let batches = reader.read(at).unwrap_or_else(|error| panic!("reading from {at}: {error}"));
            for next in batches {
                let next = next.unwrap_or_else(|error| panic!("reading after {at}: {error}"));
                at = next.position;
                seen.push(next);
            }
            if last_round {
                return seen;
            }
            std::thread::yield_now();
        }
    });
    (1..=300).for_each(|id| run.propose(proposal(id, 3)));
    run.settle(1..=300);
    done.store(true, Ordering::Release);
    let seen = reading.join().unwrap_or_else(|_| panic!("the reader has failed"));
    assert!(same(&seen, &run.reports.ours()), "the reader saw something else than what was committed");
}

/// While the sink is held up the bounded queue fills and says so; what was taken is not lost.
pub fn a_full_queue_refuses_and_loses_nothing(subject: &dyn Subject) {
    let (reports, gate) = (Reports::default(), Arc::new(Mutex::new(())));
    let (mut sink, held) = (reports.sink(), Arc::clone(&gate));
    let closed = gate.lock();
    let engine = subject.open(Box::new(move |report| {
        drop(held.lock());
        sink(report);
    }));
    let taken = (1..1_000_000).find(|id| engine.propose(proposal(*id, 1)) == Err(Busy)).map(|refused| refused - 1);
    let Some(taken) = taken else { panic!("the queue has no bound") };
    drop(closed);
    let run = Run { subject, engine, reports };
    run.settle(1..=taken);
    assert_eq!(run.reports.ours().len() as u64, taken, "proposals that were taken are not in the log");
    // The one that was refused left nothing behind, and there is room again.
    run.propose(proposal(taken + 2, 1));
    run.settle([taken + 2]);
    assert!(!run.reports.answers().contains_key(&(taken + 1)), "a proposal was answered that was not taken");
}

/// Epochs going back, numbers repeated: fencing and dropping of repeats is for readers of the log.
pub fn epochs_and_numbers_are_not_interpreted(subject: &dyn Subject) {
    let run = Run::open(subject);
    let strange = [(9, 1), (9, 1), (2, u64::MAX), (u64::MAX, 0), (0, 7), (9, 2)];
    let batches: Vec<Batch> = strange
        .iter()
        .map(|(epoch, number)| Batch { number: *number, ..batch(StreamId::Ledger, *epoch, 1, 10) })
        .collect();
    run.propose(Proposal { id: 1, batches: batches.clone() });
    run.settle([1]);
    assert!(run.reports.ours().iter().map(|committed| &*committed.batch).eq(&batches));
}

/// Batches up to megabytes, and empty ones.
pub fn large_batches_survive(subject: &dyn Subject) {
    let run = Run::open(subject);
    let start = run.engine.end();
    let sizes = [0, 1, 65_536, 1 << 20, 3 << 20, 0];
    let make = |(id, size): (u64, &usize)| Proposal { id, batches: vec![batch(StreamId::Chat(1), 1, id, *size)] };
    (1..).zip(&sizes).map(make).for_each(|proposal| run.propose(proposal));
    run.settle(1..=sizes.len() as u64);
    let read: Vec<Bytes> = run.read(start).iter().map(|committed| committed.batch.payload.clone()).collect();
    let expected = (1..).zip(&sizes).map(|(id, size)| batch(StreamId::Chat(1), 1, id, *size).payload);
    assert!(read.into_iter().eq(expected), "large batches were changed");
}

/// A proposal without batches is answered in its turn and puts nothing into the log.
pub fn an_empty_proposal_is_answered(subject: &dyn Subject) {
    let run = Run::open(subject);
    let start = run.engine.end();
    run.propose(Proposal { id: 1, batches: vec![] });
    run.settle([1]);
    assert_eq!(run.engine.end(), start);
    assert!(run.reports.ours().is_empty());
}

/// Closing an engine is no way to lose what it took.
pub fn dropping_flushes_what_was_taken(subject: &dyn Subject) {
    let Run { engine, reports, .. } = Run::open(subject);
    let start = engine.end();
    let taken: Vec<u64> = (1..=20).filter(|id| engine.propose(proposal(*id, 1)).is_ok()).collect();
    drop(engine);
    assert!(until(subject, || reports.answers().len() == taken.len()), "taken proposals were not answered");
    let run = Run::open(subject);
    assert!(same(&run.read(start), &reports.ours()), "the log is not what was reported");
    assert_eq!(reports.ours().len(), taken.len(), "taken proposals were lost");
}
