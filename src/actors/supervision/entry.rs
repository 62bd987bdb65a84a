//! A child as its overseer keeps books on it.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{
    child::Child,
    requests::{Failure, Waiter},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Up,
    /// Down now, and up again when all that are recycled are down.
    Recycle,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Down,
    Starting,
    Up,
    Stopping,
}

/// One child with what is wanted of it and what it is.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) child: Box<dyn Child>,
    pub(crate) want: Want,
    pub(crate) is: Is,
    pub(crate) incarnation: u64,
    /// Whether any incarnation was ready.
    pub(crate) was_ready: bool,
    pub(crate) begun_at: Instant,
    /// It crashed, and the wait before its next start is not over.
    pub(crate) waiting: bool,
    pub(crate) crashes: VecDeque<Instant>,
    /// The last heartbeat asked of the present incarnation, and the moment from which its answer is due.
    pub(crate) beat: Option<(u64, Instant)>,
    pub(crate) beats: u64,
    pub(crate) ready: Vec<Waiter>,
    pub(crate) ended: Vec<Waiter>,
    pub(crate) forget: bool,
}

impl Entry {
    pub(crate) fn new(id: u64, child: Box<dyn Child>, ready: Waiter) -> Self {
        Entry {
            id,
            child,
            want: Want::Up,
            is: Is::Down,
            incarnation: 0,
            was_ready: false,
            begun_at: Instant::now(),
            waiting: false,
            crashes: VecDeque::new(),
            beat: None,
            beats: 0,
            ready: vec![ready],
            ended: Vec::new(),
            forget: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.child.node().name
    }

    /// Tells all who wait for it to be ready that it will not be.
    pub(crate) fn refuse(&mut self, reason: &str) {
        let failure = Failure::Down { name: self.name().to_owned(), reason: reason.to_owned() };
        answer(&mut self.ready, &Err(failure));
    }

    /// Asks for a sign of life, whose answer is due from `since` on.
    pub(crate) fn ask(&mut self, since: Instant) {
        self.beats += 1;
        self.beat = Some((self.beats, since));
        self.child.ask(self.beats);
    }

    /// Leaves the present incarnation to itself, and its arbiter too if that is deaf.
    pub(crate) fn give_up(&mut self) {
        let deaf = self.beat.is_some_and(|(beat, _)| !self.child.arbiter_has_answered(beat));
        self.child.abandon(deaf);
        self.is = Is::Down;
        self.beat = None;
        // Whatever the abandoned one still reports is about an incarnation that is not the present one.
        self.incarnation += 1;
    }
}

/// Tells all who wait.
pub(crate) fn answer(waiters: &mut Vec<Waiter>, result: &Result<(), Failure>) {
    for waiter in waiters.drain(..) {
        // Whoever asked may have gone; that is its right.
        let _ = waiter.send(result.clone());
    }
}

impl Drop for Entry {
    /// Nobody will start this child again, so nobody shall wait for it; and it must not go on without a supervisor.
    fn drop(&mut self) {
        self.child.abandon(false);
        self.child.close();
    }
}
