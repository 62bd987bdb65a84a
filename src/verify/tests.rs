//! Small logs, without a server: what is told of them, and what is a divergence.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

use super::*;
use crate::app::log::genesis;
use crate::domain::ids::Epoch;
use crate::domain::time::Timestamp;
use crate::domain::venue::Silent;
use crate::persistence::log::embedded::Embedded;
use crate::persistence::log::{Proposal, Report};
use tempfile::TempDir;

/// What lists the venue.
fn listing() -> Proposal {
    genesis(Epoch { counter: 1, node: 1 }, Timestamp(7))
}

/// The log of a data folder, into which the venue's listing was written so many times.
fn log_of(data: &TempDir, segment_bytes: u64, times: usize) -> Embedded {
    let usual = embedded::Options::new(data.path().join("log"));
    let options = embedded::Options { segment_bytes, ahead_bytes: 0, ..usual };
    let (tell, told) = std::sync::mpsc::channel();
    let (log, _) = Embedded::open(options, Box::new(move |report| tell.send(report).unwrap())).unwrap();
    for _ in 0..times {
        log.propose(listing()).unwrap();
        assert!(matches!(told.recv().unwrap(), Report::Committed { .. }));
    }
    log
}

/// A data folder whose log has one batch, which lists the venue; and the venue after it.
fn listed() -> (TempDir, Venue) {
    let data = tempfile::tempdir().unwrap();
    let log = log_of(&data, 64 << 20, 1);
    let mut venue = Venue::default();
    for committed in log.reader().read(Position(0)).unwrap() {
        venue.apply(&committed.unwrap().batch, &mut Silent).unwrap();
    }
    (data, venue)
}

/// What a run says of this data folder, without a database.
fn verdict(data: &TempDir) -> Result<String, String> {
    let data = data.path();
    alone(data, &mut Temporary::begin(data), None).map_err(|error| format!("{error:#}"))
}

fn tear(data: &TempDir) -> String {
    let segment = embedded::segment_path(&data.path().join("log"), Position(1));
    let (offset, torn) = (std::fs::metadata(&segment).unwrap().len(), b"half a frame");
    File::options().append(true).open(&segment).unwrap().write_all(torn).unwrap();
    format!("a torn write of {} bytes at {}:{offset} was left out", torn.len(), segment.display())
}

#[test]
fn a_torn_write_is_told_of() {
    let (data, _) = listed();
    let said = verdict(&data).unwrap();
    assert!(!said.contains("torn"), "{said}");
    let torn = tear(&data);
    let said = verdict(&data).unwrap();
    assert!(said.ends_with(&format!("; {torn}")), "{said}");
}

#[test]
fn a_snapshot_beyond_the_logs_end_shows_that_a_part_is_missing() {
    let (data, venue) = listed();
    let snapshots = Snapshots::open(data.path().join("snapshots")).unwrap();
    snapshots.save(Position(1), &venue).unwrap();
    let said = verdict(&data).unwrap();
    assert!(said.contains(", 1 snapshots,"), "{said}");
    snapshots.save(Position(2), &venue).unwrap();
    let missing = "there is a snapshot at position 2, but the log ends at 1: a part of the log is missing";
    assert_eq!(verdict(&data), Err(missing.into()));
    // What was cut may be what is missing.
    let torn = tear(&data);
    assert_eq!(verdict(&data), Err(format!("{torn}: {missing}")));
}

#[test]
fn a_pruned_log_whose_last_roll_was_cut_short_is_whole_with_the_archive() {
    let data = tempfile::tempdir().unwrap();
    let database = Database::open(&data.path().join("agora.db")).unwrap();
    // Each batch has a segment of its own.
    let log = log_of(&data, 1, 3);
    let oldest = log.sealed_segments().remove(0);
    let content = std::fs::read(&oldest.path).unwrap();
    assert!(projection::archive(&database, oldest.first, oldest.last, &content).unwrap());
    assert_eq!(log.prune(oldest.last).unwrap(), [oldest.path]);
    drop(log);
    // As after a crash between the seal and the renaming: the successor has no batch, and its preparatory name.
    let newest = embedded::segment_path(&data.path().join("log"), Position(3));
    let file = File::options().write(true).open(&newest).unwrap();
    let frame = embedded::FRAME_OVERHEAD + listing().batches[0].encoded_len();
    file.set_len(file.metadata().unwrap().len() - frame as u64).unwrap();
    std::fs::rename(&newest, newest.with_extension("seg.new")).unwrap();

    let mut temporary = Temporary::begin(data.path());
    let whole = whole_log(data.path(), &mut temporary, Some(&database)).unwrap();
    let verified = embedded::verify(&whole).unwrap();
    let (opened, end) = (verified.opened, Position(2));
    assert_eq!((verified.segments, opened.oldest, opened.end, opened.torn), (2, Position(0), end, None));
}

#[test]
fn a_log_without_its_beginning_is_replayed_from_the_oldest_snapshot_that_can_be_read() {
    let data = tempfile::tempdir().unwrap();
    let save = |folder: &str, positions: &[u64]| {
        let snapshots = Snapshots::open(data.path().join(folder)).unwrap();
        for at in positions {
            snapshots.save(Position(*at), &Venue::default()).unwrap();
        }
        snapshots
    };
    let own = save("snapshots", &[2, 5, 8]);
    let spoil = |at: u64| {
        let (_, file) = own.files().into_iter().find(|(found, _)| *found == Position(at)).unwrap();
        std::fs::write(file, b"no snapshot").unwrap();
    };
    let audit = || Audit::begin(data.path(), &mut Temporary::begin(data.path()), None).unwrap();
    let begun = |mut audit: Audit| {
        let outcome = audit.begin_at_snapshot(Position(3)).map_err(|error| error.to_string());
        outcome.map(|()| (audit.began.0, audit.summary.damaged))
    };
    assert_eq!(begun(audit()), Ok((5, 0)));
    // The next one is taken, not the one before, after which the log has a hole.
    spoil(5);
    assert_eq!(begun(audit()), Ok((8, 1)));
    // Another node's is as good.
    let mut both = audit();
    both.snapshots.push(("another snapshot", save("others", &[2, 5])));
    assert_eq!(begun(both), Ok((5, 1)));
    spoil(8);
    let refused = begun(audit()).unwrap_err();
    assert!(refused.contains("no snapshot that can be read"), "{refused}");
}
