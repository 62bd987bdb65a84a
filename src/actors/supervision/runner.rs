//! One incarnation of an actor, from building it to the report of its end.
//!
//! The actor is built on its arbiter and polled by [`Run`], which catches panics in `started`, in handlers and in the
//! futures of its context alike. [`Intake`] is a future inside that context: it carries messages from the mailbox to
//! the handlers, so it stands still exactly when the actor takes no messages (`ctx.wait`, an `AtomicResponse`), and
//! its first poll is the moment from which the actor is ready. [`Guard`] belongs to the task and reports when it is
//! dropped, so an end is noticed even if the arbiter goes away with everything on it.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::Instant,
};

use actix::{
    Actor, ActorContext, ActorFuture, ArbiterHandle, AsyncContext, Context,
    dev::{ContextFut, EnvelopeProxy, channel},
};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::{
    drill::{Armed, Drill},
    mailbox::{Door, Mailbox, Taken},
    panics,
    turns::{self, Turn},
};

/// Messages that an actor handles before it lets the others of its arbiter have their turn.
const TURN: usize = 256;

/// Why an actor could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Counts as a crash: it is tried again after the wait.
    #[error("could not start: {0}")]
    Failed(String),
    /// Trying again is useless: the child is faulted until somebody revives it.
    #[error("faulted: {0}")]
    Faulted(String),
}

impl StartError {
    /// A failure that may pass.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        StartError::Failed(reason.to_string())
    }
}

/// How an incarnation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its supervisor asked for it.
    Planned,
    /// It was idle, and was asked to go.
    Passivated,
    /// It said that its work is done.
    Finished,
    Crashed(String),
    /// It said that a restart is useless.
    Faulted(String),
    /// It said that nothing above it may go on either.
    Fatal(String),
}

/// What an incarnation tells whoever started it: `Ready` at most once, then `Gone` exactly once.
#[derive(Debug)]
pub(crate) enum Report {
    Ready,
    Gone(Ending),
}

pub(crate) type Reporter = Arc<dyn Fn(Report) + Send + Sync>;

/// What an actor knows about its own place, and how it tells its supervisor something. The supervisor notices the
/// actor's end by itself, after a panic too; there is no need to keep the lifeline for that.
#[derive(Clone)]
pub struct Lifeline {
    life: Arc<Life>,
}

struct Life {
    path: String,
    incarnation: u64,
    last_crash: Option<String>,
    verdict: Mutex<Option<Ending>>,
    report: Reporter,
    signals: Arc<Signals>,
}

impl std::fmt::Debug for Lifeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifeline").field("path", &self.life.path).field("incarnation", &self.life.incarnation).finish()
    }
}

impl Lifeline {
    pub(crate) fn new(
        path: String,
        incarnation: u64,
        last_crash: Option<String>,
        report: Reporter,
        signals: Arc<Signals>,
    ) -> Self {
        Lifeline { life: Arc::new(Life { path, incarnation, last_crash, verdict: Mutex::new(None), report, signals }) }
    }

    /// A dangerous point within a piece of work, where a drill may make the actor panic.
    ///
    /// # Panics
    /// When a drill asks for it.
    pub fn hazard(&self) {
        self.life.signals.drill.within();
    }

    /// The names from the root to this actor, joined by `/`.
    pub fn path(&self) -> &str {
        &self.life.path
    }

    /// How many times an actor was started in this place, this time included; 1 at the first.
    pub fn incarnation(&self) -> u64 {
        self.life.incarnation
    }

    /// Why the incarnation before this one ended, if it crashed.
    pub fn last_crash(&self) -> Option<&str> {
        self.life.last_crash.as_deref()
    }

    /// Says that the actor is ready, if its specification waits for that word.
    pub fn ready(&self) {
        (self.life.report)(Report::Ready);
    }

    /// Gives the reason for the stop that follows (`ctx.stop()`), which counts as a crash.
    pub fn fail(&self, reason: impl std::fmt::Display) {
        *self.life.verdict.lock() = Some(Ending::Crashed(reason.to_string()));
    }

    /// Gives the reason for the end that follows (a stop or a panic), after which the actor is not restarted.
    pub fn fault(&self, reason: impl std::fmt::Display) {
        *self.life.verdict.lock() = Some(Ending::Faulted(reason.to_string()));
    }

    /// Gives the reason for the end that follows (a stop or a panic), after which nothing may go on: every supervisor up to the
    /// root gives up, whatever its budget, and the program ends.
    pub fn fatal(&self, reason: impl std::fmt::Display) {
        *self.life.verdict.lock() = Some(Ending::Fatal(reason.to_string()));
    }

    /// Says that the stop that follows is no crash and that the place can stay empty.
    pub fn finish(&self) {
        *self.life.verdict.lock() = Some(Ending::Finished);
    }
}

/// What is asked of a running incarnation from other threads.
#[derive(Default)]
pub(crate) struct Signals {
    bits: AtomicU8,
    waker: AtomicWaker,
    beat_asked: AtomicU64,
    beat_answered: AtomicU64,
    arbiter_answered: AtomicU64,
    drill: Armed,
}

const STOP: u8 = 1;
const LEAVE: u8 = 2;
const ABANDON: u8 = 4;

impl Signals {
    fn raise(&self, bit: u8) {
        self.bits.fetch_or(bit, Ordering::AcqRel);
        self.waker.wake();
    }

    fn take(&self, bit: u8) -> bool {
        self.bits.load(Ordering::Acquire) & bit != 0 && self.bits.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Stop as if the actor had called `ctx.stop()`.
    pub(crate) fn stop(&self) {
        self.raise(STOP);
    }

    /// Go, if idle.
    pub(crate) fn leave(&self) {
        self.raise(LEAVE);
    }

    /// Vanish at the next chance.
    pub(crate) fn abandon(&self) {
        self.raise(ABANDON);
    }

    /// Makes the actor fail on purpose.
    pub(crate) fn drill(&self, drill: Drill) {
        self.drill.arm(drill);
        self.waker.wake();
    }

    /// Asks for a sign of life, of the actor and of the thread it is on.
    pub(crate) fn ask(self: &Arc<Self>, beat: u64, arbiter: &ArbiterHandle) {
        self.beat_asked.store(beat, Ordering::Release);
        self.waker.wake();
        let signals = self.clone();
        arbiter.spawn_fn(move || signals.arbiter_answered.store(beat, Ordering::Release));
    }

    pub(crate) fn has_answered(&self, beat: u64) -> bool {
        self.beat_answered.load(Ordering::Acquire) >= beat
    }

    pub(crate) fn arbiter_has_answered(&self, beat: u64) -> bool {
        self.arbiter_answered.load(Ordering::Acquire) >= beat
    }
}

/// All that an incarnation needs besides the actor itself.
pub(crate) struct Seat<A: Actor> {
    pub(crate) mailbox: Arc<Mailbox<A>>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) lifeline: Lifeline,
    pub(crate) terms: Terms<A>,
}

pub(crate) struct Terms<A> {
    /// Messages that wait survive a crash.
    pub(crate) keep_queue: bool,
    /// The door after a crash.
    pub(crate) after_crash: Door,
    /// The bound of the actix mailbox that the actor has for itself.
    pub(crate) own_capacity: usize,
    /// `Ready` is reported by the actor and not at the first turn.
    pub(crate) ready_by_hand: bool,
    /// How it is passivated, if at all.
    pub(crate) passivation: Option<Passivation<A>>,
}

pub(crate) struct Passivation<A> {
    /// Whether an idle actor may go now.
    pub(crate) willing: fn(&A) -> bool,
    /// From when on the milliseconds are counted that say when the actor was last used.
    pub(crate) epoch: Instant,
}

impl<A> Clone for Passivation<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Passivation<A> {}

impl<A> Clone for Terms<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Terms<A> {}

/// Builds the actor on `arbiter` and runs it there. Whatever happens, the seat's reporter hears `Gone` once.
pub(crate) fn launch<A, F>(arbiter: &ArbiterHandle, seat: Seat<A>, build: F)
where
    A: Actor<Context = Context<A>>,
    F: FnOnce(Lifeline) -> Result<A, StartError> + Send + 'static,
{
    seat.mailbox.attach(seat.lifeline.incarnation());
    let guard = Guard { seat, ending: Ending::Crashed("its arbiter has stopped".to_owned()) };
    // If the arbiter is gone the closure is dropped, and the guard with it.
    arbiter.spawn_fn(move || {
        let lifeline = guard.seat.lifeline.clone();
        let actor = match catch_unwind(AssertUnwindSafe(move || build(lifeline))) {
            Ok(Ok(actor)) => actor,
            Ok(Err(StartError::Faulted(reason))) => return guard.ends(Ending::Faulted(reason)),
            Ok(Err(error)) => return guard.ends(Ending::Crashed(error.to_string())),
            Err(payload) => return guard.ends(Ending::Crashed(panics::reason(&*payload))),
        };
        let (_, receiver) = channel::channel(guard.seat.terms.own_capacity);
        let mut ctx = Context::with_receiver(receiver);
        ctx.spawn(Intake {
            mailbox: guard.seat.mailbox.clone(),
            signals: guard.seat.signals.clone(),
            lifeline: guard.seat.lifeline.clone(),
            terms: guard.seat.terms,
            announced: false,
        });
        if !guard.seat.mailbox.open(guard.seat.lifeline.incarnation(), ctx.address()) {
            return;
        }
        actix_rt::spawn(Run { body: Some(ctx.into_future(actor)), asked_to_stop: false, guard });
    });
}

/// Reports the end of an incarnation when it is dropped.
struct Guard<A: Actor> {
    seat: Seat<A>,
    ending: Ending,
}

impl<A: Actor> Guard<A> {
    /// Ends here, with a better reason than the one to begin with.
    fn ends(mut self, ending: Ending) {
        self.ending = ending;
    }

    fn shut_the_door(&self) {
        let (door, keep) = match self.ending {
            Ending::Planned if self.seat.mailbox.is_closed() => (Door::Closed, false),
            Ending::Crashed(_) | Ending::Planned => (self.seat.terms.after_crash, self.seat.terms.keep_queue),
            Ending::Finished | Ending::Faulted(_) | Ending::Fatal(_) | Ending::Passivated => (Door::Closed, false),
        };
        self.seat.mailbox.detach(self.seat.lifeline.incarnation(), door, keep);
    }
}

impl<A: Actor> Drop for Guard<A> {
    fn drop(&mut self) {
        self.shut_the_door();
        let ending = std::mem::replace(&mut self.ending, Ending::Finished);
        (self.seat.lifeline.life.report)(Report::Gone(ending));
    }
}

/// The task of one incarnation.
struct Run<A: Actor<Context = Context<A>>> {
    /// None once the actor has been dropped.
    body: Option<ContextFut<A, Context<A>>>,
    asked_to_stop: bool,
    guard: Guard<A>,
}

impl<A: Actor<Context = Context<A>>> Run<A> {
    /// Drops the actor before its end is reported, so that two incarnations never exist side by side unless the
    /// older was given up.
    fn end(&mut self, ending: Ending) -> Poll<()> {
        self.guard.ending = ending;
        // First the door, then the callers: whoever learns that its message was lost and sends again must not be
        // let into the queue that is about to be discarded.
        self.guard.shut_the_door();
        let body = self.body.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(body))) {
            let reason = panics::reason(&*payload);
            tracing::error!(path = self.guard.seat.lifeline.path(), reason, "an actor panicked while it was dropped");
        }
        Poll::Ready(())
    }

    fn crash(&mut self, payload: &(dyn Any + Send)) -> Poll<()> {
        let reason = panics::reason(payload);
        match self.verdict() {
            Some(said @ (Ending::Faulted(_) | Ending::Fatal(_))) => self.end(said),
            _ => self.end(Ending::Crashed(reason)),
        }
    }

    /// What the actor said about its own end.
    fn verdict(&self) -> Option<Ending> {
        self.guard.seat.lifeline.life.verdict.lock().take()
    }
}

impl<A: Actor<Context = Context<A>>> Future for Run<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let run = self.get_mut();
        let signals = run.guard.seat.signals.clone();
        signals.waker.register(cx.waker());
        match turns::next(run.guard.seat.lifeline.path()) {
            Turn::Now => {}
            Turn::Later => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Turn::Never => return Poll::Pending,
        }
        if signals.take(ABANDON) {
            return run.end(Ending::Planned);
        }
        let Some(body) = run.body.as_mut() else { return Poll::Ready(()) };
        if signals.take(STOP) {
            run.asked_to_stop = true;
            body.ctx().stop();
        }
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *body).poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) if run.asked_to_stop => {
                let fatal = run.verdict().filter(|said| matches!(said, Ending::Fatal(_)));
                run.end(fatal.unwrap_or(Ending::Planned))
            }
            Ok(Poll::Ready(())) => {
                let unexplained = || Ending::Crashed("it stopped by itself, without giving a reason".to_owned());
                let ending = run.verdict().unwrap_or_else(unexplained);
                run.end(ending)
            }
            Err(payload) => run.crash(&*payload),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Run<A> {
    fn drop(&mut self) {
        // Only when the arbiter drops its tasks: the actor goes before the guard reports.
        if let Some(body) = self.body.take() {
            let _ = catch_unwind(AssertUnwindSafe(move || drop(body)));
        }
    }
}

/// Carries messages from the mailbox to the handlers.
struct Intake<A: Actor> {
    mailbox: Arc<Mailbox<A>>,
    signals: Arc<Signals>,
    lifeline: Lifeline,
    terms: Terms<A>,
    announced: bool,
}

impl<A: Actor<Context = Context<A>>> Intake<A> {
    fn may_leave(&self, actor: &A) -> bool {
        let asked = self.signals.take(LEAVE);
        match self.terms.passivation {
            Some(Passivation { willing, .. }) if asked => {
                willing(actor) && self.mailbox.close_if_idle(self.lifeline.incarnation())
            }
            _ => false,
        }
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Intake<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Context<A>, cx: &mut task::Context<'_>) -> Poll<()> {
        let intake = self.get_mut();
        if !intake.announced {
            intake.announced = true;
            if !intake.terms.ready_by_hand {
                intake.lifeline.ready();
            }
        }
        let signals = &intake.signals;
        signals.drill.between();
        signals.beat_answered.store(signals.beat_asked.load(Ordering::Acquire), Ordering::Release);

        let reader = intake.lifeline.incarnation();
        let mut handled = 0;
        while !ctx.waiting() {
            if handled == TURN {
                cx.waker().wake_by_ref();
                break;
            }
            match intake.mailbox.take(reader, cx.waker()) {
                Taken::Message(mut message) => {
                    let panicking = ShutOnPanic { mailbox: &intake.mailbox, reader, terms: &intake.terms };
                    message.handle(actor, ctx);
                    drop(panicking);
                    handled += 1;
                }
                Taken::Empty if handled == 0 && intake.may_leave(actor) => {
                    *intake.lifeline.life.verdict.lock() = Some(Ending::Passivated);
                    ctx.terminate();
                }
                Taken::Empty => {
                    if handled > 0 {
                        // It was asked to go because it was idle, which it is not.
                        signals.take(LEAVE);
                    }
                    break;
                }
                Taken::Stale => ctx.terminate(),
            }
        }
        if let (Some(Passivation { epoch, .. }), true) = (intake.terms.passivation, handled > 0) {
            intake.mailbox.touch(millis_since(epoch));
        }
        Poll::Pending
    }
}

/// Milliseconds since `epoch`.
pub(crate) fn millis_since(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Shuts the door while a handler unwinds, before the caller's answer is dropped.
struct ShutOnPanic<'a, A: Actor> {
    mailbox: &'a Mailbox<A>,
    reader: u64,
    terms: &'a Terms<A>,
}

impl<A: Actor> Drop for ShutOnPanic<'_, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.mailbox.detach(self.reader, self.terms.after_crash, self.terms.keep_queue);
        }
    }
}
