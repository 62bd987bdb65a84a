//! One node: a process that is started, has turns, stands still and dies.
//!
//! Its runtime has one thread and a clock that stands still. Whatever it does happens within [`Process::turn`] or
//! [`Process::pass`], with the node's own thread-local state in place and a director that decides which actor goes
//! first, and at which await the process dies.

use super::network::{Answer, SeenLock};
use crate::actors::cluster::lead::contend;
use crate::actors::event_log::{LogMeter, ReportLine};
use crate::actors::role::Role;
use crate::actors::supervision::turns::{self, Turn};
use crate::actors::supervision::{Drill, Settings, Watch};
use crate::actors::supervisor::Supervisor;
use crate::actors::trading::ambient::Ambient;
use crate::actors::trading::recovery::{Recovery, catch_up, newest};
use crate::actors::trading::remote::{Call, Forwarder};
use crate::actors::trading::{self, Foundation, Threads, Trading};
use crate::domain::time::Timestamp;
use crate::domain::venue::Silent;
use crate::persistence::log::faulty::{Faulty, Medium, SplitMix};
use crate::persistence::log::{LogEngine, Position, Report};
use crate::persistence::snapshots::Snapshots;
use actix::System;
use actix_rt::SystemRunner;
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Commands that wait for their way to the active node.
const CALLS: usize = 256;

/// Client order ids that are remembered with their orders: all, since there is no database to ask.
const CLIENT_IDS: usize = 1_000_000;

/// Another process may have the lock; then it is tried again after so long.
const TRY_EVERY: Duration = Duration::from_millis(200);

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    static BROKEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes note of a panic of a node: one that nobody asked for is a bug, though a supervisor mends what it did.
pub(super) fn note(info: &std::panic::PanicHookInfo<'_>) {
    let text = info.payload().downcast_ref::<String>().filter(|text| text.starts_with("broken invariant"));
    if let Some(text) = text {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        BROKEN.with(|broken| broken.borrow_mut().get_or_insert_with(|| format!("{text} ({place})")).len());
    }
}

/// The first invariant that a node found broken since the last call.
pub(super) fn broken() -> Option<String> {
    BROKEN.take()
}

/// Whether a simulated node has its turn on this thread.
pub(super) fn is_running() -> bool {
    RUNNING.get()
}

/// What a process has told of itself.
#[derive(Default)]
pub(super) struct Told {
    /// There once it serves.
    pub(super) trading: Option<Trading>,
    pub(super) root: Option<Supervisor>,
    /// Why it ended by itself.
    pub(super) ended: Option<String>,
    /// Commands for another node.
    pub(super) calls: Vec<(Vec<u8>, Answer)>,
}

/// What a process is started with.
pub(super) struct Start<'a> {
    pub(super) number: u16,
    pub(super) process: u64,
    pub(super) alone: bool,
    pub(super) medium: &'a Medium,
    pub(super) lock: SeenLock,
    pub(super) snapshots: Snapshots,
    /// The node's clock, in microseconds.
    pub(super) clock: Arc<AtomicI64>,
    /// Decides which actor goes first.
    pub(super) seed: u64,
    /// In how many of 1000 polls an actor lets the others go first.
    pub(super) reorder: u32,
}

/// Who goes first, and when it is over.
struct Fate {
    random: SplitMix,
    reorder: u32,
    /// Polls of actors until the process dies.
    dies_in: Option<u32>,
    /// The path of an actor that gets no turn.
    held_up: Option<String>,
}

/// A process that runs.
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) engine: Arc<Faulty>,
    pub(super) line: ReportLine,
    /// What the engine has reported, and the process has not heard of yet.
    pub(super) reports: Arc<Mutex<VecDeque<Report>>>,
    pub(super) told: Arc<Mutex<Told>>,
    pub(super) role: Role,
    fate: Rc<RefCell<Fate>>,
    ambient: Ambient,
    /// Gone once the process has died.
    runner: Option<SystemRunner>,
}

impl Process {
    /// Recovers what is in the log and begins to start the actors.
    ///
    /// # Errors
    /// When the log cannot be replayed.
    pub(super) fn start(start: Start<'_>) -> Result<Process, String> {
        let Start { number, process, alone, medium, lock, snapshots, clock, seed, reorder } = start;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let runner = System::with_tokio_rt(move || runtime);
        let arbiter = System::current().arbiter().clone();
        let reports = Arc::<Mutex<VecDeque<Report>>>::default();
        let queue = reports.clone();
        let engine = Arc::new(medium.open(Box::new(move |report| queue.lock().push_back(report))));
        let role = if alone { Role::alone(number) } else { Role::one_of_several(number) };

        let reader = engine.reader();
        let loaded = snapshots.newest(Position(u64::MAX));
        let (mut venue, mut position) = loaded.map_or_else(Default::default, |loaded| (loaded.venue, loaded.position));
        venue.keep_ended();
        let all = Position(u64::MAX);
        while position < engine.end() {
            position = catch_up(&mut venue, reader.as_ref(), position, all, usize::MAX, &mut Silent)
                .map_err(|error| format!("the log cannot be replayed: {error}"))?;
        }
        let (newest_epoch, newest_time) =
            newest(&venue, reader.as_ref(), position).map_err(|error| format!("the log cannot be read: {error}"))?;
        let (forwarder, calls) = Forwarder::new(CALLS);
        let line = ReportLine::default();
        let settings = Settings::default().backoff(Duration::from_millis(1), 4, Duration::from_secs(2));
        let hang_after = Duration::from_secs(3);
        let foundation = Foundation {
            engine: engine.clone(),
            reports: line.clone(),
            meter: Arc::new(LogMeter::default()),
            currencies: venue.ledger.ledger.currencies().to_vec(),
            markets: venue.ledger.ledger.markets().to_vec(),
            recovery: Arc::new(Recovery::new(reader, snapshots, venue, position, CLIENT_IDS).on_one_thread()),
            newest_epoch,
            newest_time,
            role: role.clone(),
            forward: (!alone).then_some(forwarder),
            settings,
            watch: Watch { every: hang_after / 4, deadline: hang_after, start_within: Some(Duration::from_secs(900)) },
            in_flight: 64,
            clock: Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))),
            threads: Threads::One(arbiter.clone()),
        };
        let told = Arc::<Mutex<Told>>::default();
        let fate = Rc::new(RefCell::new(Fate { random: SplitMix(seed), reorder, dies_in: None, held_up: None }));
        let mut started = Process {
            number: process,
            engine: engine.clone(),
            line,
            reports,
            told: told.clone(),
            role,
            fate,
            ambient: Ambient::default(),
            runner: Some(runner),
        };
        started.within(async move {
            let root = Supervisor::root("agora", settings, &arbiter);
            told.lock().root = Some(root.clone());
            actix_rt::spawn(live(root, foundation, told, engine, lock, calls, alone));
        });
        Ok(started)
    }

    /// Runs something on the node's thread.
    pub(super) fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let runner = self.runner.as_ref()?;
        let fate = self.fate.clone();
        let director = Box::new(move |path: &str| fate.borrow_mut().next(path));
        self.ambient.swap();
        let before = (RUNNING.replace(true), turns::direct(Some(director)));
        let done = runner.block_on(work);
        RUNNING.set(before.0);
        turns::direct(before.1);
        self.ambient.swap();
        Some(done)
    }

    /// Lets everything of the node that is ready have so many turns.
    pub(super) fn turn(&mut self, turns: u32) {
        self.within(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        self.within(tokio::time::advance(time));
    }

    /// Gives the oldest report to whoever waits for it; false when there is none or nobody takes it yet.
    pub(super) fn hear(&mut self) -> bool {
        let Some(report) = self.reports.lock().pop_front() else { return false };
        match self.line.offer(report) {
            Ok(()) => true,
            Err(report) => {
                self.reports.lock().push_front(report);
                false
            }
        }
    }

    /// The process will die after so many polls of its actors: at an await, whatever comes after that.
    pub(super) fn doom(&mut self, polls: u32) {
        let mut fate = self.fate.borrow_mut();
        // One that has died just now, and was not buried yet, does not live on: some of its actors never go on.
        if fate.dies_in != Some(0) {
            fate.dies_in = Some(polls);
        }
    }

    /// The actor with this path gets no turn until another one, or none, is named.
    pub(super) fn hold_up(&mut self, path: Option<String>) {
        self.fate.borrow_mut().held_up = path;
    }

    /// Whether it has died, or ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.fate.borrow().dies_in == Some(0) || self.told.lock().ended.is_some()
    }

    /// No actor lets others go first any more.
    pub(super) fn calm(&mut self) {
        let mut fate = self.fate.borrow_mut();
        fate.reorder = 0;
        fate.held_up = None;
        fate.dies_in.take_if(|polls| *polls > 0);
    }

    pub(super) fn trading(&self) -> Option<Trading> {
        self.told.lock().trading.clone()
    }

    /// Makes an actor panic; false when it is not there.
    pub(super) fn drill(&self, path: &str, drill: Drill) -> bool {
        self.told.lock().root.as_ref().is_some_and(|root| root.tree().drill(path, drill))
    }
}

impl Drop for Process {
    /// As kill -9: whatever is dropped here can do nothing any more.
    fn drop(&mut self) {
        self.engine.kill();
        self.ambient.swap();
        let running = RUNNING.replace(true);
        let before = turns::direct(Some(Box::new(|_: &str| Turn::Never)));
        drop(self.runner.take());
        turns::direct(before);
        RUNNING.set(running);
        self.ambient.swap();
    }
}

impl Fate {
    fn next(&mut self, path: &str) -> Turn {
        match &mut self.dies_in {
            Some(0) => return Turn::Never,
            Some(polls) => *polls -= 1,
            None => {}
        }
        if self.dies_in == Some(0) {
            Turn::Never
        } else if self.held_up.as_deref() == Some(path) || self.random.strikes(self.reorder) {
            Turn::Later
        } else {
            Turn::Now
        }
    }
}

/// The life of a node, as `app` and `cluster` have it.
async fn live(
    root: Supervisor,
    foundation: Foundation,
    told: Arc<Mutex<Told>>,
    engine: Arc<Faulty>,
    lock: SeenLock,
    mut calls: mpsc::Receiver<Call>,
    alone: bool,
) {
    let escalated = {
        let (root, told) = (root.clone(), told.clone());
        async move {
            let reason = root.escalated().await;
            told.lock().ended = Some(format!("the supervision tree gave up: {reason}"));
        }
    };
    actix_rt::spawn(escalated);
    let trading = match trading::start(&root, foundation).await {
        Ok(trading) => trading,
        Err(failure) => {
            told.lock().ended = Some(format!("it could not start: {failure}"));
            return;
        }
    };
    told.lock().trading = Some(trading.clone());
    if alone {
        return;
    }
    let outgoing = told.clone();
    actix_rt::spawn(async move {
        while let Some(Call { command, reply, .. }) = calls.recv().await {
            outgoing.lock().calls.push((command, reply));
        }
    });
    loop {
        // Out of reach: it is tried again, with another connection.
        let _ = contend(&lock, engine.as_ref(), &trading).await;
        tokio::time::sleep(TRY_EVERY).await;
    }
}
