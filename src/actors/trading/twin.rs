//! Hot standby: the twin of an order book or of the ledger, and what outlives the incarnations of both.
//!
//! A twin applies what its primary has applied, in the same order, on another arbiter, and publishes nothing. When the
//! primary panics or hangs, its next incarnation takes the twin's state over and goes on with the piece of work that
//! was in hand; a new twin is built behind it. A twin is therefore never ahead of what its primary has told others,
//! and a piece of work that kills the primary has not been tried on the twin before.
//!
//! The twin gets what is done in steps of [`STEP`] pieces, since waking its thread for each costs both sides more than the
//! work itself. Whoever asks the twin for anything hands over what waits first, so all that it can lack is what is in
//! hand, of which the public may have heard already ([`Berth::published`]).
//!
//! Invariants: what is in hand was not given to the twin yet; what was given to the twin, or waits for it, was told to
//! everybody; a twin without a hole in what it was given is the only one that can be taken. An incarnation that was given up may wake
//! and go on with what it was doing: from the moment at which its successor has taken over, nothing that it does is noted
//! here, nor reaches the twin.

use crate::actors::supervision::{Answer, Handle, Lifeline, Port};
use crate::domain::ids::Sequence;
use crate::domain::stream::StreamState;
use crate::domain::venue::StateHash;
use crate::persistence::log::Position;
use actix::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many pieces of work the twin gets together at least, unless somebody asks for it. Whoever takes its state over applies
/// so many at most before it can go on: some hundred entries, which is far less than the new epoch's way through the log;
/// some thousands, a few milliseconds, while batches of orders come in.
const STEP: usize = 16;

/// How many messages may wait for a twin: steps of up to [`STEP`] pieces each, and questions.
pub const MAILBOX: usize = 4_096;

/// Stands for the next entry, whichever it is.
const NEXT: u64 = u64::MAX;

/// State that a twin can keep.
pub trait Standby: Sized + Send + Unpin + 'static {
    /// One piece of committed work.
    type Item: Clone + Send + Unpin + 'static;
    /// Where the state stands; comparing two states makes sense only at the same mark.
    type Mark: Clone + PartialEq + Send + std::fmt::Debug + Unpin + 'static;

    /// Applies a piece of work.
    ///
    /// # Errors
    /// When it cannot follow what was applied so far.
    fn apply(&mut self, item: &Self::Item) -> Result<(), String>;

    /// Where the state stands.
    fn mark(&self) -> Self::Mark;

    /// A hash that is equal for equal states.
    fn hash(&self) -> StateHash;
}

/// What operators see of all twins together.
#[derive(Debug, Default)]
pub struct TwinMeter {
    /// Times that an actor took the state of its twin over.
    pub promotions: AtomicU64,
    /// Times that primary and twin were compared.
    pub comparisons: AtomicU64,
    /// Times that they differed.
    pub divergences: AtomicU64,
}

/// Asks the primary to build up a twin that is empty.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Enlist;

/// Asks the primary to let its twin be compared with itself.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CompareTwin;

/// Asks for where the state stands and for its hash there.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<(S::Mark, StateHash)>")]
pub struct Weigh<S: Standby>(std::marker::PhantomData<fn() -> S>);

impl<S: Standby> Default for Weigh<S> {
    fn default() -> Weigh<S> {
        Weigh(std::marker::PhantomData)
    }
}

/// Where a twin's state comes from.
pub enum Source<S> {
    /// From here.
    Ready(Box<S>),
    /// From what this makes, which may block.
    Make(Box<dyn FnOnce() -> Result<S, String> + Send>),
}

/// The twin starts anew from this state; what it is fed from now on follows it.
#[derive(Message)]
#[rtype(result = "()")]
struct Build<S: Standby>(Source<S>);

/// What the primary has done, in order.
#[derive(Message)]
#[rtype(result = "()")]
struct Feed<S: Standby>(Vec<S::Item>);

/// Hands the state over.
#[derive(Message)]
#[rtype(result = "Option<Box<S>>")]
struct Take<S: Standby>(std::marker::PhantomData<fn() -> S>);

/// The primary's hash at a mark.
#[derive(Message)]
#[rtype(result = "()")]
struct Compare<S: Standby>(S::Mark, StateHash);

/// A market that is halted because of one of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The entry; none when it is not an entry that stopped the market.
    pub entry: Sequence,
    /// In words.
    pub reason: String,
}

/// What a twin is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Nothing: it is empty, or has a hole.
    Useless,
    /// It is being built, and is fed.
    Building,
    /// It has all that everybody was told, and is fed.
    Ready,
}

/// Which entry of its work an incarnation is applying; 0 between entries. Every incarnation has one of its own, so that
/// one that was given up and wakes writes where nobody looks any more.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

/// Who works here, at what, and how the twin does. One lock for all of it: whoever takes over gets the twin as it was before
/// or after a piece of work, and that piece of work in hand or done, but not one of each.
struct Hand<I> {
    /// The incarnation whose place this is.
    owner: u64,
    /// Its work in hand.
    item: Option<I>,
    /// How far it is in that.
    progress: Progress,
    twin: Condition,
    /// Work that is done and waits for the twin.
    waiting: Vec<I>,
    /// Where the stream stood when everybody was told last.
    place: Option<StreamState>,
}

impl<I> Hand<I> {
    /// The place is this incarnation's from now on, if it is none that was given up.
    fn belongs_to(&mut self, incarnation: u64) {
        if incarnation > self.owner {
            (self.owner, self.progress) = (incarnation, Progress::default());
        }
    }

    /// The twin is good for nothing any more, so nothing waits for it.
    fn spoil(&mut self) {
        self.twin = Condition::Useless;
        self.waiting.clear();
    }
}

/// What whoever takes over finds: the twin's state, if there is one that can be taken, and the work in hand.
pub type Left<S> = (Option<Answer<Option<Box<S>>>>, Option<<S as Standby>::Item>);

/// What outlives the incarnations of one place: its work in hand, how far it has told others, its twin.
pub struct Berth<S: Standby> {
    hand: Mutex<Hand<S::Item>>,
    /// The position up to which everybody was told; `u64::MAX` before the first start.
    told: AtomicU64,
    /// Whether a batch may not have been delivered that no incarnation has read from the log yet.
    broken: AtomicBool,
    /// The entry during which the incarnation before died; 0 if it did not die in one.
    struck: AtomicU64,
    fault: Mutex<Option<Fault>>,
    /// The entry that a drill has poisoned; 0 for none.
    poison: AtomicU64,
    /// The position of the newest batch of which something is not remembered any more.
    forgotten: AtomicU64,
    /// The newest feed sequence that the public may have heard of; 0 before the first.
    published: AtomicU64,
    twin: OnceLock<Handle<Twin<S>>>,
    primary: Mutex<Option<Port<Enlist>>>,
    meter: Arc<TwinMeter>,
}

impl<S: Standby> Berth<S> {
    /// A place where nothing has happened yet.
    pub fn new(meter: Arc<TwinMeter>) -> Arc<Berth<S>> {
        Arc::new(Berth {
            hand: Mutex::new(Hand {
                owner: 0,
                item: None,
                progress: Progress::default(),
                twin: Condition::Useless,
                waiting: Vec::new(),
                place: None,
            }),
            told: AtomicU64::new(u64::MAX),
            broken: AtomicBool::new(false),
            struck: AtomicU64::new(0),
            fault: Mutex::new(None),
            poison: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            published: AtomicU64::new(0),
            twin: OnceLock::new(),
            primary: Mutex::new(None),
            meter,
        })
    }

    /// Names the twin, once.
    pub fn pair_with(&self, twin: Handle<Twin<S>>) {
        // The place is made once, so there is no other twin.
        let _ = self.twin.set(twin);
    }

    /// Names the primary, which builds the twin up from now on.
    pub fn served_by(&self, primary: Port<Enlist>) {
        *self.primary.lock() = Some(primary);
    }

    /// Notes a piece of work of this incarnation before anything is done with it; in what it gets back it notes its progress.
    pub fn begin(&self, incarnation: u64, item: S::Item) -> Progress {
        let mut hand = self.hand.lock();
        if incarnation < hand.owner {
            return Progress::default();
        }
        hand.belongs_to(incarnation);
        hand.item = Some(item);
        hand.progress.clone()
    }

    /// Notes the entry that is applied next.
    pub fn applying(&self, Progress(at): &Progress, entry: Sequence) {
        at.store(entry.0, Ordering::Relaxed);
        if self.poison.load(Ordering::Relaxed) != 0 {
            self.taste(entry);
        }
    }

    /// Notes that all entries of the work in hand were applied.
    pub fn applied(&self, Progress(at): &Progress) {
        at.store(0, Ordering::Relaxed);
    }

    /// The work in hand is done and everybody was told: now the twin gets it.
    pub fn done(&self, incarnation: u64, position: Position, place: StreamState) {
        let mut hand = self.hand.lock();
        if hand.owner != incarnation {
            return;
        }
        let Some(item) = hand.item.take() else { return };
        self.note(&mut hand, position, place);
        if hand.twin != Condition::Useless {
            hand.waiting.push(item);
            if hand.waiting.len() >= STEP {
                self.feed(&mut hand);
            }
        }
    }

    /// Gives the twin what waits for it.
    fn feed(&self, hand: &mut Hand<S::Item>) {
        if hand.waiting.is_empty() {
            return;
        }
        let step = std::mem::take(&mut hand.waiting);
        if self.twin.get().is_none_or(|twin| twin.try_send(Feed(step)).is_err()) {
            // It has a hole now; it is built anew at the next checkpoint.
            hand.spoil();
        }
    }

    /// Everybody knows what is up to `position`, where the stream stands at `place`.
    pub fn tell(&self, position: Position, place: StreamState) {
        self.note(&mut self.hand.lock(), position, place);
    }

    fn note(&self, hand: &mut Hand<S::Item>, position: Position, place: StreamState) {
        let before = self.told.load(Ordering::Relaxed);
        if before == u64::MAX || before < position.0 {
            self.told.store(position.0, Ordering::Relaxed);
            hand.place = Some(place);
        }
    }

    /// What everybody was told last, and where the stream stood then.
    pub fn told_at(&self) -> Option<(Position, StreamState)> {
        let hand = self.hand.lock();
        self.told().zip(hand.place)
    }

    /// Tells whether nothing is missing so far that no incarnation has read from the log, and takes something for missing until
    /// [`Berth::mend`]: the word of the log on that is lost with whoever asks for it and dies.
    pub fn doubt(&self) -> bool {
        !self.broken.swap(true, Ordering::Relaxed)
    }

    /// Nothing is missing: it was not, or was read from the log.
    pub fn mend(&self) {
        self.broken.store(false, Ordering::Relaxed);
    }

    /// The position up to which everybody was told; none before the first start.
    pub fn told(&self) -> Option<Position> {
        Some(Position(self.told.load(Ordering::Relaxed))).filter(|position| position.0 != u64::MAX)
    }

    /// Memory does not hold everything any more up to `position`; what it lacks is in the database, once that has it.
    pub fn forget(&self, position: Position) {
        self.forgotten.store(position.0, Ordering::Relaxed);
    }

    /// See [`Berth::forget`].
    pub fn forgotten(&self) -> Position {
        Position(self.forgotten.load(Ordering::Relaxed))
    }

    /// The public is about to hear of everything up to this feed sequence, before the twin does. An incarnation that
    /// was given up may say so too: what it tells of is in the log.
    pub fn publishes(&self, feed_sequence: u64) {
        self.published.fetch_max(feed_sequence, Ordering::Relaxed);
    }

    /// See [`Berth::publishes`]: whoever has heard of a feed sequence finds at least that here.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// The place is this incarnation's from now on. It has no twin until it builds one.
    pub fn take_over(&self, incarnation: u64) -> Left<S> {
        let mut hand = self.hand.lock();
        hand.belongs_to(incarnation);
        if hand.twin == Condition::Ready {
            self.feed(&mut hand);
        }
        let twin = hand.twin;
        hand.spoil();
        let taken = self.twin.get().filter(|_| twin == Condition::Ready);
        (taken.map(|twin| twin.send(Take(std::marker::PhantomData))), hand.item.take())
    }

    /// Counts a take-over.
    pub fn promoted(&self) {
        self.meter.promotions.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the twin gets what is done.
    pub fn is_feeding(&self) -> bool {
        self.hand.lock().twin != Condition::Useless
    }

    /// Builds the twin anew from what this incarnation has; from now on it is fed.
    pub fn build(&self, incarnation: u64, source: Source<S>) {
        let mut hand = self.hand.lock();
        if incarnation < hand.owner {
            return;
        }
        // What waits is in that already.
        hand.spoil();
        let asked = self.twin.get().is_some_and(|twin| twin.try_send(Build(source)).is_ok());
        hand.twin = if asked { Condition::Building } else { Condition::Useless };
    }

    /// The twin is built; unless it has missed something meanwhile it can be taken.
    fn built(&self) {
        let mut hand = self.hand.lock();
        if hand.twin == Condition::Building {
            hand.twin = Condition::Ready;
        }
    }

    fn spoiled(&self) {
        self.hand.lock().spoil();
    }

    /// The twin, if it can have all that everybody was told: whoever asks it for something comes after the last of that.
    pub fn twin(&self) -> Option<&Handle<Twin<S>>> {
        let mut hand = self.hand.lock();
        // One that is being built has nothing to say, and would get many small steps from those who ask in vain.
        if hand.twin == Condition::Ready {
            self.feed(&mut hand);
        }
        self.twin.get().filter(|_| hand.twin == Condition::Ready)
    }

    /// Lets the twin be compared with the state that the primary has now.
    pub fn compare(&self, state: &S) {
        if let Some(twin) = self.twin() {
            // A twin that is too busy now is compared at the next checkpoint.
            let _ = twin.try_send(Compare(state.mark(), state.hash()));
        }
    }

    /// Decides, before an incarnation is built, whether the one before died in the same entry as the one before that,
    /// or whether an entry is `known` that cannot be applied.
    ///
    /// # Errors
    /// The fault; a further call lets an entry that is not known be tried again.
    pub fn judge(&self, known: Option<Sequence>) -> Result<(), Fault> {
        let entry = self.hand.lock().progress.0.swap(0, Ordering::Relaxed);
        let before = self.struck.swap(entry, Ordering::Relaxed);
        let fault = match known {
            Some(entry) => Fault { entry, reason: format!("entry {} of its stream cannot be applied", entry.0) },
            None if entry == 0 || entry != before => return Ok(()),
            None => {
                self.struck.store(0, Ordering::Relaxed);
                Fault { entry: Sequence(entry), reason: format!("entry {entry} of its stream stopped it twice") }
            }
        };
        *self.fault.lock() = Some(fault.clone());
        Err(fault)
    }

    /// For drills: the next entry stops whoever applies it here, however often it is tried, until it is cured.
    pub fn poison(&self, poisoned: bool) {
        self.poison.store(if poisoned { NEXT } else { 0 }, Ordering::Relaxed);
    }

    /// Panics when the entry is the poisoned one.
    #[cold]
    fn taste(&self, entry: Sequence) {
        let _ = self.poison.compare_exchange(NEXT, entry.0, Ordering::Relaxed, Ordering::Relaxed);
        if self.poison.load(Ordering::Relaxed) == entry.0 {
            panic!("a drill: entry {} is poisoned", entry.0);
        }
    }

    /// Forgets a fault: the place works.
    pub fn works(&self) {
        self.fault.lock().take();
    }

    /// Why the place is halted, if it is.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.lock().clone()
    }
}

impl<S: Standby> std::fmt::Debug for Berth<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Berth").field("told", &self.told).field("fault", &self.fault).finish_non_exhaustive()
    }
}

/// The actor. See the module's documentation.
pub struct Twin<S: Standby> {
    berth: Arc<Berth<S>>,
    lifeline: Lifeline,
    state: Option<Box<S>>,
}

impl<S: Standby> Twin<S> {
    /// An empty twin, which asks its primary to build it up.
    pub fn new(berth: Arc<Berth<S>>, lifeline: Lifeline) -> Twin<S> {
        Twin { berth, lifeline, state: None }
    }

    /// What it has, unless it is being built.
    pub fn state(&self) -> Option<&S> {
        self.state.as_deref()
    }

    fn hold(&mut self, state: Box<S>) {
        self.state = Some(state);
        self.berth.built();
    }
}

impl<S: Standby> Actor for Twin<S> {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.berth.spoiled();
        if let Some(primary) = self.berth.primary.lock().clone() {
            // A primary that is down builds its twin up when it starts.
            let _ = primary.try_send(Enlist);
        }
    }
}

impl<S: Standby> Handler<Build<S>> for Twin<S> {
    type Result = ();

    fn handle(&mut self, Build(source): Build<S>, ctx: &mut Self::Context) {
        self.state = None;
        let make = match source {
            Source::Ready(state) => return self.hold(state),
            Source::Make(make) => make,
        };
        let work = async move { tokio::task::spawn_blocking(make).await.map_err(|e| e.to_string())? };
        ctx.wait(work.into_actor(self).map(|made, twin, ctx| match made {
            Ok(state) => twin.hold(Box::new(state)),
            Err(reason) => {
                twin.lifeline.fail(reason);
                ctx.stop();
            }
        }));
    }
}

impl<S: Standby> Handler<Feed<S>> for Twin<S> {
    type Result = ();

    fn handle(&mut self, Feed(step): Feed<S>, ctx: &mut Self::Context) {
        let Some(state) = &mut self.state else { return };
        if let Err(reason) = step.iter().try_for_each(|item| state.apply(item)) {
            self.berth.spoiled();
            self.lifeline.fail(reason);
            ctx.stop();
        }
    }
}

impl<S: Standby> Handler<Take<S>> for Twin<S> {
    type Result = MessageResult<Take<S>>;

    fn handle(&mut self, _: Take<S>, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.take())
    }
}

impl<S: Standby> Handler<Compare<S>> for Twin<S> {
    type Result = ();

    fn handle(&mut self, Compare(mark, hash): Compare<S>, ctx: &mut Self::Context) {
        let Some(state) = self.state.as_ref().filter(|state| state.mark() == mark) else { return };
        self.berth.meter.comparisons.fetch_add(1, Ordering::Relaxed);
        let own = state.hash();
        if own != hash {
            self.berth.meter.divergences.fetch_add(1, Ordering::Relaxed);
            let path = self.lifeline.path().to_owned();
            tracing::error!(path, ?mark, primary = %hash, twin = %own, "a twin differs from its primary");
            self.berth.spoiled();
            self.lifeline.fail(format!("it differs from its primary at {mark:?}: {own} instead of {hash}"));
            ctx.stop();
        }
    }
}

#[cfg(test)]
mod tests;
