//! The follower over logs with holes, and what it takes away.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::actors::supervision::{ChildSpec, Settings};
use crate::actors::supervisor::Supervisor;
use crate::app::log::genesis;
use crate::domain::entry::LedgerEntry;
use crate::domain::ids::{Epoch, Sequence, StreamId, Ticket};
use crate::domain::ledger::LedgerOutcome;
use crate::domain::stream::StreamState;
use crate::domain::time::Timestamp;
use crate::domain::venue::{Silent, Standstill};
use crate::persistence::chat::projection::Projection;
use crate::persistence::log::conformance::batch;
use crate::persistence::log::{Batches, Committed};
use crate::persistence::users::{NewUser, Role as UserRole};
use parking_lot::Mutex;
use std::sync::atomic::AtomicBool;

/// A log whose batches stand at these positions.
struct Log(Vec<u64>);

impl LogReader for Log {
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        let committed = |position| Committed {
            position: Position(position),
            batch: Arc::new(batch(StreamId::Chat(1), 1, position, 0)),
        };
        let after: Vec<u64> = self.0.iter().copied().filter(|position| *position > from.0).collect();
        Ok(Box::new(after.into_iter().map(move |position| Ok(committed(position)))))
    }
}

fn follower(folder: &std::path::Path, log: Vec<u64>, role: Role, every: Duration) -> Follower {
    let parts = Parts {
        reader: Arc::new(Log(log)),
        database: Database::open(&folder.join("agora.db")).unwrap(),
        snapshots: Snapshots::open(folder.join("snapshots")).unwrap(),
        sealed: Arc::new(Vec::new),
        archives: false,
        written: Arc::default(),
        snapshot_every: every,
        prune: None,
        peers: Some(Peers::new(role.clone())),
        role,
    };
    Follower::new(parts).unwrap()
}

const SELDOM: Duration = Duration::from_secs(60);

/// At a broker any position may be none of ours: the engine's questions and the broker's own notes take some.
#[test]
fn the_place_of_a_hash_may_be_no_batch() {
    let folder = tempfile::tempdir().unwrap();
    let log: Vec<u64> = (4_990..5_010).filter(|at| *at != HASH_EVERY).chain([9_999, 10_000, 31_000]).collect();
    let mut active = follower(folder.path(), log.clone(), Role::alone(1), SELDOM);
    active.advance().unwrap();
    assert_eq!(active.position(), Position(31_000));
    let hashes = |follower: &Follower| follower.parts.peers.as_ref().unwrap().status(0).hashes;
    assert_eq!(hashes(&active).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [10_000]);
    // A standby goes as far as the active node has written.
    let mut standby = follower(folder.path(), log, Role::one_of_several(2), SELDOM);
    standby.advance().unwrap();
    assert_eq!(standby.position(), Position(31_000));
    assert_eq!(hashes(&standby), hashes(&active));
}

/// A log that grows faster than it can be written has no end: what was reached is kept all the same.
#[test]
fn snapshots_do_not_wait_for_the_end_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let end = Position(3 * BATCHES_AT_ONCE as u64);
    let mut active = follower(folder.path(), (1..=end.0).collect(), Role::alone(1), Duration::ZERO);
    active.advance().unwrap();
    assert!(active.position() > Position(0) && active.position() < end, "{}", active.position());
    let reached = active.position();
    active.keep(false);
    assert_eq!(active.snapshot, reached);
    active.catch_up(end).unwrap();
    assert_eq!(active.position(), end);
    assert!(active.snapshot > reached);
}

/// While a market stands still no snapshots are taken. If the newest one held a full log up, the other markets would
/// stand still too.
#[test]
fn a_full_log_is_pruned_up_to_the_archive_while_a_market_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let mut active = follower(folder.path(), Vec::new(), Role::alone(1), SELDOM);
    let pruned = Arc::<Mutex<Vec<Position>>>::default();
    let through = pruned.clone();
    active.parts.prune = Some(Arc::new(move |position| through.lock().push(position)));
    for position in [10, 20] {
        active.parts.snapshots.save(Position(position), &Venue::default()).unwrap();
    }
    projection::archive(&active.parts.database, Position(1), Position(1_500), b"a segment").unwrap();
    let newest = Committed { position: Position(2_000), batch: Arc::new(batch(StreamId::Ledger, 1, 1, 0)) };
    Projection::open(active.parts.database.clone()).unwrap().write(&[newest]).unwrap();
    for (full, expected) in [(false, 10), (true, 20)] {
        active.keep(full);
        assert_eq!(std::mem::take(&mut *pruned.lock()), [Position(expected)], "full: {full}");
    }

    for listed in genesis(Epoch { counter: 1, node: 1 }, Timestamp(1)).batches {
        active.venue.apply(&listed, &mut Silent).unwrap();
    }
    active.venue.markets[0].fault = Some(Standstill { entry: Sequence(1), stream: StreamState::default() });
    for (full, expected) in [(false, 10), (true, 1_500)] {
        active.keep(full);
        assert_eq!(std::mem::take(&mut *pruned.lock()), [Position(expected)], "full: {full}, and faulted");
    }
}

/// A log whose oldest part may go by itself should not go before it is archived; every node says how it stands.
#[test]
fn how_much_is_archived_is_known_on_every_node() {
    let folder = tempfile::tempdir().unwrap();
    for role in [Role::alone(1), Role::one_of_several(2)] {
        let mut node = follower(folder.path(), (1..=10).collect(), role, SELDOM);
        node.parts.archives = true;
        node.advance().unwrap();
        assert_eq!(node.archived(), Position(0));
        node.keep(false);
        assert_eq!(node.archived(), Position(10));
    }
}

/// A log of which everything behind the second batch is gone, up to the ninth, until it is whole again.
#[derive(Default)]
struct Beginning {
    whole: AtomicBool,
}

impl LogReader for Beginning {
    fn read(&self, from: Position) -> Result<Batches, LogError> {
        if self.whole.load(Ordering::Relaxed) {
            return Log((1..=12).collect()).read(from);
        }
        let batches = Log(vec![1, 2]).read(from)?;
        let gone = LogError::Pruned { asked: from.max(Position(2)), oldest: Position(9) };
        Ok(Box::new(batches.chain(std::iter::once(Err(gone)))))
    }
}

/// Waits until the meter says this of what is gone from the log.
async fn is_said_to_be_gone(log: &LogMeter, gone: bool) {
    let begun = Instant::now();
    while log.is_gone() != gone {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody says that something is gone: {gone}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The database was away for longer than the log is kept. Nobody knows what is missing but the nodes that run.
#[actix_web::test]
async fn what_is_gone_from_the_log_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = follower(folder.path(), Vec::new(), Role::alone(1), SELDOM).parts;
    let reader = Arc::<Beginning>::default();
    parts.reader = reader.clone();
    let (database, written) = (parts.database.clone(), parts.written.clone());
    let log = Arc::<LogMeter>::default();
    log.position.store(12, Ordering::Relaxed);
    let meter = log.clone();
    let root = Supervisor::root("agora", Settings::default(), &Arbiter::current());
    let spec = ChildSpec::new("projector", Arbiter::current(), move |lifeline| {
        Ok(Projector::new(parts.clone(), None, meter.clone(), lifeline, Arc::new(|| ())))
    });
    root.start(spec).await.unwrap();
    is_said_to_be_gone(&log, true).await;
    assert_eq!(written.load(Ordering::Relaxed), 2);
    assert_eq!(projection::position(&database).unwrap(), Position(2));

    // One that was begun anew has found nothing gone by itself.
    reader.whole.store(true, Ordering::Relaxed);
    root.revive("projector").await.unwrap();
    is_said_to_be_gone(&log, false).await;
    assert_eq!(written.load(Ordering::Relaxed), 12);
    assert!(root.tree().snapshot().iter().all(|node| node.crashes == 0));
    root.shutdown().await;
}

/// A database that fell back may have lost users whose accounts the log knows: nobody else gets their numbers.
#[test]
fn numbers_of_lost_users_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut active = follower(folder.path(), (1..=10).collect(), Role::alone(1), SELDOM);
    active.advance().unwrap();
    let lost = AccountId(7);
    let open = LedgerEntry::OpenAccount { ticket: Ticket(0), account: lost };
    let opened = active.venue.ledger.ledger.apply(&open, &mut Vec::new());
    assert_eq!(opened, LedgerOutcome::AccountOpened(lost));
    assert!(active.rewind());
    let new = NewUser { email: "ada@example.org", password_hash: "x", role: UserRole::User, demo: false };
    let made = active.parts.database.write_durably(|c| users::create(c, &new, Timestamp(1))).unwrap();
    assert_eq!(made.id, AccountId(8));
}
