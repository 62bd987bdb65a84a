//! The actor that makes the decisions of one supervisor.
//!
//! It keeps for every child what is wanted of it and what it is, and [`Overseer::settle`] takes the steps that bring
//! the two together: stops from the last child to the first, one at a time; starts from the first to the last. Every
//! event (a child is ready, is gone, has waited long enough, was asked for something) changes one of the two and
//! settles again.
//!
//! The children outlive the overseer: when it ends they go back into the [`Roster`], from which its next incarnation
//! takes them. It gives up whatever still runs and starts them all again, in order and with fresh budgets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, ResponseFuture, SpawnHandle};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    entry::{Entry, Is, Want, answer},
    policy::{Exhausted, Settings, Strategy},
    requests::{Adopt, Failure, Halt, Notice, Revive, Shutdown},
    runner::{Ending, Lifeline, Report},
    tree::State,
};

/// What an actor is given beyond its deadline before a planned stop gives it up: it has been told, and has to unwind.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// The children between two incarnations of their overseer.
#[derive(Default)]
pub(crate) struct Roster {
    entries: Mutex<Vec<Entry>>,
}

enum Phase {
    /// Children are being started in order for the first time.
    Opening,
    Open,
    Failing(Failing),
    Closing {
        for_good: bool,
    },
}

/// Why a supervisor gives up.
struct Failing {
    reason: String,
    /// Whether those above it have to give up too.
    fatal: bool,
}

pub(crate) struct Overseer {
    roster: Arc<Roster>,
    entries: Vec<Entry>,
    next_id: u64,
    /// What looks after the watched children, by their ids; it goes with them.
    pub(super) watches: BTreeMap<u64, SpawnHandle>,
    phase: Phase,
    settings: Settings,
    lifeline: Lifeline,
    closed: Vec<oneshot::Sender<()>>,
}

impl Overseer {
    pub(crate) fn new(roster: Arc<Roster>, settings: Settings, lifeline: Lifeline) -> Self {
        let entries = std::mem::take(&mut *roster.entries.lock());
        let next_id = entries.iter().map(|entry| entry.id + 1).max().unwrap_or(0);
        let (watches, phase, closed) = (BTreeMap::new(), Phase::Opening, Vec::new());
        Overseer { roster, entries, next_id, watches, phase, settings, lifeline, closed }
    }

    fn find(&mut self, id: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }

    /// Takes every step that is possible now towards what is wanted.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        self.stop_unwanted(ctx);
        let stopping = |entry: &Entry| entry.want != Want::Up && entry.is != Is::Down;
        match &self.phase {
            Phase::Failing(_) | Phase::Closing { .. } if self.entries.iter().any(stopping) => return,
            Phase::Failing(Failing { reason, fatal }) => {
                match fatal {
                    true => self.lifeline.fatal(reason),
                    false => self.lifeline.fail(reason),
                }
                return ctx.stop();
            }
            Phase::Closing { .. } => {
                for closed in self.closed.drain(..) {
                    let _ = closed.send(());
                }
                self.lifeline.finish();
                return ctx.stop();
            }
            Phase::Opening | Phase::Open => {}
        }
        if self.entries.iter().any(|entry| entry.want == Want::Recycle) {
            if self.entries.iter().any(|entry| entry.want == Want::Recycle && entry.is != Is::Down) {
                return;
            }
            for entry in self.entries.iter_mut().filter(|entry| entry.want == Want::Recycle) {
                entry.want = Want::Up;
            }
        }
        self.start_wanted(ctx);
        if matches!(self.phase, Phase::Opening)
            && self.entries.iter().all(|entry| entry.want != Want::Up || entry.is == Is::Up)
        {
            self.phase = Phase::Open;
            self.lifeline.ready();
        }
    }

    /// From the last to the first, each once the one after it has ended.
    fn stop_unwanted(&mut self, ctx: &mut Context<Self>) {
        for at in (0..self.entries.len()).rev() {
            let entry = &mut self.entries[at];
            match (entry.want, entry.is) {
                (Want::Up, _) | (_, Is::Down) => {}
                (_, Is::Stopping) => return,
                (want, Is::Up | Is::Starting) => {
                    entry.is = Is::Stopping;
                    entry.child.node().set(State::Stopping);
                    let for_good = match self.phase {
                        Phase::Closing { for_good } => for_good,
                        Phase::Failing(_) => false,
                        Phase::Opening | Phase::Open => want == Want::Down,
                    };
                    // So that it is known, if the actor does not stop, whether its thread is blocked.
                    entry.ask(Instant::now());
                    entry.child.stop(Shutdown { for_good });
                    let (id, incarnation) = (entry.id, entry.incarnation);
                    if let Some(watch) = entry.child.rules().watch {
                        ctx.run_later(watch.deadline, move |overseer, ctx| overseer.deaf(id, incarnation, ctx));
                    }
                    ctx.run_later(entry.child.rules().stop_within + LAST_GRACE, move |overseer, ctx| {
                        overseer.overdue(id, incarnation, ctx);
                    });
                    return;
                }
            }
        }
    }

    /// From the first to the last; where the order matters, each once the one before it is ready.
    fn start_wanted(&mut self, ctx: &mut Context<Self>) {
        let in_order = self.settings.strategy == Strategy::RestForOne || matches!(self.phase, Phase::Opening);
        for at in 0..self.entries.len() {
            if self.entries[at].want != Want::Up {
                continue;
            }
            if self.entries[at].is == Is::Down && !self.entries[at].waiting {
                self.begin(at, ctx);
            }
            if in_order && self.entries[at].is != Is::Up {
                return;
            }
        }
    }

    fn begin(&mut self, at: usize, ctx: &mut Context<Self>) {
        let entry = &mut self.entries[at];
        entry.incarnation += 1;
        entry.is = Is::Starting;
        entry.begun_at = Instant::now();
        entry.beat = None;
        entry.child.node().starting(entry.incarnation);
        let (child, incarnation, overseer) = (entry.id, entry.incarnation, ctx.address());
        entry.child.begin(
            incarnation,
            Arc::new(move |report| {
                // Bounded by the children, two notices each; and none may be lost.
                overseer.do_send(Notice { child, incarnation, report });
            }),
        );
    }

    fn gone(&mut self, at: usize, ending: Ending, ctx: &mut Context<Self>) {
        let entry = &mut self.entries[at];
        entry.beat = None;
        let was_stopping = entry.is == Is::Stopping;
        entry.is = Is::Down;
        match ending {
            // It may have been asked to stop when it found out; a program that ends anyway need not know.
            Ending::Fatal(reason) if !matches!(self.phase, Phase::Closing { for_good: true }) => self.fatal(at, reason),
            _ if was_stopping => self.ended_as_asked(at, &ending, ctx),
            Ending::Crashed(reason) => self.crashed(at, &reason, ctx),
            Ending::Faulted(reason) | Ending::Fatal(reason) => self.fault(at, &reason),
            Ending::Planned | Ending::Passivated | Ending::Finished => {
                entry.want = Want::Down;
                entry.child.close();
                entry.child.node().set(State::Stopped);
                entry.refuse("it has finished");
                tracing::info!(path = self.entries[at].child.node().path, "an actor has finished");
            }
        }
        self.settle(ctx);
    }

    fn ended_as_asked(&mut self, at: usize, ending: &Ending, ctx: &mut Context<Self>) {
        let for_good = match self.phase {
            Phase::Closing { for_good } => for_good,
            Phase::Failing(_) => false,
            Phase::Opening | Phase::Open => self.entries[at].want == Want::Down,
        };
        let entry = &mut self.entries[at];
        let state = if for_good { State::Stopped } else { State::Restarting };
        match ending {
            Ending::Crashed(reason) | Ending::Faulted(reason) | Ending::Fatal(reason) => {
                entry.child.node().crashed(reason, state);
            }
            Ending::Planned | Ending::Passivated | Ending::Finished => entry.child.node().set(state),
        }
        if for_good {
            entry.child.close();
            entry.refuse("it was stopped");
        }
        answer(&mut entry.ended, &Ok(()));
        if entry.forget {
            let gone = self.entries.remove(at);
            if let Some(watch) = self.watches.remove(&gone.id) {
                ctx.cancel_future(watch);
            }
        }
    }

    /// Decides what a crash or a hang leads to.
    fn crashed(&mut self, at: usize, reason: &str, ctx: &mut Context<Self>) {
        let settings = self.settings;
        let entry = &mut self.entries[at];
        let budget = entry.child.rules().budget.unwrap_or(settings.budget);
        let now = Instant::now();
        entry.crashes.push_back(now);
        while entry.crashes.front().is_some_and(|&crash| now.duration_since(crash) > budget.within) {
            entry.crashes.pop_front();
        }
        let crashes = entry.crashes.len();
        let path = entry.child.node().path.clone();
        if crashes > budget.restarts {
            let within = budget.within;
            let verdict = format!("{} crashed {crashes} times within {within:?}, last: {reason}", entry.name());
            return match entry.child.rules().exhausted {
                Exhausted::Fault => self.fault(at, &verdict),
                Exhausted::FaultAtFirst if !entry.was_ready => self.fault(at, &verdict),
                Exhausted::Escalate | Exhausted::FaultAtFirst => {
                    tracing::error!(path, reason, crashes, "an actor crashed too often, its supervisor gives up");
                    entry.child.node().crashed(reason, State::Restarting);
                    self.fail(verdict, false);
                }
            };
        }
        let wait = settings.backoff.delay(crashes);
        tracing::error!(path, reason, crashes, wait_ms = wait.as_millis(), "an actor crashed and is restarted");
        entry.child.node().crashed(reason, State::BackingOff);
        if !wait.is_zero() {
            entry.waiting = true;
            let (id, incarnation) = (entry.id, entry.incarnation);
            ctx.run_later(wait, move |overseer, ctx| overseer.waited(id, incarnation, ctx));
        }
        self.recycle_after(at);
    }

    /// Restarts those that depend on the child at `at`, if the strategy says that they do.
    fn recycle_after(&mut self, at: usize) {
        if self.settings.strategy == Strategy::RestForOne {
            for later in self.entries.iter_mut().skip(at + 1).filter(|later| later.want == Want::Up) {
                later.want = Want::Recycle;
            }
        }
    }

    fn fault(&mut self, at: usize, reason: &str) {
        let entry = &mut self.entries[at];
        tracing::error!(path = entry.child.node().path, reason, "an actor is faulted and stays down");
        entry.want = Want::Down;
        entry.child.close();
        entry.child.node().crashed(reason, State::Faulted);
        entry.refuse(reason);
    }

    fn fatal(&mut self, at: usize, reason: String) {
        let node = self.entries[at].child.node();
        tracing::error!(path = node.path, reason, "an actor says that nothing may go on");
        node.crashed(&reason, State::Faulted);
        self.fail(reason, true);
    }

    /// Stops all children; then this supervisor ends as failed.
    fn fail(&mut self, reason: String, fatal: bool) {
        for entry in &mut self.entries {
            entry.refuse(&reason);
            // Those that are down for good stay so; the others are remembered as wanted.
            if entry.want != Want::Down {
                entry.want = Want::Recycle;
            }
        }
        self.phase = Phase::Failing(Failing { reason, fatal });
    }

    fn waited(&mut self, id: u64, incarnation: u64, ctx: &mut Context<Self>) {
        let Some(at) = self.find(id) else { return };
        let entry = &mut self.entries[at];
        if entry.incarnation == incarnation && entry.waiting {
            entry.waiting = false;
            self.settle(ctx);
        }
    }

    fn overdue(&mut self, id: u64, incarnation: u64, ctx: &mut Context<Self>) {
        let Some(at) = self.find(id) else { return };
        let entry = &mut self.entries[at];
        if entry.incarnation == incarnation && entry.is == Is::Stopping {
            tracing::error!(path = entry.child.node().path, "an actor did not stop in time and is given up");
            entry.give_up();
            self.ended_as_asked(at, &Ending::Crashed("it did not stop in time".to_owned()), ctx);
            self.settle(ctx);
        }
    }

    /// Whoever is on a thread that another actor blocks cannot hear that it should stop.
    fn deaf(&mut self, id: u64, incarnation: u64, ctx: &mut Context<Self>) {
        let Some(at) = self.find(id) else { return };
        let entry = &mut self.entries[at];
        let asked = entry.beat.filter(|_| entry.incarnation == incarnation && entry.is == Is::Stopping);
        if asked.is_some_and(|(beat, _)| !entry.child.arbiter_has_answered(beat)) {
            entry.give_up();
            self.ended_as_asked(at, &Ending::Crashed("its thread was blocked when it should stop".to_owned()), ctx);
            self.settle(ctx);
        }
    }

    fn keep_watch(&mut self, at: usize, ctx: &mut Context<Self>) {
        let entry = &self.entries[at];
        if let Some(watch) = entry.child.rules().watch {
            let id = entry.id;
            let looks = ctx.run_interval(watch.every, move |overseer, ctx| overseer.look_at(id, ctx));
            self.watches.insert(id, looks);
        }
    }

    /// Asks a watched child for a sign of life, or gives it up if the last one is overdue.
    fn look_at(&mut self, id: u64, ctx: &mut Context<Self>) {
        let Some(at) = self.find(id) else { return };
        let entry = &mut self.entries[at];
        let Some(watch) = entry.child.rules().watch else { return };
        let allowed = match entry.is {
            Is::Up => Some(watch.deadline),
            Is::Starting => watch.start_within,
            Is::Down | Is::Stopping => return,
        };
        let asked_at = match entry.beat {
            Some((beat, at)) if !entry.child.has_answered(beat) => at,
            _ => {
                let since = if entry.is == Is::Starting { entry.begun_at } else { Instant::now() };
                return entry.ask(since);
            }
        };
        if allowed.is_some_and(|allowed| asked_at.elapsed() > allowed) {
            let what = if entry.is == Is::Starting { "it was not ready" } else { "it did not answer" };
            let reason = format!("hung: {what} within {:?}", allowed.unwrap_or_default());
            entry.give_up();
            self.crashed(at, &reason, ctx);
            self.settle(ctx);
        }
    }
}

impl Actor for Overseer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for entry in &mut self.entries {
            if entry.is != Is::Down {
                entry.give_up();
            }
            if entry.want == Want::Recycle {
                entry.want = Want::Up;
            }
            entry.crashes.clear();
            entry.waiting = false;
        }
        for at in 0..self.entries.len() {
            self.keep_watch(at, ctx);
        }
        self.settle(ctx);
    }
}

impl Drop for Overseer {
    fn drop(&mut self) {
        *self.roster.entries.lock() = std::mem::take(&mut self.entries);
    }
}

impl Handler<Notice> for Overseer {
    type Result = ();

    fn handle(&mut self, notice: Notice, ctx: &mut Self::Context) {
        let Some(at) = self.find(notice.child) else { return };
        let entry = &mut self.entries[at];
        if entry.incarnation != notice.incarnation || entry.is == Is::Down {
            return;
        }
        match notice.report {
            Report::Gone(ending) => self.gone(at, ending, ctx),
            Report::Ready if entry.is == Is::Starting => {
                entry.is = Is::Up;
                entry.was_ready = true;
                entry.beat = None;
                entry.child.node().set(State::Running);
                answer(&mut entry.ready, &Ok(()));
                self.settle(ctx);
            }
            Report::Ready => {}
        }
    }
}

impl Handler<Adopt> for Overseer {
    type Result = ();

    fn handle(&mut self, Adopt { child, ready }: Adopt, ctx: &mut Self::Context) {
        if !matches!(self.phase, Phase::Opening | Phase::Open) {
            let _ = ready.send(Err(Failure::SupervisorGone));
            return;
        }
        self.entries.push(Entry::new(self.next_id, child, ready));
        self.next_id += 1;
        self.keep_watch(self.entries.len() - 1, ctx);
        self.settle(ctx);
    }
}

impl Handler<Halt> for Overseer {
    type Result = ();

    fn handle(&mut self, Halt { name, forget, done }: Halt, ctx: &mut Self::Context) {
        let Some(at) = self.entries.iter().position(|entry| entry.name() == name) else {
            let _ = done.send(Err(Failure::Unknown(name)));
            return;
        };
        let entry = &mut self.entries[at];
        entry.want = Want::Down;
        entry.waiting = false;
        entry.forget |= forget;
        entry.ended.push(done);
        if entry.is == Is::Down {
            self.ended_as_asked(at, &Ending::Planned, ctx);
        }
        self.settle(ctx);
    }
}

impl Handler<Revive> for Overseer {
    type Result = ();

    fn handle(&mut self, Revive { name, ready }: Revive, ctx: &mut Self::Context) {
        let open = matches!(self.phase, Phase::Opening | Phase::Open);
        let Some(at) = self.entries.iter().position(|entry| open && entry.name() == name) else {
            let _ = ready.send(Err(if open { Failure::Unknown(name) } else { Failure::SupervisorGone }));
            return;
        };
        let entry = &mut self.entries[at];
        entry.crashes.clear();
        entry.waiting = false;
        entry.want = Want::Recycle;
        entry.ready.push(ready);
        self.recycle_after(at);
        self.settle(ctx);
    }
}

impl Handler<Shutdown> for Overseer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Shutdown { for_good }: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        for entry in &mut self.entries {
            entry.waiting = false;
            if entry.want == Want::Up {
                entry.want = Want::Recycle;
            }
            if for_good && entry.is == Is::Down {
                entry.child.close();
                if entry.want == Want::Recycle {
                    entry.child.node().set(State::Stopped);
                }
            }
        }
        if !matches!(self.phase, Phase::Failing(_)) {
            self.phase = Phase::Closing { for_good };
        }
        let (closed, done) = oneshot::channel();
        self.closed.push(closed);
        self.settle(ctx);
        Box::pin(async move {
            // A dropped sender means that the overseer has ended, and its children before it.
            let _ = done.await;
        })
    }
}
