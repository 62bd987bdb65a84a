//! Actors of which there are too many to have all at once: activated on first use, passivated when idle.
//!
//! A [`Directory`] finds the actor of a key, and makes it if there is none. The messages to a fresh actor queue while
//! it is being built, so finding never waits.
//!
//! Invariants:
//! - For one key at most one actor exists. (All actors of a key live on the same arbiter, and an actor that goes ends
//!   within the turn in which its mailbox closes; the next one can only be built after that turn.)
//! - A message that was accepted before a passivation is handled by the actor, which then stays; one that comes after
//!   it is given back by the closed mailbox and goes to a fresh actor. No message is lost to a passivation, and none
//!   is handled twice.
//! - A panic ends one actor. The messages that it had queued are answered with [`Unreachable::Lost`], the next use
//!   makes a fresh one. A key whose actor crashes too often is refused for a while.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, ArbiterHandle, Context, Handler, Message};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use super::supervision::{
    Answer, Budget, Drill, Handle, Lifeline, Refused, StartError, Unreachable,
    mailbox::{Door, Level, Mailbox},
    runner::{Ending, Passivation, Report, Seat, Signals, Terms, launch, millis_since},
};

#[cfg(test)]
mod tests;

/// The least time between two sweeps of a shard, unless the settings ask for more frequent ones.
const PAUSE: Duration = Duration::from_millis(50);

/// An actor that a [`Directory`] can hold.
pub trait Passivate: Actor<Context = Context<Self>> {
    /// Whether the actor may be dropped now: nothing that it holds must be lost by that. Asked only while no message
    /// waits and no caller waits for an answer; what the actor itself has going on (subscribers, a write on its way,
    /// a future of its context that nobody awaits, a timer) is for it to consider.
    fn may_passivate(&self) -> bool;
}

/// Why a message could not be brought to the actor of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The actor of this key crashed too often of late.
    #[error("the actor crashed {crashes} times of late and is refused for {retry_after:?}")]
    CrashLoop {
        /// Crashes within the budget's window.
        crashes: usize,
        /// When it will be tried again.
        retry_after: Duration,
    },
    /// The directory is being closed.
    #[error("the directory is closed")]
    Closed,
    /// The actor did not accept or not answer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// How a directory treats its actors.
#[derive(Clone, Copy, Debug)]
pub struct DirectorySettings {
    /// Actors that were not used for this long are passivated.
    pub idle_after: Duration,
    /// Actors that may be active at once. Above it the least recently used are passivated, if they are willing: a soft
    /// bound, since an actor that is in use is never dropped.
    pub capacity: usize,
    /// How often the idle are looked for.
    pub sweep_every: Duration,
    /// Messages that may wait for one actor.
    pub mailbox: usize,
    /// Crashes of one key, within a time, after which it is refused.
    pub budget: Budget,
}

impl Default for DirectorySettings {
    fn default() -> Self {
        DirectorySettings {
            idle_after: Duration::from_secs(300),
            capacity: 100_000,
            sweep_every: Duration::from_secs(5),
            mailbox: 256,
            budget: Budget::default(),
        }
    }
}

/// What a directory counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectoryStats {
    /// Actors that exist now.
    pub active: usize,
    /// Actors made so far.
    pub activations: u64,
    /// Actors that went because they were idle.
    pub passivations: u64,
    /// Actors that ended by a panic, or could not be built.
    pub crashes: u64,
}

/// Key → its actor. Clones are the same directory; when the last is dropped, its actors are stopped.
pub struct Directory<K, A: Actor> {
    inner: Arc<Inner<K, A>>,
}

impl<K, A: Actor> Clone for Directory<K, A> {
    fn clone(&self) -> Self {
        Directory { inner: self.inner.clone() }
    }
}

impl<K, A: Actor> Debug for Directory<K, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("name", &self.inner.name).field("stats", &self.inner.stats()).finish()
    }
}

type Factory<K, A> = dyn Fn(&K, Lifeline) -> Result<A, StartError> + Send + Sync;

struct Inner<K, A: Actor> {
    name: String,
    settings: DirectorySettings,
    factory: Arc<Factory<K, A>>,
    shards: Vec<Shard<K, A>>,
    hasher: RandomState,
    epoch: Instant,
    serial: AtomicU64,
    closed: AtomicBool,
    activations: AtomicU64,
    passivations: AtomicU64,
    crashes: AtomicU64,
}

struct Shard<K, A: Actor> {
    arbiter: ArbiterHandle,
    places: Mutex<Places<K, A>>,
    crowded: Arc<Notify>,
}

struct Places<K, A: Actor> {
    present: HashMap<K, Place<A>>,
    /// Keys whose actors crashed within the budget's window.
    crashed: HashMap<K, VecDeque<Instant>>,
}

struct Place<A: Actor> {
    serial: u64,
    mailbox: Arc<Mailbox<A>>,
    signals: Arc<Signals>,
}

impl<K, A> Directory<K, A>
where
    K: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    A: Passivate,
{
    /// A directory whose actors are spread over `arbiters` (at least one) by the hash of their key, each built on its
    /// arbiter by `factory`. What an actor has to load it loads in `started`, with `ctx.wait`.
    ///
    /// # Panics
    /// If there is no arbiter.
    pub fn new<F>(name: &str, arbiters: &[ArbiterHandle], settings: DirectorySettings, factory: F) -> Self
    where
        F: Fn(&K, Lifeline) -> Result<A, StartError> + Send + Sync + 'static,
    {
        assert!(!arbiters.is_empty(), "a directory needs an arbiter to put its actors on");
        let shard = |arbiter: &ArbiterHandle| Shard {
            arbiter: arbiter.clone(),
            places: Mutex::new(Places { present: HashMap::new(), crashed: HashMap::new() }),
            crowded: Arc::default(),
        };
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            settings,
            factory: Arc::new(factory),
            shards: arbiters.iter().map(shard).collect(),
            hasher: RandomState::new(),
            epoch: Instant::now(),
            serial: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            activations: AtomicU64::new(0),
            passivations: AtomicU64::new(0),
            crashes: AtomicU64::new(0),
        });
        for (at, shard) in inner.shards.iter().enumerate() {
            let (directory, crowded) = (Arc::downgrade(&inner), shard.crowded.clone());
            shard.arbiter.spawn(sweep(directory, at, crowded, settings.sweep_every));
        }
        Directory { inner }
    }

    /// The actor of `key`, made if there is none. The handle is good until the actor is passivated or crashes, after
    /// which it refuses with [`Unreachable::Closed`]; [`Directory::send`] takes care of that.
    pub fn get(&self, key: &K) -> Result<Handle<A>, DirectoryError> {
        let inner = &self.inner;
        if inner.closed.load(Ordering::Acquire) {
            return Err(DirectoryError::Closed);
        }
        let at = inner.shard_of(key);
        let shard = &inner.shards[at];
        let mut places = shard.places.lock();
        if let Some(place) = places.present.get(key).filter(|place| !place.mailbox.is_closed()) {
            place.mailbox.touch(millis_since(inner.epoch));
            return Ok(Handle::new(place.mailbox.clone()));
        }
        places.refuse_crashing(key, inner.settings.budget)?;
        let serial = inner.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let mailbox = Arc::new(Mailbox::new(inner.settings.mailbox, Door::Open));
        mailbox.touch(millis_since(inner.epoch));
        let signals = Arc::<Signals>::default();
        let place = Place { serial, mailbox: mailbox.clone(), signals: signals.clone() };
        places.present.insert(key.clone(), place);
        let crowded = places.present.len() > inner.capacity_of_shard();
        drop(places);
        if crowded {
            shard.crowded.notify_one();
        }
        inner.activations.fetch_add(1, Ordering::Relaxed);
        // Not under the lock: if the arbiter has stopped, the report comes from within this call.
        inner.activate(Arc::downgrade(inner), at, key, serial, mailbox.clone(), signals);
        Ok(Handle::new(mailbox))
    }

    /// Queues a message for the actor of `key`, made if there is none, and forgets it.
    pub fn try_send<M>(&self, key: &K, mut message: M) -> Result<(), DirectoryError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        loop {
            match self.get(key)?.offer(message) {
                Ok(()) => return Ok(()),
                // It was passivated, or crashed, between the two calls.
                Err(Refused { message: back, why: Unreachable::Closed }) => message = back,
                Err(refused) => return Err(refused.why.into()),
            }
        }
    }

    /// Queues a message for the actor of `key`, made if there is none, now, and returns the answer as a future.
    pub fn ask<M>(&self, key: &K, mut message: M) -> Result<Answer<M::Result>, DirectoryError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        loop {
            match self.get(key)?.ask(message) {
                Ok(answer) => return Ok(answer),
                Err(Refused { message: back, why: Unreachable::Closed }) => message = back,
                Err(refused) => return Err(refused.why.into()),
            }
        }
    }

    /// Sends a message to the actor of `key`, made if there is none, and waits for the answer.
    pub async fn send<M>(&self, key: &K, message: M) -> Result<M::Result, DirectoryError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Ok(self.ask(key, message)?.await?)
    }

    /// The actor of `key` if it is active; does not count as use.
    pub fn peek(&self, key: &K) -> Option<Handle<A>> {
        let places = self.inner.shards[self.inner.shard_of(key)].places.lock();
        let place = places.present.get(key).filter(|place| !place.mailbox.is_closed())?;
        Some(Handle::new(place.mailbox.clone()))
    }

    /// Makes the actor of `key`, made if there is none, fail on purpose.
    pub fn drill(&self, key: &K, drill: Drill) -> Result<(), DirectoryError> {
        loop {
            self.get(key)?;
            let places = self.inner.shards[self.inner.shard_of(key)].places.lock();
            if let Some(place) = places.present.get(key).filter(|place| !place.mailbox.is_closed()) {
                place.signals.drill(drill);
                return Ok(());
            }
            // It was passivated, or crashed, between the two.
        }
    }

    /// The keys whose actors are active now.
    pub fn keys(&self) -> Vec<K> {
        self.inner
            .shards
            .iter()
            .flat_map(|shard| {
                let places = shard.places.lock();
                let active = places.present.iter().filter(|(_, place)| !place.mailbox.is_closed());
                active.map(|(key, _)| key.clone()).collect::<Vec<_>>()
            })
            .collect()
    }

    /// What was counted so far.
    pub fn stats(&self) -> DirectoryStats {
        self.inner.stats()
    }

    /// Refuses new uses, lets the actors work off what is queued, then stops them all. Returns whether they all ended
    /// within `deadline`.
    pub async fn close(&self, deadline: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(5);
        self.inner.closed.store(true, Ordering::Release);
        let until = Instant::now() + deadline;
        while Instant::now() < until && self.inner.any(|place| place.mailbox.depth() > 0) {
            tokio::time::sleep(STEP).await;
        }
        while self.inner.any(|_| true) {
            self.inner.each(|place| place.signals.stop());
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(STEP).await;
        }
        true
    }
}

impl<K, A: Actor> Inner<K, A> {
    fn stats(&self) -> DirectoryStats {
        DirectoryStats {
            active: self.shards.iter().map(|shard| shard.places.lock().present.len()).sum(),
            activations: self.activations.load(Ordering::Relaxed),
            passivations: self.passivations.load(Ordering::Relaxed),
            crashes: self.crashes.load(Ordering::Relaxed),
        }
    }

    fn capacity_of_shard(&self) -> usize {
        self.settings.capacity.div_ceil(self.shards.len())
    }

    fn any(&self, condition: impl Fn(&Place<A>) -> bool) -> bool {
        self.shards.iter().any(|shard| shard.places.lock().present.values().any(&condition))
    }

    fn each(&self, act: impl Fn(&Place<A>)) {
        for shard in &self.shards {
            shard.places.lock().present.values().for_each(&act);
        }
    }
}

impl<K, A> Inner<K, A>
where
    K: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    A: Passivate,
{
    fn shard_of(&self, key: &K) -> usize {
        // Fewer shards than 2^32, so neither conversion loses anything.
        (self.hasher.hash_one(key) % self.shards.len() as u64) as usize
    }

    fn activate(
        &self,
        directory: Weak<Self>,
        shard: usize,
        key: &K,
        serial: u64,
        mailbox: Arc<Mailbox<A>>,
        signals: Arc<Signals>,
    ) {
        let terms = Terms {
            keep_queue: false,
            after_crash: Door::Closed,
            own_capacity: self.settings.mailbox,
            ready_by_hand: false,
            passivation: Some(Passivation { willing: A::may_passivate, epoch: self.epoch }),
        };
        let path = format!("{}/{key:?}", self.name);
        let of = key.clone();
        let report = Arc::new(move |report| {
            if let (Report::Gone(ending), Some(directory)) = (report, directory.upgrade()) {
                directory.gone(shard, &of, serial, ending);
            }
        });
        let lifeline = Lifeline::new(path, serial, None, report, signals.clone());
        let (factory, key) = (self.factory.clone(), key.clone());
        launch(&self.shards[shard].arbiter, Seat { mailbox, signals, lifeline, terms }, move |lifeline| {
            factory(&key, lifeline)
        });
    }

    fn gone(&self, shard: usize, key: &K, serial: u64, ending: Ending) {
        let mut places = self.shards[shard].places.lock();
        if places.present.get(key).is_some_and(|place| place.serial == serial) {
            places.present.remove(key);
        }
        match ending {
            Ending::Passivated => {
                self.passivations.fetch_add(1, Ordering::Relaxed);
            }
            Ending::Planned | Ending::Finished => {}
            Ending::Crashed(reason) | Ending::Faulted(reason) | Ending::Fatal(reason) => {
                self.crashes.fetch_add(1, Ordering::Relaxed);
                places.crashed.entry(key.clone()).or_default().push_back(Instant::now());
                tracing::error!(
                    directory = self.name,
                    ?key,
                    reason,
                    "an actor crashed, the next use makes a fresh one"
                );
            }
        }
    }

    /// Asks the idle of one shard to go, and the least recently used if there are too many.
    fn sweep(&self, shard: usize) {
        let now = millis_since(self.epoch);
        let idle_after = u64::try_from(self.settings.idle_after.as_millis()).unwrap_or(u64::MAX);
        let mut places = self.shards[shard].places.lock();
        places.forget_old_crashes(self.settings.budget);
        let age = |place: &Place<A>| now.saturating_sub(place.mailbox.touched());
        let (idle, mut used): (Vec<_>, Vec<_>) = places
            .present
            .values()
            .map(|place| (age(place), place.signals.clone()))
            .partition(|(age, _)| *age >= idle_after);
        drop(places);
        let capacity = self.capacity_of_shard();
        if used.len() <= capacity {
            used.clear();
        } else {
            // A few more than necessary, so that not every activation from now on needs a sweep.
            let too_many = (used.len() - capacity + capacity / 16).min(used.len() - 1);
            used.select_nth_unstable_by_key(too_many, |(age, _)| std::cmp::Reverse(*age));
            used.truncate(too_many);
        }
        for (_, signals) in idle.iter().chain(&used) {
            signals.leave();
        }
    }
}

impl<K: Eq + Hash, A: Actor> Places<K, A> {
    fn refuse_crashing(&mut self, key: &K, budget: Budget) -> Result<(), DirectoryError> {
        let Some(crashes) = self.crashed.get_mut(key) else { return Ok(()) };
        while crashes.front().is_some_and(|crash| crash.elapsed() > budget.within) {
            crashes.pop_front();
        }
        match crashes.front() {
            Some(oldest) if crashes.len() >= budget.restarts => Err(DirectoryError::CrashLoop {
                crashes: crashes.len(),
                retry_after: budget.within.saturating_sub(oldest.elapsed()),
            }),
            _ => Ok(()),
        }
    }

    fn forget_old_crashes(&mut self, budget: Budget) {
        self.crashed.retain(|_, crashes| crashes.back().is_some_and(|crash| crash.elapsed() <= budget.within));
    }
}

impl<K, A: Actor> Drop for Inner<K, A> {
    fn drop(&mut self) {
        self.each(|place| {
            place.mailbox.close();
            place.signals.stop();
        });
    }
}

async fn sweep<K, A>(directory: Weak<Inner<K, A>>, shard: usize, crowded: Arc<Notify>, every: Duration)
where
    K: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    A: Passivate,
{
    loop {
        // Either the time has come, or somebody found the shard crowded; both mean the same.
        let _ = tokio::time::timeout(every, crowded.notified()).await;
        match directory.upgrade() {
            Some(directory) => directory.sweep(shard),
            None => return,
        }
        // A shard full of unwilling actors is crowded all the time.
        tokio::time::sleep(every.min(PAUSE)).await;
    }
}
