//! Whether this node admits commands or only applies what was committed elsewhere.
//!
//! The role is node-wide: all trading streams have one active node. It is only what this node believes; the proof is
//! in the log, where every reader ignores what an older epoch appends after a newer epoch's marker. So a node that has
//! not noticed that it lost its role can do no harm, it can only fail to get answers.

use crate::domain::ids::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Applies what is committed; commands are forwarded to the active node.
    Standby,
    /// Has appended markers and waits until they are read back.
    TakingOver,
    /// Admits commands.
    Active,
}

/// A node's role. Clones share it.
#[derive(Clone, Debug)]
pub struct Role(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: u16,
    state: watch::Sender<State>,
    /// The newest epoch that was read: counter, and the node that began it.
    epoch: watch::Sender<Epoch>,
    take_overs: AtomicU64,
}

impl Role {
    fn new(node: u16, state: State) -> Role {
        let (state, epoch) = (watch::Sender::new(state), watch::Sender::new(Epoch::default()));
        Role(Arc::new(Inner { node, state, epoch, take_overs: AtomicU64::new(0) }))
    }

    /// The role of the only node there is: active from the start.
    pub fn alone(node: u16) -> Role {
        Role::new(node, State::Active)
    }

    /// One of several nodes, which begins as a standby.
    pub fn one_of_several(node: u16) -> Role {
        Role::new(node, State::Standby)
    }

    /// This node's number.
    pub fn node(&self) -> u16 {
        self.0.node
    }

    /// What the node does now.
    pub fn state(&self) -> State {
        *self.0.state.borrow()
    }

    /// Whether commands are admitted here.
    pub fn is_active(&self) -> bool {
        self.state() == State::Active
    }

    /// Whether epochs may be begun here.
    pub fn may_begin(&self) -> bool {
        self.state() != State::Standby
    }

    /// Tells of every change of the state.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// Tells of every newer epoch that is read.
    pub fn watch_epoch(&self) -> watch::Receiver<Epoch> {
        self.0.epoch.subscribe()
    }

    /// The newest epoch that was read, of any stream.
    pub fn epoch(&self) -> Epoch {
        *self.0.epoch.borrow()
    }

    /// The node that took over last, as far as this one has read; itself included.
    pub fn leader(&self) -> u16 {
        self.epoch().node
    }

    /// How often this node took over.
    pub fn take_overs(&self) -> u64 {
        self.0.take_overs.load(Ordering::Relaxed)
    }

    /// A batch of this epoch was read.
    pub fn observed(&self, epoch: Epoch) {
        self.0.epoch.send_if_modified(|newest| {
            let newer = epoch > *newest;
            if newer {
                *newest = epoch;
            }
            newer
        });
    }

    /// Changes the state, if it is `from`.
    pub fn change(&self, from: State, to: State) -> bool {
        let changed = self.0.state.send_if_modified(|state| {
            let changes = *state == from && from != to;
            if changes {
                *state = to;
            }
            changes
        });
        if changed {
            if to == State::Active {
                self.0.take_overs.fetch_add(1, Ordering::Relaxed);
            }
            tracing::info!(node = self.0.node, ?from, ?to, "the node's role has changed");
        }
        changed
    }

    /// A newer epoch of another node was read: nothing is admitted here any more. False when that was so already.
    pub fn step_down(&self) -> bool {
        self.change(State::Active, State::Standby) || self.change(State::TakingOver, State::Standby)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_steps_down_once_and_knows_who_leads() {
        let role = Role::one_of_several(2);
        assert!(!role.may_begin() && !role.step_down());
        assert!(role.change(State::Standby, State::TakingOver) && role.may_begin() && !role.is_active());
        assert!(role.change(State::TakingOver, State::Active) && role.is_active());
        role.observed(Epoch { counter: 5, node: 2 });
        role.observed(Epoch { counter: 6, node: 1 });
        role.observed(Epoch { counter: 4, node: 2 });
        assert_eq!(role.leader(), 1);
        assert!(role.step_down() && !role.step_down());
        assert!(!role.change(State::TakingOver, State::Active), "a take-over that was overtaken does not succeed");
        assert_eq!(role.take_overs(), 1);
    }
}
