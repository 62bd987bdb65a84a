//! What a supervised actor consists of: its mailbox, the task that runs it, its specification, its place in the tree.
//!
//! Actix's own supervisor does not survive a panic, and an actix mailbox dies with its actor. So the parts are
//! arranged differently here, without touching the actors, which stay plain `Actor<Context = Context<Self>>`:
//!
//! - `mailbox`: a bounded queue that outlives the actor behind it, with an exact depth and a door that is open,
//!   shut for a restart, or closed. [`Handle`] and [`Port`] are its sending side.
//! - `runner`: the task that polls one incarnation of the actor and catches its panics. It takes messages out of the
//!   mailbox, answers the heartbeat, and reports exactly once how the incarnation ended, whatever happens to it.
//! - `child`: what a supervisor has to know to start, watch and stop one child.
//! - `overseer`: the actor that makes the decisions of one node of the tree; `entry` is its book-keeping on a child,
//!   `requests` what it is asked.
//! - `drill`: faults on purpose.
//! - `turns`: who goes first, in a simulation.
//! - `tree`: the picture of it all, for the dashboard and the metrics.
//!
//! Invariants: of one place at most one incarnation takes messages; a message is handled at most once; a caller is
//! always answered, with the result or with the reason why there is none; an incarnation that was given up (hung)
//! takes no further message and its later end is ignored.

pub(crate) mod child;
pub mod drill;
pub(crate) mod entry;
pub(crate) mod mailbox;
pub(crate) mod overseer;
pub mod panics;
pub mod policy;
pub(crate) mod requests;
pub(crate) mod runner;
#[cfg(test)]
pub(super) mod tests;
pub mod tree;
pub(crate) mod turns;

pub use child::ChildSpec;
pub use drill::Drill;
pub use mailbox::{Answer, Handle, Port, Refused, Unreachable};
pub use policy::{Backoff, Budget, Exhausted, Settings, Strategy, Watch};
pub use requests::{Failure, Shutdown};
pub use runner::{Lifeline, StartError};
pub use tree::{Crash, Kind, Lag, NodeView, State, Tree, TreeEvent};
