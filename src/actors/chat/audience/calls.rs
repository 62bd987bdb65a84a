//! Which sessions of a worker are to be called, because something waits for them.
//!
//! They are called in rounds, a few at a time. What the worker has to do meanwhile (a request that came in, an
//! acknowledgement that goes out) waits for a few sessions and not for all of a room. After a round there is a rest of
//! the same length, so that a worker spends no more than about half of its time on rounds that are long, and what is
//! heard meanwhile goes out with one write for each session. A round that takes no time has no rest.

use super::Outbox;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Sessions that are called in one turn.
const PIECE: usize = 32;
/// Rounds that are shorter need no rest.
const SHORT: Duration = Duration::from_millis(1);
/// The longest rest, also after a round that something else of the worker has held up.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// See the module's documentation. An outbox is in it at most once: it says itself whether it is to be added.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Those of this round.
    now: VecDeque<Rc<Outbox>>,
    /// When it began.
    begun: Option<Instant>,
    /// Those of the next one.
    next: VecDeque<Rc<Outbox>>,
    /// Until when that one waits.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Calls {
    /// Adds an outbox whose session is to be called; whoever polls [`Calls::call`] does so afterwards.
    pub(super) fn add(&mut self, outbox: Rc<Outbox>) {
        self.next.push_back(outbox);
    }

    /// Calls a few sessions, and comes back for the others after what else the worker has to do.
    pub(super) fn call(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.now.is_empty() {
            if self.next.is_empty() {
                return Poll::Pending;
            }
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(context));
            }
            self.rest = None;
            std::mem::swap(&mut self.now, &mut self.next);
            self.begun = Some(Instant::now());
        }
        for outbox in self.now.drain(..PIECE.min(self.now.len())) {
            outbox.call();
        }
        if self.now.is_empty() {
            let took = self.begun.take().map(|begun| begun.elapsed()).filter(|took| *took >= SHORT);
            self.rest = took.map(|took| Box::pin(tokio::time::sleep(took.min(LONGEST_REST))));
        }
        if !self.now.is_empty() || !self.next.is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::chat::events::{Delivered, Event};
    use crate::domain::chat::{MessageSequence, RoomId};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[actix::test]
    async fn a_round_calls_each_session_once_a_few_at_a_time() {
        let (called, again) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let event = Delivered::of(RoomId::made(1 << 30), None, Event::Head(MessageSequence(1)));
        let mut calls = Calls::default();
        for _ in 0..2 * PIECE + 1 {
            let outbox = Rc::new(Outbox::default());
            outbox.wait(&Waker::from(called.clone()));
            assert!(outbox.put(&event), "it is to be called");
            assert!(!outbox.put(&event), "it will be");
            calls.add(outbox);
        }
        let waker = Waker::from(again.clone());
        let mut context = Context::from_waker(&waker);
        // After all but the last piece it asks to be polled again.
        for (total, polls) in [(PIECE, 1), (2 * PIECE, 2), (2 * PIECE + 1, 2), (2 * PIECE + 1, 2)] {
            assert!(calls.call(&mut context).is_pending());
            assert_eq!((called.0.load(Ordering::Relaxed), again.0.load(Ordering::Relaxed)), (total, polls));
        }
    }
}
