//! The embedded engine: conformance, opening, reading, pruning; damage, golden files and full disks
//! have files of their own.

#![allow(clippy::unwrap_used)]

mod damage;
mod golden;
mod space;

use super::super::conformance::{self, Subject, batch};
use super::super::{Committed, Report};
use super::*;
use crate::domain::batch::Batch;
use crate::domain::ids::StreamId;
use crossbeam_channel::{Receiver, unbounded};
use frame::FRAME_HEADER;
use tempfile::TempDir;

/// An open log whose reports are received one by one.
struct Log {
    engine: Embedded,
    reports: Receiver<Report>,
    opened: Opened,
}

impl Log {
    fn open(options: Options) -> Result<Log, LogError> {
        let (tell, reports) = unbounded();
        let (engine, opened) = Embedded::open(options, Box::new(move |report| tell.send(report).unwrap()))?;
        Ok(Log { engine, reports, opened })
    }

    /// Proposes one group and waits for its outcome, so that it is a write of its own.
    fn write(&self, batches: Vec<Batch>) -> Report {
        self.engine.propose(Proposal { id: 1, batches }).unwrap();
        self.reports.recv().unwrap()
    }

    fn commit(&self, batches: Vec<Batch>) -> Vec<Committed> {
        match self.write(batches) {
            Report::Committed { batches, .. } => batches,
            other => panic!("{other:?}"),
        }
    }
}

fn numbered(number: u64, bytes: usize) -> Batch {
    batch(StreamId::Ledger, 1, number, bytes)
}

fn small(folder: &Path) -> Options {
    Options { segment_bytes: 1000, ahead_bytes: 0, ..Options::new(folder) }
}

/// A log of `count` batches with numbers from 1, each a write of its own.
fn filled(options: Options, count: u64, bytes: usize) -> Log {
    let log = Log::open(options).unwrap();
    (1..=count).for_each(|number| drop(log.commit(vec![numbered(number, bytes)])));
    log
}

fn numbers(reader: &dyn LogReader, from: u64) -> Result<Vec<u64>, LogError> {
    reader.read(Position(from))?.map(|next| next.map(|committed| committed.batch.number)).collect()
}

struct InFolder(TempDir, fn(&Path) -> Options);

impl Subject for InFolder {
    fn open(&self, sink: Sink) -> Box<dyn LogEngine> {
        let (engine, opened) = Embedded::open((self.1)(self.0.path()), sink).unwrap();
        assert_eq!(opened.torn, None);
        Box::new(engine)
    }
}

#[test]
fn conforms() {
    let options: [fn(&Path) -> Options; 4] = [
        |folder| Options { queue: 16, ..Options::new(folder) },
        |folder| Options { queue: 16, ahead_bytes: 0, ..Options::new(folder) },
        |folder| Options { queue: 3, segment_bytes: 10_000, ..Options::new(folder) },
        |folder| Options { queue: 16, segment_bytes: 1, write_bytes: 1, ..Options::new(folder) },
    ];
    for options in options {
        let subject = InFolder(tempfile::tempdir().unwrap(), options);
        conformance::all(&subject);
        let verified = verify(subject.0.path()).unwrap();
        assert_eq!(verified.opened.torn, None);
        assert!(verified.opened.end.0 > 1000);
    }
}

#[test]
fn a_second_writer_is_locked_out_and_a_tool_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 30, 50);
    assert!(matches!(Log::open(small(folder.path())), Err(LogError::Locked(_))));
    let (tool, opened) = ReadOnly::open(folder.path()).unwrap();
    assert_eq!((opened.end, opened.torn), (Position(30), None));
    log.commit(vec![numbered(31, 50)]);
    assert_eq!(numbers(&*tool.reader(), 0).unwrap(), (1..=30).collect::<Vec<_>>());
    assert_eq!(tool.end(), Position(30));
    drop(log);
    assert_eq!(Log::open(small(folder.path())).unwrap().opened.end, Position(31));
}

#[test]
fn segments_are_sealed_listed_and_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 40, 60);
    let sealed = log.engine.sealed_segments();
    assert!(sealed.len() > 4, "{sealed:?}");
    assert_eq!(sealed[0].first, Position(1));
    assert!(sealed.windows(2).all(|pair| pair[0].last.0 + 1 == pair[1].first.0));
    assert!(sealed.iter().all(|segment| std::fs::metadata(&segment.path).unwrap().len() == segment.bytes));
    assert!(sealed.iter().all(|segment| segment.bytes <= 1000 + FRAME_HEADER as u64));
    // Each can be read by itself, as an archive keeps it; a changed or missing byte is noticed.
    for segment in &sealed {
        let content = std::fs::read(&segment.path).unwrap();
        let batches = batches_of(content.clone().into()).unwrap();
        assert_eq!((batches[0].position, batches.last().unwrap().position), (segment.first, segment.last));
        assert!(batches.iter().all(|committed| committed.batch.number == committed.position.0));
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            assert!(batches_of(changed.into()).is_none(), "byte {at}");
            assert!(batches_of(content[..at].to_vec().into()).is_none(), "cut at {at}");
        }
    }
    // A reader that is under way keeps what it has.
    let mut under_way = log.engine.reader().read(Position(0)).unwrap();
    assert_eq!(under_way.next().unwrap().unwrap().position, Position(1));

    assert_eq!(log.engine.prune(Position(sealed[1].last.0 - 1)).unwrap(), [sealed[0].path.clone()]);
    assert_eq!(log.engine.prune(sealed[1].last).unwrap(), [sealed[1].path.clone()]);
    let oldest = sealed[1].last;
    assert_eq!(numbers(&*log.engine.reader(), oldest.0).unwrap(), (oldest.0 + 1..=40).collect::<Vec<_>>());
    let asked = Position(oldest.0 - 1);
    let refused = log.engine.reader().read(asked).err();
    assert!(matches!(refused, Some(LogError::Pruned { asked: a, oldest: o }) if a == asked && o == oldest));
    assert_eq!(under_way.next().unwrap().unwrap().position, Position(2));

    log.engine.prune(Position(u64::MAX)).unwrap();
    assert_eq!(log.engine.sealed_segments(), []);
    log.commit(vec![numbered(41, 60)]);
    let oldest = sealed[sealed.len() - 1].last;
    drop(log);
    let log = Log::open(small(folder.path())).unwrap();
    assert_eq!(log.opened, Opened { oldest, end: Position(41), torn: None });
    assert_eq!(numbers(&*log.engine.reader(), oldest.0).unwrap().last(), Some(&41));
}

#[test]
fn one_iterator_and_one_reader_can_go_on_when_the_log_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 3, 60);
    let reader = log.engine.reader();
    let mut batches = reader.read(Position(0)).unwrap();
    let mut seen = Vec::new();
    for number in 4..=40 {
        seen.extend(batches.by_ref().map(|next| next.unwrap().batch.number));
        assert_eq!(seen.last(), Some(&(number - 1)));
        log.commit(vec![numbered(number, 60)]);
    }
    drop(batches);
    seen.extend(numbers(&*reader, 39).unwrap());
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert!(numbers(&*reader, 1000).unwrap().is_empty());
}

#[test]
fn a_batch_that_nobody_could_read_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(folder.path())).unwrap();
    let most = crate::domain::batch::MAX_PAYLOAD;
    let refused = log.write(vec![numbered(1, 5), numbered(2, most + 1)]);
    assert!(
        matches!(refused, Report::Refused { error: super::super::AppendError::TooLarge { bytes }, .. } if bytes == most + 1)
    );
    log.commit(vec![numbered(3, most)]);
    assert_eq!(numbers(&*log.engine.reader(), 0).unwrap(), [3]);
}

#[test]
fn a_roll_that_was_cut_short_is_ended_or_undone() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 20, 60);
    let sealed = log.engine.sealed_segments().len();
    let last = log.engine.sealed_segments()[sealed - 1].last.0;
    drop(log);
    // As after a crash between the seal and the renaming: the successor has its preparatory name.
    let newest = segment::path_of(folder.path(), last + 1);
    let prepared = segment::path_of_new(folder.path(), last + 1);
    std::fs::rename(&newest, &prepared).unwrap();
    let header = std::fs::read(&prepared).unwrap()[..frame::FILE_HEADER].to_vec();
    std::fs::write(&prepared, header).unwrap();
    assert_eq!(ReadOnly::open(folder.path()).unwrap().1.end, Position(last));
    assert!(prepared.exists(), "a tool has changed the folder");
    let log = Log::open(small(folder.path())).unwrap();
    assert_eq!((log.opened.end, log.opened.torn.clone()), (Position(last), None));
    assert!(newest.exists() && !prepared.exists());
    log.commit(vec![numbered(last + 1, 10)]);
    drop(log);
    // As after a crash before the seal: a prepared file that nobody needs.
    std::fs::write(segment::path_of_new(folder.path(), last + 2), b"half").unwrap();
    let log = Log::open(small(folder.path())).unwrap();
    assert_eq!(numbers(&*log.engine.reader(), 0).unwrap(), (1..=last + 1).collect::<Vec<_>>());
    assert!(!segment::path_of_new(folder.path(), last + 2).exists());
}
