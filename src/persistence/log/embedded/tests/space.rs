//! No space: by the log's own limit, and on a file system that is really full. And no descriptor for one more file.

use super::*;
use crate::persistence::log::AppendError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::process::Command;

fn is_refused(report: &Report) -> bool {
    matches!(report, Report::Refused { error: AppendError::DiskFull, .. })
}

/// Writes until the log is full; returns how many batches it took.
fn fill(log: &Log, mut number: u64, bytes: usize) -> u64 {
    while !is_refused(&log.write(vec![numbered(number, bytes)])) {
        number += 1;
        assert!(number < 100_000, "the log never fills");
    }
    number - 1
}

#[test]
fn the_limit_refuses_and_pruning_heals() {
    for ahead_bytes in [0, 1 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let options =
            Options { ahead_bytes, max_bytes: Some(20_000), segment_bytes: 4000, ..Options::new(folder.path()) };
        let log = Log::open(options.clone()).unwrap();
        let taken = fill(&log, 1, 100);
        // A smaller one may still fit, and refusing changes nothing.
        assert!(is_refused(&log.write(vec![numbered(9, 5000)])));
        assert_eq!(log.engine.end(), Position(taken));
        let bytes: u64 =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!((15_000..=20_000).contains(&bytes), "{bytes} bytes");
        log.engine.prune(log.engine.sealed_segments()[1].last).unwrap();
        let oldest = log.engine.sealed_segments()[0].first.0;
        let more = fill(&log, taken + 1, 100);
        assert!(more > taken);
        drop(log);
        let log = Log::open(options).unwrap();
        assert_eq!(log.opened.torn, None);
        assert_eq!(numbers(&*log.engine.reader(), oldest - 1).unwrap(), (oldest..=more).collect::<Vec<_>>());
    }
}

/// Whoever makes room by hand takes the oldest. The files that stay are those of one log, whatever else goes wrong.
#[test]
fn a_segment_that_is_not_there_any_more_keeps_no_other_from_being_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(small(folder.path()), 40, 60);
    let sealed = log.engine.sealed_segments();
    std::fs::remove_file(&sealed[0].path).unwrap();
    let paths = |range: std::ops::Range<usize>| -> Vec<_> { sealed[range].iter().map(|s| s.path.clone()).collect() };
    assert_eq!(log.engine.prune(sealed[2].last).unwrap(), paths(0..3));

    // A file that cannot be removed stays, and so do those after it, until it can be.
    std::fs::rename(&sealed[3].path, folder.path().join("aside")).unwrap();
    std::fs::create_dir(&sealed[3].path).unwrap();
    assert!(matches!(log.engine.prune(sealed[4].last), Err(LogError::Io { .. })));
    assert_eq!(log.engine.sealed_segments(), sealed[3..]);
    std::fs::remove_dir(&sealed[3].path).unwrap();
    std::fs::rename(folder.path().join("aside"), &sealed[3].path).unwrap();
    assert_eq!(numbers(&*log.engine.reader(), sealed[2].last.0).unwrap().len() as u64, 40 - sealed[2].last.0);
    assert_eq!(log.engine.prune(sealed[3].last).unwrap(), paths(3..4));

    drop(log);
    let log = Log::open(small(folder.path())).unwrap();
    assert_eq!(log.opened, Opened { oldest: sealed[3].last, end: Position(40), torn: None });
}

/// Otherwise it could not be archived and pruned, and nothing would make room again.
#[test]
fn a_segment_that_the_limit_keeps_from_filling_up_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Some(20_000), segment_bytes: 16_000, ..Options::new(folder.path()) };
    let log = Log::open(options).unwrap();
    let taken = fill(&log, 1, 100);
    // It is sealed behind the report; this one comes after it, and there is nothing left to seal.
    for _ in 0..2 {
        assert!(is_refused(&log.write(vec![numbered(9, 5000)])));
        assert_eq!(log.engine.sealed_segments().last().unwrap().last, Position(taken));
    }
    log.engine.prune(Position(taken)).unwrap();
    assert!(fill(&log, taken + 1, 100) > taken);
}

/// One proposal of a write that is beyond the limit does not take the others with it.
#[test]
fn only_what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(Options { max_bytes: Some(2000), ..Options::new(folder.path()) }).unwrap();
    for (id, bytes) in [(1, 100), (2, 5000), (3, 100)] {
        log.engine.propose(Proposal { id, batches: vec![numbered(id, bytes)] }).unwrap();
    }
    let outcomes: Vec<bool> = log.reports.iter().take(3).map(|report| is_refused(&report)).collect();
    assert_eq!(outcomes, [false, true, false]);
    assert_eq!(numbers(&*log.engine.reader(), 0).unwrap(), [1, 3]);
}

/// The part that runs on the full file system, in a process of its own.
const FOLDER: &str = "AGORA_TEST_SMALL_DISK";

/// A real ENOSPC: this test starts itself again with a tmpfs of one megabyte, mounted in namespaces
/// of its own so that no right is needed. Where the system does not allow that, it says so.
#[test]
fn a_disk_that_is_really_full_refuses_and_heals() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return on_a_small_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]).arg(script).arg("sh");
        command.arg(folder.path()).arg(std::env::current_exe().unwrap()).env(FOLDER, folder.path());
        command.output()
    };
    let mount = r#"mount -t tmpfs -o size=1m tmpfs "$1""#;
    if !in_namespace(mount).is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "no small disk can be mounted here: not tested on a really full one");
        return;
    }
    let name = "persistence::log::embedded::tests::space::a_disk_that_is_really_full_refuses_and_heals";
    let output = in_namespace(&format!(r#"{mount} && exec "$2" --exact {name} --nocapture"#)).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn on_a_small_disk(folder: &Path) {
    let ballast = folder.join("ballast");
    for (round, (ahead_bytes, segment_bytes)) in
        [(0, 1 << 30), (1 << 20, 1 << 30), (0, 100_000), (1 << 20, 30_000)].into_iter().enumerate()
    {
        let options = Options { ahead_bytes, segment_bytes, ..Options::new(folder.join(round.to_string())) };
        let log = Log::open(options.clone()).unwrap();
        std::fs::write(&ballast, vec![1; 400_000]).unwrap();
        let full = fill(&log, 1, 700);
        assert!(full > 100, "only {full} batches fit");
        assert!(is_refused(&log.write(vec![numbered(1, 700), numbered(2, 300_000)])));
        // Nothing of what was refused is in the file, and it heals by itself.
        assert_eq!(verify(&options.folder).unwrap().opened.end, Position(full));
        assert_eq!(verify(&options.folder).unwrap().opened.torn, None);
        std::fs::remove_file(&ballast).unwrap();
        let more = fill(&log, full + 1, 700);
        assert!(more > full + 100, "only {} more fit", more - full);
        drop(log);
        let opened = Log::open(options.clone()).unwrap();
        assert_eq!(opened.opened.torn, None);
        assert_eq!(numbers(&*opened.engine.reader(), 0).unwrap(), (1..=more).collect::<Vec<_>>());
        drop(opened);
        std::fs::remove_dir_all(&options.folder).unwrap();
    }
}

/// The limit counts for the whole process, so this too has one of its own.
#[test]
fn without_a_descriptor_nothing_is_rolled_and_it_heals() {
    const FOLDER: &str = "AGORA_TEST_NO_DESCRIPTOR";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return with_no_descriptor_left(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "persistence::log::embedded::tests::space::without_a_descriptor_nothing_is_rolled_and_it_heals";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn with_no_descriptor_left(folder: &Path) {
    let log = Log::open(small(folder)).unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
    let mut number = 1;
    let mut refused = 0;
    while refused < 3 {
        match log.write(vec![numbered(number, 100)]) {
            Report::Committed { .. } => number += 1,
            Report::Refused { error: AppendError::Unavailable(_), .. } => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(number < 1_000, "nothing is refused");
    }
    setrlimit(Resource::Nofile, before).unwrap();
    (number..number + 30).for_each(|number| drop(log.commit(vec![numbered(number, 100)])));
    drop(log);
    let log = Log::open(small(folder)).unwrap();
    assert_eq!(log.opened.torn, None);
    assert_eq!(numbers(&*log.engine.reader(), 0).unwrap(), (1..number + 30).collect::<Vec<_>>());
}
