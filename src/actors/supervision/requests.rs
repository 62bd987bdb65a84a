//! What a supervisor is asked and told, and what it answers.

use actix::Message;
use tokio::sync::oneshot;

use super::{child::Child, runner::Report};

/// Sent before a planned stop to children that want it; the supervisor waits for the answer, within the deadline.
#[derive(Clone, Copy, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// False if the child is to be started again, because a sibling that it depends on crashed.
    pub for_good: bool,
}

/// Why a child could not be started, or a request about it not be fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another child has that name.
    #[error("there is already a child named {0}")]
    NameTaken(String),
    /// No child has that name.
    #[error("there is no child named {0}")]
    Unknown(String),
    /// The child will not run: its budget is exhausted, it faulted, or it finished before it was ready.
    #[error("{name} is down: {reason}")]
    Down {
        /// Its name.
        name: String,
        /// What its last crash, or the one that made its supervisor give up, said.
        reason: String,
    },
    /// The supervisor itself is gone or going.
    #[error("the supervisor is stopped")]
    SupervisorGone,
}

pub(crate) type Waiter = oneshot::Sender<Result<(), Failure>>;

/// Adds a child; answered when it is ready for the first time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Adopt {
    pub(crate) child: Box<dyn Child>,
    pub(crate) ready: Waiter,
}

/// Stops one child for good; answered when it has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Halt {
    pub(crate) name: String,
    pub(crate) forget: bool,
    pub(crate) done: Waiter,
}

/// Starts a child again that is stopped or faulted, or restarts a running one; answered when it is ready.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Revive {
    pub(crate) name: String,
    pub(crate) ready: Waiter,
}

/// What an incarnation of a child reports about itself.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Notice {
    pub(crate) child: u64,
    pub(crate) incarnation: u64,
    pub(crate) report: Report,
}
