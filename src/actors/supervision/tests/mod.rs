//! Real actors, real panics, real threads. Waits have an end only so that a failure does not hang.

#![allow(clippy::unwrap_used)]

mod escalation;
mod restart;
mod stopping;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Arbiter, ArbiterHandle, AsyncContext, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use parking_lot::Mutex;

use super::*;
use crate::actors::supervisor::Supervisor;

const PATIENCE: Duration = Duration::from_secs(60);

/// The result, unless it takes so long that the test would seem to hang.
pub(in crate::actors) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("still waiting after a minute")
}

pub(in crate::actors) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// What happened, in order, as the actors tell it.
#[derive(Clone, Default)]
pub(super) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(super) fn note(&self, text: impl Into<String>) {
        self.0.lock().push(text.into());
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// An actor that counts, and misbehaves on request.
pub(super) struct Probe {
    total: u64,
    lifeline: Lifeline,
    diary: Diary,
    panic_in_started: bool,
}

impl Probe {
    fn name(&self) -> &str {
        self.lifeline.path().rsplit('/').next().unwrap_or_default()
    }
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(!self.panic_in_started, "panic in started");
        self.diary.note(format!("{} started", self.name()));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.diary.note(format!("{} gone", self.name()));
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
pub(super) struct Add(pub(super) u64);

#[derive(Clone, Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    PanicInFuture,
    Stop,
    Fail,
    Fault,
    Doom,
    Finish,
    /// Takes no more messages, without blocking the thread.
    WaitForEver,
}

type Gate = Arc<AtomicUsize>;

/// Blocks the thread until the gate is no longer zero.
#[derive(Message)]
#[rtype(result = "()")]
struct Block(Gate);

impl Handler<Block> for Probe {
    type Result = ();

    fn handle(&mut self, Block(gate): Block, _: &mut Self::Context) {
        while gate.load(Ordering::Acquire) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Handler<Add> for Probe {
    type Result = u64;

    fn handle(&mut self, Add(number): Add, _: &mut Self::Context) -> u64 {
        self.total += number;
        self.total
    }
}

impl Handler<Do> for Probe {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, what: Do, ctx: &mut Self::Context) -> Self::Result {
        match what {
            Do::Panic => panic!("told to panic"),
            Do::PanicInFuture => {
                let later = tokio::time::sleep(Duration::from_millis(1)).into_actor(self);
                return Box::pin(later.map(|(), _, _| panic!("told to panic later")));
            }
            Do::Stop => ctx.stop(),
            Do::Fail => {
                self.lifeline.fail("the sums do not add up");
                ctx.stop();
            }
            Do::Fault => {
                self.lifeline.fault("entry 7 is poison");
                panic!("entry 7");
            }
            Do::Doom => {
                self.lifeline.fatal("the disk is broken");
                ctx.stop();
            }
            Do::Finish => {
                self.lifeline.finish();
                ctx.stop();
            }
            Do::WaitForEver => ctx.wait(std::future::pending().into_actor(self)),
        }
        Box::pin(async {}.into_actor(self))
    }
}

impl Handler<Shutdown> for Probe {
    type Result = ();

    fn handle(&mut self, Shutdown { for_good }: Shutdown, _: &mut Self::Context) {
        self.diary.note(format!("{} told, total {}, for good {for_good}", self.name(), self.total));
    }
}

fn probe(name: &str, arbiter: &ArbiterHandle, diary: &Diary) -> ChildSpec<Probe> {
    let diary = diary.clone();
    ChildSpec::new(name, arbiter.clone(), move |lifeline| {
        Ok(Probe { total: 0, lifeline, diary: diary.clone(), panic_in_started: false })
    })
}

/// Restarts at once, as often as you like.
fn lenient() -> Settings {
    Settings::default().budget(1_000_000, PATIENCE).backoff(Duration::ZERO, 1, Duration::ZERO)
}

/// Records the places of panics, and keeps the panics that the tests cause out of their output.
pub(in crate::actors) fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !std::thread::current().name().is_some_and(|name| name.starts_with("actix-rt")) {
                loud(info);
            }
        }));
    });
    super::panics::install();
}

fn root(settings: Settings) -> Supervisor {
    quiet_panics();
    Supervisor::root("root", settings, &Arbiter::current())
}

/// Sends until the actor takes the message, as a patient client does with a refusal.
async fn add(handle: &Handle<Probe>, number: u64) -> u64 {
    soon(async {
        loop {
            match handle.send(Add(number)).await {
                Ok(total) => return total,
                Err(Unreachable::Restarting) => tokio::task::yield_now().await,
                Err(other) => panic!("refused: {other}"),
            }
        }
    })
    .await
}

async fn state_of(supervisor: &Supervisor, path: &str, state: State) -> NodeView {
    until(|| supervisor.tree().node(path).is_some_and(|node| node.state == state)).await;
    supervisor.tree().node(path).expect("the node was there just now")
}
