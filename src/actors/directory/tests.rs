//! Real actors on real threads; passivation as fast as it can go.

#![allow(clippy::unwrap_used)]

use std::{
    sync::atomic::{AtomicI64, AtomicUsize},
    thread,
};

use actix::{ActorFutureExt, Arbiter, AsyncContext, ResponseActFuture, WrapFuture};

use super::*;
use crate::actors::supervision::tests::{quiet_panics, soon, until};

/// What all rooms did, seen from outside.
#[derive(Default)]
struct World {
    handled: AtomicUsize,
    /// Rooms of each key that exist now.
    alive: [AtomicI64; 8],
    twice: AtomicUsize,
}

struct Room {
    key: usize,
    total: u64,
    subscribed: bool,
    world: Arc<World>,
}

impl Room {
    fn new(key: usize, world: &Arc<World>) -> Self {
        if world.alive[key].fetch_add(1, Ordering::AcqRel) != 0 {
            world.twice.fetch_add(1, Ordering::AcqRel);
        }
        Room { key, total: 0, subscribed: false, world: world.clone() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.world.alive[self.key].fetch_sub(1, Ordering::AcqRel);
    }
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Loading what it needs takes a moment, during which messages queue.
        ctx.wait(tokio::task::yield_now().into_actor(self));
    }
}

impl Passivate for Room {
    fn may_passivate(&self) -> bool {
        !self.subscribed
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Say(u64);

#[derive(Message)]
#[rtype(result = "u64")]
struct SaySlowly(u64);

#[derive(Message)]
#[rtype(result = "()")]
struct Subscribe(bool);

#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Say> for Room {
    type Result = u64;

    fn handle(&mut self, Say(number): Say, _: &mut Self::Context) -> u64 {
        self.world.handled.fetch_add(1, Ordering::AcqRel);
        self.total += 1;
        number
    }
}

impl Handler<SaySlowly> for Room {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, SaySlowly(number): SaySlowly, _: &mut Self::Context) -> Self::Result {
        self.world.handled.fetch_add(1, Ordering::AcqRel);
        let later = tokio::time::sleep(Duration::from_millis(2)).into_actor(self);
        Box::pin(later.map(move |(), _, _| number))
    }
}

impl Handler<Subscribe> for Room {
    type Result = ();

    fn handle(&mut self, Subscribe(on): Subscribe, _: &mut Self::Context) {
        self.subscribed = on;
    }
}

impl Handler<Panic> for Room {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("told to panic");
    }
}

fn rooms(settings: DirectorySettings) -> (Directory<usize, Room>, Arc<World>) {
    quiet_panics();
    let world = Arc::<World>::default();
    let arbiters = [Arbiter::new().handle(), Arbiter::new().handle()];
    let seen = world.clone();
    (Directory::new("rooms", &arbiters, settings, move |key, _| Ok(Room::new(*key, &seen))), world)
}

fn restless() -> DirectorySettings {
    let sweep_every = Duration::from_micros(200);
    DirectorySettings { idle_after: Duration::ZERO, sweep_every, ..DirectorySettings::default() }
}

#[actix_rt::test]
async fn many_threads_use_the_same_keys_while_they_are_passivated_again_and_again() {
    const EACH: usize = 3_000;
    let (directory, world) = rooms(restless());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let directory = directory.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for n in 0..EACH {
                        let (key, number) = (n % 3, (thread * EACH + n) as u64);
                        let answer = match n % 50 {
                            0 => soon(directory.send(&key, SaySlowly(number))).await,
                            _ => soon(directory.send(&key, Say(number))).await,
                        };
                        assert_eq!(answer, Ok(number));
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        soon(tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap();
    }
    assert_eq!(world.handled.load(Ordering::Acquire), 4 * EACH, "each was handled exactly once");
    assert_eq!(world.twice.load(Ordering::Acquire), 0, "no key had two actors at a time");
    until(|| directory.stats().active == 0).await;
    let stats = directory.stats();
    assert!(stats.passivations > 3, "the test is about passivation: {stats:?}");
    assert_eq!((stats.activations, stats.crashes), (stats.passivations, 0));
}

#[actix_rt::test]
async fn whoever_is_not_willing_stays() {
    let (directory, world) = rooms(restless());
    soon(directory.send(&1, Subscribe(true))).await.unwrap();
    soon(directory.send(&2, Say(0))).await.unwrap();
    until(|| directory.peek(&2).is_none()).await;
    assert!(directory.peek(&1).is_some());
    assert_eq!(directory.keys(), [1]);
    let handle = directory.get(&1).unwrap();
    soon(handle.send(Subscribe(false))).await.unwrap();
    until(|| directory.stats().active == 0).await;
    assert_eq!(handle.send(Say(1)).await, Err(Unreachable::Closed));
    assert_eq!(soon(directory.send(&1, Say(1))).await, Ok(1));
    until(|| world.alive.iter().all(|alive| alive.load(Ordering::Acquire) == 0)).await;
}

#[actix_rt::test]
async fn above_the_capacity_the_least_recently_used_go() {
    let settings = DirectorySettings { capacity: 4, sweep_every: Duration::from_millis(1), ..Default::default() };
    let world = Arc::<World>::default();
    let seen = world.clone();
    let directory =
        Directory::new("rooms", &[Arbiter::new().handle()], settings, move |key, _| Ok(Room::new(*key, &seen)));
    for key in 0..8_usize {
        soon(directory.send(&key, Say(0))).await.unwrap();
        // The age of an actor is counted in milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(|| directory.stats().active == 4).await;
    let mut left = directory.keys();
    left.sort_unstable();
    assert_eq!(left, [4, 5, 6, 7]);
}

#[actix_rt::test]
async fn a_crash_is_contained_and_a_crash_loop_refused_for_a_while() {
    let budget = Budget { restarts: 5, within: Duration::from_millis(1_500) };
    let (directory, world) = rooms(DirectorySettings { budget, ..Default::default() });
    soon(directory.send(&1, Subscribe(true))).await.unwrap();
    for crash in 1..=5 {
        assert_eq!(soon(directory.send(&2, Panic)).await, Err(Unreachable::Lost.into()));
        until(|| directory.stats().crashes == crash).await;
    }
    match directory.send(&2, Say(1)).await {
        Err(DirectoryError::CrashLoop { crashes: 5, retry_after }) => assert!(retry_after <= budget.within),
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(soon(directory.send(&3, Say(1))).await, Ok(1), "another key is not concerned");
    assert!(directory.peek(&1).is_some());
    let again = soon(async {
        loop {
            match directory.send(&2, Say(7)).await {
                Err(DirectoryError::CrashLoop { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    });
    assert_eq!(again.await, Ok(7), "it is tried again later");
    assert_eq!(world.twice.load(Ordering::Acquire), 0);
}

#[actix_rt::test]
async fn a_drill_makes_the_actor_that_it_breaks() {
    let (directory, _) = rooms(DirectorySettings::default());
    for crash in 1..=5 {
        assert_eq!(directory.drill(&1, Drill::Panic), Ok(()));
        until(|| directory.stats().crashes == crash).await;
    }
    assert_eq!(directory.stats().activations, 5);
    let refused = directory.drill(&1, Drill::Panic);
    assert!(matches!(refused, Err(DirectoryError::CrashLoop { crashes: 5, .. })), "{refused:?}");
    assert_eq!(soon(directory.send(&2, Say(1))).await, Ok(1));
}

#[actix_rt::test]
async fn closing_lets_the_queued_be_handled_and_dropping_stops_the_actors() {
    let (directory, world) = rooms(DirectorySettings::default());
    let answers: Vec<_> = (0..100).map(|n| directory.ask(&((n % 4) as usize), Say(n)).unwrap()).collect();
    assert!(soon(directory.close(Duration::from_secs(30))).await);
    for (answer, n) in answers.into_iter().zip(0..) {
        assert_eq!(soon(answer).await, Ok(n));
    }
    assert_eq!(directory.send(&1, Say(1)).await, Err(DirectoryError::Closed));
    assert_eq!(world.handled.load(Ordering::Acquire), 100);

    let (directory, world) = rooms(DirectorySettings::default());
    soon(directory.send(&1, Subscribe(true))).await.unwrap();
    drop(directory);
    until(|| world.alive[1].load(Ordering::Acquire) == 0).await;
}

#[actix_rt::test]
async fn an_arbiter_that_has_stopped_is_an_error_and_not_a_hang() {
    let arbiter = Arbiter::new();
    let world = Arc::<World>::default();
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().unwrap();
    let settings = DirectorySettings::default();
    let directory = Directory::new("rooms", &[handle], settings, move |key, _| Ok(Room::new(*key, &world)));
    let answer = soon(directory.send(&1, Say(1))).await;
    assert!(matches!(answer, Err(DirectoryError::CrashLoop { .. } | DirectoryError::Unreachable(_))), "{answer:?}");
}
