//! What waits for one session.

use crate::actors::chat::events::Delivered;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// Events that may wait for one session.
pub(super) const WAITING: usize = 1_024;
/// Places for events that an outbox keeps when it is empty.
const KEPT: usize = 64;

/// See the module's documentation. Its worker puts events in, its connection takes them out when its client reads.
#[derive(Debug, Default)]
pub struct Outbox(RefCell<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<Delivered>>,
    /// An event was not taken, so that there is a hole in what was heard.
    slow: bool,
    /// Whoever empties the outbox and waits for the next event.
    waker: Option<Waker>,
    /// That one will be called.
    called: bool,
}

impl Outbox {
    /// Adds an event; whether the session is to be called for it.
    #[must_use]
    pub fn put(&self, event: &Arc<Delivered>) -> bool {
        let mut waiting = self.0.borrow_mut();
        if waiting.slow {
            return false;
        }
        if waiting.events.len() < WAITING {
            waiting.events.push_back(event.clone());
        } else {
            (waiting.slow, waiting.events) = (true, VecDeque::new());
        }
        waiting.waker.is_some() && !std::mem::replace(&mut waiting.called, true)
    }

    /// Calls whoever waits, if there is something for it.
    pub(super) fn call(&self) {
        let mut waiting = self.0.borrow_mut();
        waiting.called = false;
        if (waiting.slow || !waiting.events.is_empty())
            && let Some(waker) = waiting.waker.take()
        {
            waker.wake();
        }
    }

    /// The session has to end, because something did not reach it.
    pub(super) fn give_up(&self) {
        let mut waiting = self.0.borrow_mut();
        (waiting.slow, waiting.events) = (true, VecDeque::new());
        drop(waiting);
        self.call();
    }

    /// Whether an event was not taken, so that the session must end.
    pub fn is_slow(&self) -> bool {
        self.0.borrow().slow
    }

    /// The next event.
    pub fn take(&self) -> Option<Arc<Delivered>> {
        let mut waiting = self.0.borrow_mut();
        let next = waiting.events.pop_front();
        if next.is_none() && waiting.events.capacity() > KEPT {
            waiting.events = VecDeque::new();
        }
        next
    }

    /// Nothing is there: the next event, or the end, is to wake this.
    pub fn wait(&self, waker: &Waker) {
        self.0.borrow_mut().waker = Some(waker.clone());
    }
}
