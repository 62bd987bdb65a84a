//! The faults do what they promise, and without them the engine is an engine like any other.

#![allow(clippy::unwrap_used)]

use super::super::conformance::{self, Subject, batch};
use super::*;
use crate::domain::batch::Batch;
use crate::domain::ids::StreamId;

struct InMemory(Medium);

impl Subject for InMemory {
    fn open(&self, sink: Sink) -> Box<dyn LogEngine> {
        Box::new(self.0.open(sink))
    }

    fn drive(&self) {
        while self.0.step() {}
    }
}

type Reports = Arc<Mutex<Vec<Report>>>;

fn open(medium: &Medium) -> (Faulty, Reports) {
    let reports = Reports::default();
    let told = Arc::clone(&reports);
    (medium.open(Box::new(move |report| told.lock().push(report))), reports)
}

fn one(id: u64, epoch: u64) -> Proposal {
    Proposal { id, batches: vec![batch(StreamId::Ledger, epoch, id, 10)] }
}

fn answered(reports: &Reports) -> Vec<u64> {
    let id = |report: &Report| match report {
        Report::Committed { proposal, .. } => *proposal,
        Report::Refused { proposal, .. } => Some(*proposal),
        Report::Failed { .. } => None,
    };
    reports.lock().iter().filter_map(id).collect()
}

fn told(reports: &Reports) -> Vec<Committed> {
    let batches = |report: &Report| match report {
        Report::Committed { batches, .. } => batches.clone(),
        _ => vec![],
    };
    reports.lock().iter().flat_map(batches).collect()
}

fn places(batches: &[Committed]) -> Vec<(u64, u64)> {
    batches.iter().map(|committed| (committed.position.0, committed.batch.number)).collect()
}

#[test]
fn conforms_without_faults() {
    for seed in 0..5 {
        conformance::all(&InMemory(Medium::new(seed, Faults::default(), 16)));
    }
}

#[test]
fn every_handle_is_told_the_same_log_whatever_goes_wrong() {
    let mut lost = 0;
    let mut repeated = 0;
    let mut refused = 0;
    for seed in 0..200 {
        let medium = Medium::new(seed, Faults::ALL, 8);
        let (first, first_reports) = open(&medium);
        let (second, second_reports) = open(&medium);
        let mut taken = 0;
        for id in 1..=60 {
            let handle = if id % 3 == 0 { &second } else { &first };
            taken += usize::from(handle.propose(one(id, 1)).is_ok());
            medium.step();
            medium.step();
        }
        medium.settle();
        let log = places(&medium.log());
        assert_eq!(places(&told(&first_reports)), log, "seed {seed}");
        assert_eq!(places(&told(&second_reports)), log, "seed {seed}");
        let mut answers = [answered(&first_reports), answered(&second_reports)].concat();
        let count = answers.len();
        answers.sort_unstable();
        answers.dedup();
        assert_eq!(answers.len(), count, "answered twice, seed {seed}");
        lost += taken - count;
        let mut numbers: Vec<u64> = log.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        repeated += log.len() - numbers.len();
        refused += first_reports.lock().iter().filter(|report| matches!(report, Report::Refused { .. })).count();
        // What was refused is not in the log.
        for report in first_reports.lock().iter().chain(second_reports.lock().iter()) {
            if let Report::Refused { proposal, .. } = report {
                assert!(!numbers.contains(proposal), "seed {seed}: {proposal} was refused and is there");
            }
        }
    }
    assert!(lost > 0 && repeated > 0 && refused > 0, "no fault struck: {lost} {repeated} {refused}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let medium = Medium::new(seed, Faults::ALL, 8);
        let (handle, reports) = open(&medium);
        for id in 1..=100 {
            let _ = handle.propose(one(id, 1));
            medium.step();
        }
        medium.settle();
        (places(&medium.log()), answered(&reports))
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn a_crash_loses_only_what_was_not_told() {
    let mut lost = 0;
    for seed in 0..300 {
        let medium = Medium::new(seed, Faults::ALL, 64);
        let (handle, reports) = open(&medium);
        for id in 1..=20 {
            let batches: Vec<Batch> = (0..3).map(|n| batch(StreamId::Ledger, 1, id * 10 + n, 4)).collect();
            let _ = handle.propose(Proposal { id, batches });
        }
        for _ in 0..seed % 60 {
            medium.step();
        }
        lost += medium.crash();
        assert_eq!(handle.propose(one(99, 1)), Err(Busy), "a dead handle takes proposals");
        drop(handle);
        let (next, _) = open(&medium);
        let log = medium.log();
        let told = places(&told(&reports));
        assert_eq!(places(&log).get(..told.len()), Some(&*told), "seed {seed}: what was told is gone");
        assert_eq!(next.end(), Position(log.len() as u64));
        let read: Vec<Committed> = next.reader().read(Position(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(places(&read), places(&log));
    }
    assert!(lost > 0, "no crash lost anything");
}

#[test]
fn a_deposed_writer_still_publishes() {
    let medium = Medium::new(1, Faults::default(), 8);
    let (old, _) = open(&medium);
    let (new, _) = open(&medium);
    old.propose(one(1, 1)).unwrap();
    old.pause();
    new.propose(one(2, 2)).unwrap();
    medium.settle();
    old.resume();
    medium.settle();
    let epochs: Vec<u64> = medium.log().iter().map(|committed| committed.batch.epoch.counter).collect();
    assert_eq!(epochs, [2, 1]);
}

#[test]
fn a_full_disk_and_a_lost_connection_refuse_and_heal() {
    let medium = Medium::new(1, Faults::default(), 8);
    let (handle, reports) = open(&medium);
    medium.set_full(true);
    handle.propose(one(1, 1)).unwrap();
    while medium.step() {}
    medium.set_full(false);
    handle.propose(one(2, 1)).unwrap();
    handle.disconnect(5);
    handle.propose(one(3, 1)).unwrap();
    while medium.step() {}
    let outcomes: Vec<String> = reports.lock().iter().map(|report| format!("{report:?}")).collect();
    assert!(outcomes[0].starts_with("Refused { proposal: 1, error: DiskFull"), "{outcomes:?}");
    assert!(outcomes[1].starts_with("Refused { proposal: 2, error: Unavailable"), "{outcomes:?}");
    assert!(outcomes[2].starts_with("Committed { proposal: Some(3)"), "{outcomes:?}");
    assert_eq!(outcomes.len(), 3);
}
