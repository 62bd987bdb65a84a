//! What a supervisor has to know about one child: how to build it, where, how to stop it, when to give up.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Arbiter, ArbiterHandle, Context, Handler};
use parking_lot::Mutex;

use super::{
    mailbox::{Door, Handle, Level, Mailbox},
    policy::{Budget, Exhausted, Watch},
    requests::Shutdown,
    runner::{Lifeline, Reporter, Seat, Signals, StartError, Terms, launch},
    tree::{Kind, Lag, Node},
};

type Factory<A> = Box<dyn FnMut(Lifeline) -> Result<A, StartError> + Send>;
type Farewell<A> = fn(&Mailbox<A>, Shutdown) -> tokio::sync::oneshot::Receiver<()>;

/// Messages that a mailbox holds unless the specification says otherwise.
const MAILBOX: usize = 1_024;

/// How to start and keep one child. See the methods for what can be chosen.
pub struct ChildSpec<A: Actor> {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    placement: Placement,
    factory: Factory<A>,
    capacity: usize,
    keep_queue: bool,
    ready_by_hand: bool,
    farewell: Option<Farewell<A>>,
    lag: Option<Lag>,
    rules: Rules,
}

/// The part of a specification that the supervisor itself goes by.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) stop_within: Duration,
    pub(crate) budget: Option<Budget>,
    pub(crate) exhausted: Exhausted,
    pub(crate) watch: Option<Watch>,
}

enum Placement {
    On(ArbiterHandle),
    Chosen(Box<dyn FnMut(u64) -> ArbiterHandle + Send>),
}

impl<A: Actor<Context = Context<A>>> ChildSpec<A> {
    /// A child of this name, unique among its siblings, that `factory` builds on `arbiter`, at every start anew. The
    /// factory may fail and may panic; both count as a crash. A long recovery belongs into `started` with `ctx.wait`:
    /// the child counts as ready when the wait is over.
    pub fn new<F>(name: impl Into<String>, arbiter: ArbiterHandle, factory: F) -> Self
    where
        F: FnMut(Lifeline) -> Result<A, StartError> + Send + 'static,
    {
        ChildSpec {
            name: name.into(),
            kind: Kind::Actor,
            placement: Placement::On(arbiter),
            factory: Box::new(factory),
            capacity: MAILBOX,
            keep_queue: false,
            ready_by_hand: false,
            farewell: None,
            lag: None,
            rules: Rules {
                stop_within: Duration::from_secs(5),
                budget: None,
                exhausted: Exhausted::Escalate,
                watch: None,
            },
        }
    }

    /// Chooses the arbiter for each incarnation (counted from 1), in place of the fixed one.
    #[must_use]
    pub fn arbiters(mut self, choose: impl FnMut(u64) -> ArbiterHandle + Send + 'static) -> Self {
        self.placement = Placement::Chosen(Box::new(choose));
        self
    }

    /// The bound of the mailbox, in messages; 1,024 unless set.
    #[must_use]
    pub fn mailbox(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Messages that were queued, and those that come during a restart, wait for the next incarnation. Right only for
    /// messages that do not rest on the state of the one that died.
    #[must_use]
    pub fn keep_queue(mut self) -> Self {
        self.keep_queue = true;
        self
    }

    /// The actor calls [`Lifeline::ready`] itself, instead of being ready with its first turn.
    #[must_use]
    pub fn ready_by_hand(mut self) -> Self {
        self.ready_by_hand = true;
        self
    }

    /// Sends [`Shutdown`] behind the queued messages and waits for its answer before the actor is stopped.
    #[must_use]
    pub fn graceful(mut self) -> Self
    where
        A: Handler<Shutdown>,
    {
        self.farewell = Some(|mailbox, shutdown| mailbox.force(shutdown));
        self
    }

    /// How long a planned stop may take before the actor is given up; 5 s unless set.
    #[must_use]
    pub fn stop_within(mut self, deadline: Duration) -> Self {
        self.rules.stop_within = deadline;
        self
    }

    /// The restarts that this child may need, instead of the supervisor's number.
    #[must_use]
    pub fn budget(mut self, restarts: usize, within: Duration) -> Self {
        self.rules.budget = Some(Budget { restarts, within });
        self
    }

    /// What follows when the budget is exhausted; it escalates unless set.
    #[must_use]
    pub fn when_exhausted(mut self, exhausted: Exhausted) -> Self {
        self.rules.exhausted = exhausted;
        self
    }

    /// Replaces the child when it hangs; without this a hang is not noticed. A hung actor blocks the thread of its
    /// arbiter: if that does not answer either, the replacement gets a new arbiter of its own (unless
    /// [`ChildSpec::arbiters`] chooses), and every other watched child of the blocked arbiter moves as well.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.rules.watch = Some(watch);
        self
    }

    /// How far the actor is behind what it follows, for the picture of the tree.
    #[must_use]
    pub fn lag(mut self, lag: Lag) -> Self {
        self.lag = Some(lag);
        self
    }

    pub(crate) fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Gives the child its place in the tree, which is made by `add` from the mailbox's level.
    pub(crate) fn settle(self, add: impl FnOnce(std::sync::Weak<dyn Level>) -> Option<Arc<Node>>) -> Option<Kept<A>> {
        let mailbox = Arc::new(Mailbox::new(self.capacity, Door::Restarting));
        let level: Arc<dyn Level> = mailbox.clone();
        let node = add(Arc::downgrade(&level))?;
        if let Some(lag) = self.lag {
            node.lags(lag);
        }
        Some(Kept {
            mailbox,
            node,
            placement: self.placement,
            present: None,
            own_arbiter: None,
            factory: Arc::new(Mutex::new(self.factory)),
            terms: Terms {
                keep_queue: self.keep_queue,
                after_crash: if self.keep_queue { Door::Open } else { Door::Restarting },
                own_capacity: self.capacity,
                ready_by_hand: self.ready_by_hand,
                passivation: None,
            },
            farewell: self.farewell,
            rules: self.rules,
        })
    }
}

/// A child as its supervisor keeps it, whatever actor it is.
pub(crate) trait Child: Send {
    fn node(&self) -> &Arc<Node>;
    fn rules(&self) -> Rules;
    /// Starts an incarnation; its number is greater than any before.
    fn begin(&mut self, incarnation: u64, report: Reporter);
    /// Asks the present incarnation to end. It is refused nothing that was queued before, within the deadline.
    fn stop(&mut self, shutdown: Shutdown);
    /// Gives the present incarnation up; `move_away` from its arbiter if that does not answer.
    fn abandon(&mut self, move_away: bool);
    /// Refuses all messages from now on.
    fn close(&mut self);
    fn ask(&self, beat: u64);
    fn has_answered(&self, beat: u64) -> bool;
    fn arbiter_has_answered(&self, beat: u64) -> bool;
}

pub(crate) struct Kept<A: Actor> {
    mailbox: Arc<Mailbox<A>>,
    node: Arc<Node>,
    placement: Placement,
    present: Option<Present>,
    /// The replacement of an arbiter that a hung actor blocks.
    own_arbiter: Option<Arbiter>,
    factory: Arc<Mutex<Factory<A>>>,
    terms: Terms<A>,
    farewell: Option<Farewell<A>>,
    rules: Rules,
}

struct Present {
    incarnation: u64,
    arbiter: ArbiterHandle,
    signals: Arc<Signals>,
}

impl<A: Actor> Kept<A> {
    pub(crate) fn handle(&self) -> Handle<A> {
        Handle::new(self.mailbox.clone())
    }

    /// Lets messages queue before the first start.
    pub(crate) fn open_at_once(&self) {
        self.mailbox.set_door(Door::Open);
    }
}

impl<A: Actor<Context = Context<A>>> Child for Kept<A> {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn rules(&self) -> Rules {
        self.rules
    }

    fn begin(&mut self, incarnation: u64, report: Reporter) {
        let arbiter = match &mut self.placement {
            Placement::On(arbiter) => arbiter.clone(),
            Placement::Chosen(choose) => choose(incarnation),
        };
        let signals = Arc::<Signals>::default();
        let (path, last_crash) = (self.node.path.clone(), self.node.last_crash());
        let lifeline = Lifeline::new(path, incarnation, last_crash, report, signals.clone());
        self.node.seats(signals.clone());
        let seat = Seat { mailbox: self.mailbox.clone(), signals: signals.clone(), lifeline, terms: self.terms };
        let factory = self.factory.clone();
        launch(&arbiter, seat, move |lifeline| match factory.try_lock() {
            Some(mut factory) => factory(lifeline),
            // Only when an incarnation was given up while it was being built.
            None => Err(StartError::failed("the start that was given up has not returned yet")),
        });
        self.present = Some(Present { incarnation, arbiter, signals });
    }

    fn stop(&mut self, shutdown: Shutdown) {
        let Some(present) = &self.present else { return };
        let signals = present.signals.clone();
        if shutdown.for_good {
            self.mailbox.set_door(Door::Closed);
        } else if !self.terms.keep_queue {
            self.mailbox.set_door(Door::Restarting);
        }
        match self.farewell {
            None => signals.stop(),
            Some(farewell) => {
                let done = farewell(&self.mailbox, shutdown);
                let deadline = self.rules.stop_within;
                actix_rt::spawn(async move {
                    // Answered, or the actor ended, or the time is up: it is stopped in any case.
                    let _ = tokio::time::timeout(deadline, done).await;
                    signals.stop();
                });
            }
        }
    }

    fn abandon(&mut self, move_away: bool) {
        let Some(present) = self.present.take() else { return };
        self.mailbox.detach(present.incarnation, self.terms.after_crash, self.terms.keep_queue);
        self.mailbox.attach(present.incarnation + 1);
        present.signals.abandon();
        if let (true, Placement::On(arbiter)) = (move_away, &mut self.placement) {
            match Arbiter::try_new() {
                Ok(fresh) => {
                    *arbiter = fresh.handle();
                    // The one before, if it was ours too, ends as soon as whatever blocks it returns.
                    if let Some(blocked) = self.own_arbiter.replace(fresh) {
                        blocked.stop();
                    }
                }
                Err(error) => {
                    tracing::error!(path = self.node.path, %error, "no thread for a replacement arbiter");
                }
            }
        }
    }

    fn close(&mut self) {
        self.mailbox.close();
    }

    fn ask(&self, beat: u64) {
        if let Some(present) = &self.present {
            present.signals.ask(beat, &present.arbiter);
        }
    }

    fn has_answered(&self, beat: u64) -> bool {
        self.present.as_ref().is_none_or(|present| present.signals.has_answered(beat))
    }

    fn arbiter_has_answered(&self, beat: u64) -> bool {
        self.present.as_ref().is_none_or(|present| present.signals.arbiter_has_answered(beat))
    }
}

impl<A: Actor> Drop for Kept<A> {
    fn drop(&mut self) {
        if let Some(arbiter) = &self.own_arbiter {
            arbiter.stop();
        }
    }
}
