//! The engine against a real broker of its own.

#![allow(clippy::unwrap_used)]

#[path = "../../../../tests/servers/mod.rs"]
mod servers;

use super::super::Committed;
use super::super::conformance::{self, Subject, batch};
use super::outbox::Outbox;
use super::*;
use crate::domain::ids::StreamId;
use crossbeam_channel::{Receiver, unbounded};
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that needs a broker, in one test, since a broker takes long to start.
#[test]
fn at_a_real_broker() {
    let server = servers::RabbitMq::start();
    let brokers: Brokers = server.url().parse().unwrap();
    let options = || {
        let queue = format!("agora.test.{}", uuid::Uuid::new_v4().simple());
        Options { bound: 64, cache_bytes: 1 << 20, ..Options::new(brokers.clone(), queue) }
    };
    for part in [
        conforms,
        with_a_local_copy_everything_that_is_reported_is_on_the_disk,
        two_nodes_are_told_the_same_in_the_same_order,
        what_strangers_put_into_the_queue_counts_for_nobody,
        a_queue_that_vanished_stops_the_engine_and_is_not_made_again,
        a_stream_that_lost_what_was_copied_is_refused,
    ] {
        part(options());
    }
    a_broker_that_takes_nothing_is_not_available(&server, options());
}

/// Removes its queue in the end.
struct InQueue(Options);

impl Subject for InQueue {
    fn open(&self, sink: Sink) -> Box<dyn LogEngine> {
        Box::new(RabbitMq::open(self.0.clone(), sink).unwrap())
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        delete(&self.0);
    }
}

fn at_the_broker<T>(options: &Options, work: impl AsyncFnOnce(lapin::Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = link::connect(options, "test").await.unwrap();
        work(connection.create_channel().await.unwrap()).await
    })
}

fn delete(options: &Options) {
    at_the_broker(options, async |channel| {
        let _ = channel.queue_delete(options.queue.as_str().into(), QueueDeleteOptions::default()).await;
    });
}

fn open(options: &Options) -> (RabbitMq, Receiver<Report>) {
    let (tell, reports) = unbounded();
    let sink = Box::new(move |report| drop(tell.send(report)));
    (RabbitMq::open(options.clone(), sink).unwrap(), reports)
}

fn one(id: u64) -> Proposal {
    Proposal { id, batches: vec![batch(StreamId::Ledger, 1, id, 100)] }
}

fn conforms(options: Options) {
    let small = format!("{}.small", options.queue);
    let subject = InQueue(options);
    conformance::all(&subject);
    // A small memory makes every reader go to the broker.
    let small = InQueue(Options { cache_bytes: 0, queue: small, ..subject.0.clone() });
    conformance::any_position_can_be_read_from(&small);
    conformance::reopening_keeps_everything(&small);
    conformance::large_batches_survive(&small);
}

fn with_a_local_copy_everything_that_is_reported_is_on_the_disk(options: Options) {
    let folder = tempfile::tempdir().unwrap();
    let subject = InQueue(Options { copy: Some(folder.path().to_owned()), ..options });
    let (engine, reports) = open(&subject.0);
    let (other, _others_reports) = open(&Options { copy: None, ..subject.0.clone() });
    for id in 1..=20 {
        engine.propose(one(id)).unwrap();
        other.propose(one(100 + id)).unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 40 {
        match reports.recv_timeout(PATIENCE).unwrap() {
            Report::Committed { batches, .. } => told.extend(batches.into_iter().map(|c| c.batch.number)),
            other => panic!("{other:?}"),
        }
        // The part is read while it is written, as after a power failure.
        let part = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let (copy, _) = super::super::embedded::ReadOnly::open(&part).unwrap();
        let copied: Vec<u64> =
            copy.reader().read(Position(0)).unwrap().map(|committed| committed.unwrap().batch.number).collect();
        assert!(copied.starts_with(&told), "{told:?} was reported, {copied:?} is on the disk");
    }
    drop(engine);
    for _ in 0..4 {
        drop(open(&subject.0));
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().count() <= 3, "old parts are kept for ever");
}

/// After a power failure the broker has less than what was acknowledged. Other batches may stand in its place.
fn a_stream_that_lost_what_was_copied_is_refused(options: Options) {
    let folder = tempfile::tempdir().unwrap();
    let subject = InQueue(Options { copy: Some(folder.path().to_owned()), ..options });
    let propose = |options: &Options, ids: std::ops::RangeInclusive<u64>| {
        let (engine, reports) = open(options);
        for id in ids {
            engine.propose(one(id)).unwrap();
            reports.recv_timeout(PATIENCE).unwrap();
        }
    };
    propose(&subject.0, 1..=10);
    // Whoever finds everything goes on.
    propose(&subject.0, 11..=12);
    let copied = || copy::newest(folder.path()).unwrap().unwrap().batch.number;
    let refused = |reason: &str| {
        for _ in 0..4 {
            let Err(error) = RabbitMq::open(subject.0.clone(), Box::new(|_| ())) else { panic!("it was opened") };
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(copied(), 12);
        }
    };
    delete(&subject.0);
    refused("is not there any more");
    let elsewhere = Options { copy: None, ..subject.0.clone() };
    propose(&elsewhere, 1..=10);
    refused("has lost what was acknowledged");
    propose(&elsewhere, 101..=140);
    refused("has lost what was acknowledged");
    propose(&elsewhere, 12..=12);
    propose(&subject.0, 13..=13);
    assert_eq!(copied(), 13);
}

fn two_nodes_are_told_the_same_in_the_same_order(options: Options) {
    let subject = InQueue(options);
    let (one_node, one_reports) = open(&subject.0);
    let (other_node, other_reports) = open(&subject.0);
    for id in 1..=30 {
        one_node.propose(one(id)).unwrap();
        other_node.propose(one(100 + id)).unwrap();
    }
    let told = |reports: &Receiver<Report>| {
        let (mut batches, mut own) = (Vec::<Committed>::new(), Vec::new());
        while batches.len() < 60 {
            match reports.recv_timeout(PATIENCE).unwrap() {
                Report::Committed { proposal, batches: more } => {
                    own.extend(proposal);
                    batches.extend(more);
                }
                other => panic!("{other:?}"),
            }
        }
        (batches.into_iter().map(|c| (c.position, c.batch.number)).collect::<Vec<_>>(), own)
    };
    let (first, first_own) = told(&one_reports);
    let (second, second_own) = told(&other_reports);
    assert_eq!(first, second);
    assert!(first.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(first_own, (1..=30).collect::<Vec<_>>());
    assert_eq!(second_own, (101..=130).collect::<Vec<_>>());
}

fn what_strangers_put_into_the_queue_counts_for_nobody(options: Options) {
    let subject = InQueue(options);
    let (engine, reports) = open(&subject.0);
    engine.propose(one(1)).unwrap();
    reports.recv_timeout(PATIENCE).unwrap();
    at_the_broker(&subject.0, async |channel| {
        let options = BasicPublishOptions::default();
        let properties = lapin::BasicProperties::default();
        channel
            .basic_publish("".into(), subject.0.queue.as_str().into(), options, b"hello", properties)
            .await
            .unwrap()
            .await
            .unwrap();
    });
    engine.propose(one(2)).unwrap();
    assert!(matches!(reports.recv_timeout(PATIENCE).unwrap(), Report::Committed { proposal: Some(2), .. }));
    drop(engine);
    let (engine, _reports) = open(&subject.0);
    let numbers: Vec<u64> = engine.reader().read(Position(0)).unwrap().map(|c| c.unwrap().batch.number).collect();
    assert_eq!(numbers, [1, 2]);
}

fn a_queue_that_vanished_stops_the_engine_and_is_not_made_again(options: Options) {
    let subject = InQueue(options);
    let (engine, reports) = open(&subject.0);
    engine.propose(one(1)).unwrap();
    reports.recv_timeout(PATIENCE).unwrap();
    delete(&subject.0);
    assert!(matches!(reports.recv_timeout(PATIENCE).unwrap(), Report::Failed { .. }));
    assert!(!engine.available());
    drop(engine);
    let later = Options { create: false, ..subject.0.clone() };
    let Err(error) = RabbitMq::open(later, Box::new(|_| ())) else { panic!("a lost log was opened") };
    assert!(error.to_string().contains("not there any more"), "{error}");
}

/// A broker that is short of memory still has us connected, and so has a frozen one for a while.
fn a_broker_that_takes_nothing_is_not_available(server: &servers::RabbitMq, options: Options) {
    let subject = InQueue(options);
    let (engine, reports) = open(&subject.0);
    let becomes = |available: bool| {
        let begun = Instant::now();
        while engine.available() != available {
            assert!(begun.elapsed() < PATIENCE, "available: {}", !available);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let limit = |part: &str| drop(server.control(&["set_vm_memory_high_watermark", part]));
    becomes(true);
    for (id, stop, go) in [
        (1, &(|| limit("0.00001")) as &dyn Fn(), &(|| limit("0.6")) as &dyn Fn()),
        (2, &|| server.freeze(), &|| server.thaw()),
    ] {
        stop();
        engine.propose(one(id)).unwrap();
        becomes(false);
        go();
        let report = reports.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(report, Report::Committed { proposal: Some(answered), .. } if answered == id), "{report:?}");
        becomes(true);
    }
}

#[test]
fn an_engine_without_a_broker_says_so() {
    let nowhere = "amqp://guest:guest@127.0.0.1:1/%2f".parse().unwrap();
    let options = Options { open_within: Duration::from_millis(300), ..Options::new(nowhere, "agora.test") };
    let begun = Instant::now();
    assert!(matches!(RabbitMq::open(options, Box::new(|_| ())), Err(LogError::Broker { .. })));
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn batches_that_come_back_twice_are_reported_but_answer_only_once() {
    let mut outbox = Outbox::new("me".into());
    let at = |position: u64, number| Committed {
        position: Position(position),
        batch: Arc::new(batch(StreamId::Ledger, 1, number, 1)),
    };
    let two = Proposal { id: 7, batches: vec![batch(StreamId::Ledger, 1, 1, 1), batch(StreamId::Ledger, 1, 2, 1)] };
    assert_eq!(outbox.take(two).0.len(), 2);
    let empty = outbox.take(Proposal { id: 8, batches: vec![] });
    assert!(empty.1.is_none(), "it must wait for its turn");
    let mut reports = outbox.came_back("me.1", at(1, 1));
    assert!(reports.is_empty());
    assert_eq!(outbox.unread().len(), 1);
    // Published again after a lost connection, and somebody else's between.
    reports.extend(outbox.came_back("me.1", at(2, 1)));
    reports.extend(outbox.came_back("you.2", at(3, 9)));
    reports.extend(outbox.came_back("me.2", at(4, 2)));
    reports.extend(outbox.came_back("me.2", at(5, 2)));
    let told: Vec<(Option<u64>, Vec<u64>)> = reports
        .into_iter()
        .map(|report| match report {
            Report::Committed { proposal, batches } => {
                (proposal, batches.into_iter().map(|committed| committed.position.0).collect())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        [(None, vec![1]), (None, vec![2]), (None, vec![3]), (Some(7), vec![4]), (Some(8), vec![]), (None, vec![5])];
    assert_eq!(told, expected);
    assert!(outbox.is_empty());
}
