//! The picture of the tree: what runs where, in which state, how full, how often restarted and why.
//!
//! Reading it takes no actor's time: supervisors write their changes into the nodes when they hear of them (so a
//! moment after the actor knows), readers copy them out. Every
//! change is also sent to whoever listens; a listener that is too slow misses changes and should take a snapshot.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{broadcast, oneshot};

use super::{
    drill::Drill,
    mailbox::{Handle, Level},
    overseer::Overseer,
    requests::{Failure, Revive},
    runner::Signals,
};
use crate::clock;
use crate::domain::time::Timestamp;

/// Changes that a slow listener may be behind.
const EVENTS_KEPT: usize = 1_024;

/// What is at a place of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A node with children.
    Supervisor,
    /// A leaf.
    Actor,
}

/// How the place is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Never started yet: it waits for its turn.
    Waiting,
    /// Being built, or recovering: it takes no messages yet.
    Starting,
    /// Takes messages.
    Running,
    /// Crashed; waits before it is started again.
    BackingOff,
    /// Stopped because of a sibling, to be started again.
    Restarting,
    /// Was asked to stop and has not ended yet.
    Stopping,
    /// Ended as planned.
    Stopped,
    /// Down until somebody revives it.
    Faulted,
}

/// Tells how far an actor is behind what it follows, in batches of the log.
pub type Lag = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A crash, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Crash {
    /// When the supervisor noticed.
    pub at: Timestamp,
    /// The text of the panic and its place, or what else ended the actor.
    pub reason: String,
}

/// One place of the tree at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// The names from the root, joined by `/`.
    pub path: String,
    /// The path of the supervisor; none at the root.
    pub parent: Option<String>,
    /// The last part of the path.
    pub name: String,
    /// Supervisor or actor.
    pub kind: Kind,
    /// How it is doing.
    pub state: State,
    /// Starts so far, failed ones included.
    pub incarnation: u64,
    /// Crashes and hangs so far.
    pub crashes: u64,
    /// The latest of them.
    pub last_crash: Option<Crash>,
    /// When the present incarnation became ready.
    pub running_since: Option<Timestamp>,
    /// Messages that wait in its mailbox.
    pub mailbox_depth: usize,
    /// Messages that may wait there.
    pub mailbox_capacity: usize,
    /// Batches of the log that it has still to take in, for those that follow the log.
    pub lag: Option<u64>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeEvent {
    /// When.
    pub at: Timestamp,
    /// Of which place.
    pub path: String,
    /// What it is now.
    pub state: State,
    /// Starts so far.
    pub incarnation: u64,
    /// Why, after a crash or a fault.
    pub reason: Option<String>,
}

/// The shared picture; clones show the same tree.
#[derive(Clone)]
pub struct Tree {
    shared: Arc<Shared>,
}

struct Shared {
    /// In the order in which the places were made, so parents come before their children.
    nodes: Mutex<Vec<Arc<Node>>>,
    events: broadcast::Sender<TreeEvent>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.snapshot()).finish()
    }
}

impl Default for Tree {
    fn default() -> Self {
        Tree { shared: Arc::new(Shared { nodes: Mutex::default(), events: broadcast::Sender::new(EVENTS_KEPT) }) }
    }
}

impl Tree {
    /// Every place as it is now, parents before their children.
    pub fn snapshot(&self) -> Vec<NodeView> {
        let nodes = self.shared.nodes.lock().clone();
        nodes.iter().map(|node| node.view()).collect()
    }

    /// One place as it is now.
    pub fn node(&self, path: &str) -> Option<NodeView> {
        let node = self.shared.nodes.lock().iter().find(|node| node.path == path).cloned();
        node.map(|node| node.view())
    }

    /// Makes an actor fail on purpose; false if there is none that runs or starts at this path.
    pub fn drill(&self, path: &str, drill: Drill) -> bool {
        let node = self.shared.nodes.lock().iter().find(|node| node.path == path).cloned();
        // One that is down has left its signals, which nobody looks at any more.
        let node = node.filter(|node| matches!(node.facts.lock().state, State::Running | State::Starting));
        let signals = node.and_then(|node| node.signals.lock().clone());
        signals.inspect(|signals| signals.drill(drill)).is_some()
    }

    /// Starts a stopped or faulted child again, or restarts a running one, with a fresh budget; returns when it is
    /// ready.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revive(&self, path: &str) -> Result<(), Failure> {
        let node = self.shared.nodes.lock().iter().find(|node| node.path == path).cloned();
        let node = node.ok_or_else(|| Failure::Unknown(path.to_owned()))?;
        let overseer = node.overseer.get().ok_or_else(|| Failure::Unknown(path.to_owned()))?;
        let (ready, is_ready) = oneshot::channel();
        overseer.offer(Revive { name: node.name.clone(), ready }).map_err(|_| Failure::SupervisorGone)?;
        is_ready.await.unwrap_or(Err(Failure::SupervisorGone))
    }

    /// The changes from now on.
    pub fn events(&self) -> broadcast::Receiver<TreeEvent> {
        self.shared.events.subscribe()
    }

    /// Makes a place; none if there is one of that path already.
    pub(crate) fn add(
        &self,
        parent: Option<&str>,
        name: &str,
        kind: Kind,
        level: Weak<dyn Level>,
    ) -> Option<Arc<Node>> {
        let path = parent.map_or_else(|| name.to_owned(), |parent| format!("{parent}/{name}"));
        let mut nodes = self.shared.nodes.lock();
        if nodes.iter().any(|node| node.path == path) {
            return None;
        }
        let node = Arc::new(Node {
            path,
            parent: parent.map(str::to_owned),
            name: name.to_owned(),
            kind,
            level,
            signals: Mutex::new(None),
            overseer: OnceLock::new(),
            lag: OnceLock::new(),
            facts: Mutex::new(Facts::default()),
            events: self.shared.events.clone(),
        });
        nodes.push(node.clone());
        Some(node)
    }

    /// Forgets a place, and what is below it.
    pub(crate) fn remove(&self, path: &str) {
        let below = format!("{path}/");
        self.shared.nodes.lock().retain(|node| node.path != path && !node.path.starts_with(&below));
    }

    /// Forgets this place, and not one that has its path by now.
    pub(crate) fn remove_same(&self, same: &Arc<Node>) {
        self.shared.nodes.lock().retain(|node| !Arc::ptr_eq(node, same));
    }
}

/// One place, as its supervisor writes it.
pub(crate) struct Node {
    pub(crate) path: String,
    pub(crate) name: String,
    parent: Option<String>,
    kind: Kind,
    level: Weak<dyn Level>,
    /// Of the present incarnation.
    signals: Mutex<Option<Arc<Signals>>>,
    /// Who supervises it; none at the root.
    overseer: OnceLock<Handle<Overseer>>,
    lag: OnceLock<Lag>,
    facts: Mutex<Facts>,
    events: broadcast::Sender<TreeEvent>,
}

struct Facts {
    state: State,
    incarnation: u64,
    crashes: u64,
    last_crash: Option<Crash>,
    running_since: Option<Timestamp>,
}

impl Default for Facts {
    fn default() -> Self {
        Facts { state: State::Waiting, incarnation: 0, crashes: 0, last_crash: None, running_since: None }
    }
}

impl Node {
    fn view(&self) -> NodeView {
        let level = self.level.upgrade();
        let facts = self.facts.lock();
        NodeView {
            path: self.path.clone(),
            parent: self.parent.clone(),
            name: self.name.clone(),
            kind: self.kind,
            state: facts.state,
            incarnation: facts.incarnation,
            crashes: facts.crashes,
            last_crash: facts.last_crash.clone(),
            running_since: facts.running_since,
            mailbox_depth: level.as_ref().map_or(0, |level| level.depth()),
            mailbox_capacity: level.as_ref().map_or(0, |level| level.capacity()),
            lag: self.lag.get().map(|lag| lag()),
        }
    }

    pub(crate) fn seats(&self, signals: Arc<Signals>) {
        *self.signals.lock() = Some(signals);
    }

    pub(crate) fn supervised_by(&self, overseer: Handle<Overseer>) {
        // A place is adopted once.
        let _ = self.overseer.set(overseer);
    }

    pub(crate) fn lags(&self, lag: Lag) {
        // A specification has one lag.
        let _ = self.lag.set(lag);
    }

    pub(crate) fn last_crash(&self) -> Option<String> {
        self.facts.lock().last_crash.as_ref().map(|crash| crash.reason.clone())
    }

    pub(crate) fn starting(&self, incarnation: u64) {
        self.facts.lock().incarnation = incarnation;
        self.set(State::Starting);
    }

    pub(crate) fn set(&self, state: State) {
        self.change(state, None);
    }

    /// Records a crash, and the state that follows from it.
    pub(crate) fn crashed(&self, reason: &str, next: State) {
        {
            let mut facts = self.facts.lock();
            facts.crashes += 1;
            facts.last_crash = Some(Crash { at: clock::now(), reason: reason.to_owned() });
        }
        self.change(next, Some(reason.to_owned()));
    }

    fn change(&self, state: State, reason: Option<String>) {
        let at = clock::now();
        let mut facts = self.facts.lock();
        facts.state = state;
        facts.running_since = (state == State::Running).then_some(at);
        let incarnation = facts.incarnation;
        // Under the lock, so that listeners see the changes of one place in their order. Nobody may be listening.
        let _ = self.events.send(TreeEvent { at, path: self.path.clone(), state, incarnation, reason });
    }
}
