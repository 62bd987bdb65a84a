//! Small logs, without a server: what is told of them, and what is a divergence.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

use super::*;
use crate::app::log::genesis;
use crate::domain::ids::Epoch;
use crate::domain::time::Timestamp;
use crate::domain::venue::Silent;
use crate::persistence::log::Report;
use crate::persistence::log::embedded::Embedded;
use tempfile::TempDir;

/// A data folder whose log has one batch, which lists the venue; and the venue after it.
fn listed() -> (TempDir, Venue) {
    let data = tempfile::tempdir().unwrap();
    let options = embedded::Options { ahead_bytes: 0, ..embedded::Options::new(data.path().join("log")) };
    let (tell, told) = std::sync::mpsc::channel();
    let (log, _) = Embedded::open(options, Box::new(move |report| tell.send(report).unwrap())).unwrap();
    log.propose(genesis(Epoch { counter: 1, node: 1 }, Timestamp(7))).unwrap();
    assert!(matches!(told.recv().unwrap(), Report::Committed { .. }));
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
