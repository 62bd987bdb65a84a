//! Commands of one thread on their way to the books, handed over together.
//!
//! Crossing threads costs a wake-up, whether one command crosses or fifty. Everything that a thread submits while it
//! works through what is ready is gathered here and handed over by whoever submitted first, after the others had
//! their turn. Invariants: whatever was submitted is handed over or refused, also when the future that was to do it
//! is dropped; commands for one book keep their order; no message carries more than [`MOST_AT_ONCE`] commands.

use super::order_book::{Cancel, Command, Commands, OrderBook, Place};
use super::post::Reply;
use super::{Market, PATIENCE, Refused, Trading, Unavailable};
use crate::actors::supervision::Handle;
use crate::domain::admission::Known;
use crate::domain::ids::{AccountId, OrderId};
use crate::domain::order::{NewOrder, OrderRecord};
use futures_util::future::join_all;
use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// The most commands in one message.
const MOST_AT_ONCE: usize = 128;

/// What waits on one thread.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Vec<(Handle<OrderBook>, Vec<Command>)>,
    /// Whether somebody will hand over what waits.
    attended: bool,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// Exchanges what waits on this thread.
pub(super) fn swap(other: &mut Outbox) {
    OUTBOX.with_borrow_mut(|outbox| std::mem::swap(outbox, other));
}

/// Hands over what waits when it is dropped.
struct Attendant;

impl Drop for Attendant {
    fn drop(&mut self) {
        hand_over_now();
    }
}

fn hand_over(book: &Handle<OrderBook>, commands: Vec<Command>) {
    if let Err(refused) = book.offer(Commands(commands)) {
        let why = Unavailable::from(refused.why);
        refused.message.0.into_iter().for_each(|command| command.refuse(Refused::Unavailable(why)));
    }
}

/// Hands over at once what waits on this thread: what goes to a book in another way from here on does not overtake it.
/// Whoever submits next attends to it anew, and does not rely on whoever was to do so, who may not be polled for long.
pub(super) fn hand_over_now() {
    let waiting = OUTBOX.with_borrow_mut(|outbox| {
        outbox.attended = false;
        std::mem::take(&mut outbox.waiting)
    });
    for (book, commands) in waiting {
        hand_over(&book, commands);
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

impl Trading {
    /// Hands over at once what was submitted on this thread. For whoever has submitted something and cannot tell when
    /// it is polled again: all others on the thread would wait for that.
    pub fn hand_over_now(&self) {
        hand_over_now();
    }

    /// Places orders, each by itself, handed over together: one outcome for each, in their order.
    pub async fn place_all(&self, orders: &[(Arc<Market>, NewOrder)]) -> Vec<Result<OrderRecord, Refused>> {
        if self.is_elsewhere() {
            return join_all(orders.iter().map(|(market, order)| self.place(market, *order))).await;
        }
        let make = |order: NewOrder| move |reply| Command::Place(Place { order, vouched: None, reply });
        let mut outcomes = together(orders.iter().map(|(market, order)| (market, make(*order)))).await;
        for ((market, order), outcome) in orders.iter().zip(&mut outcomes) {
            // The first order with this client id is on its way still, perhaps in this very batch.
            if matches!(outcome, Err(Refused::Repeat(Known::InFlight))) {
                *outcome = self.place(market, *order).await;
            }
        }
        outcomes
    }

    /// Cancels orders of one user, each by itself, handed over together: one outcome for each, in their order.
    pub async fn cancel_each(
        &self,
        account: AccountId,
        orders: &[(Arc<Market>, OrderId)],
    ) -> Vec<Result<OrderId, Refused>> {
        if self.is_elsewhere() {
            return join_all(orders.iter().map(|(market, order)| self.cancel(market, account, *order))).await;
        }
        let make = |order: OrderId| move |reply| Command::Cancel(Cancel { account, order, reply });
        together(orders.iter().map(|(market, order)| (market, make(*order)))).await
    }
}

/// Hands commands over with one message for each book, after all that this thread has submitted before, and waits for
/// all outcomes.
async fn together<'a, T>(
    commands: impl Iterator<Item = (&'a Arc<Market>, impl FnOnce(Reply<T>) -> Command)>,
) -> Vec<Result<T, Refused>> {
    let mut books: Vec<(&Handle<OrderBook>, Vec<Command>)> = Vec::new();
    let mut waiting = Vec::new();
    for (market, make) in commands {
        let (reply, outcome) = Reply::here();
        let command = make(reply);
        match books.iter_mut().find(|(book, _)| book.is(&market.book)) {
            Some((_, commands)) => commands.push(command),
            None => books.push((&market.book, vec![command])),
        }
        waiting.push((market, outcome));
    }
    hand_over_now();
    for (book, commands) in books {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            hand_over(book, commands.by_ref().take(MOST_AT_ONCE).collect());
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut outcomes = Vec::with_capacity(waiting.len());
    for (market, outcome) in waiting {
        // They come together, so to wait for one after the other costs one wake-up.
        let outcome = match tokio::time::timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            // As for a single command: it may have happened.
            Ok(Err(_)) | Err(_) => Err(Unavailable::OutcomeUnknown.into()),
        };
        outcomes.push(outcome.map_err(|refused| market.explain(refused)));
    }
    outcomes
}
