//! Commands of one thread on their way to the books, handed over together.
//!
//! Crossing threads costs a wake-up, whether one command crosses or fifty. Everything that a thread submits while it
//! works through what is ready is gathered here and handed over by whoever submitted first, after the others had
//! their turn. Invariants: whatever was submitted is handed over or refused, also when the future that was to do it
//! is dropped; commands for one book keep their order; no message carries more than [`MOST_AT_ONCE`] commands.

use super::order_book::{Command, Commands, OrderBook};
use super::{Refused, Unavailable};
use crate::actors::supervision::Handle;
use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

/// The most commands in one message.
const MOST_AT_ONCE: usize = 64;

#[derive(Default)]
struct Outbox {
    waiting: Vec<(Handle<OrderBook>, Vec<Command>)>,
    /// Whether somebody will hand over what waits.
    attended: bool,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// Hands over what waits when it is dropped.
struct Attendant;

impl Drop for Attendant {
    fn drop(&mut self) {
        let waiting = OUTBOX.with_borrow_mut(|outbox| {
            outbox.attended = false;
            std::mem::take(&mut outbox.waiting)
        });
        for (book, commands) in waiting {
            hand_over(&book, commands);
        }
    }
}

fn hand_over(book: &Handle<OrderBook>, commands: Vec<Command>) {
    if let Err(refused) = book.offer(Commands(commands)) {
        let why = Unavailable::from(refused.why);
        refused.message.0.into_iter().for_each(|command| command.refuse(Refused::Unavailable(why)));
    }
}

/// Submits a command together with what others on this thread submit now. Returns when it was handed over, or when
/// somebody else will do it; a refusal comes through the command's own reply.
pub(super) async fn submit(book: &Handle<OrderBook>, command: Command) {
    let (attendant, full) = OUTBOX.with_borrow_mut(|outbox| {
        let full = match outbox.waiting.iter_mut().find(|(other, _)| other.is(book)) {
            Some((_, commands)) => {
                commands.push(command);
                if commands.len() >= MOST_AT_ONCE { Some(std::mem::take(commands)) } else { None }
            }
            None => {
                outbox.waiting.push((book.clone(), vec![command]));
                None
            }
        };
        let first = !std::mem::replace(&mut outbox.attended, true);
        (if first { Some(Attendant) } else { None }, full)
    });
    if let Some(commands) = full {
        hand_over(book, commands);
    }
    if let Some(attendant) = attendant {
        // To the end of the thread's queue: what is ready now gets its turn first.
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        drop(attendant);
    }
}
