//! The queue before an actor, and the names under which others send to it.
//!
//! The queue belongs to the place, not to the actor: it survives a restart, so a [`Handle`] is good for as long as the
//! place exists. What was queued when the actor died is discarded by default and its senders are told, because a
//! message may rest on state that died with the actor (a hold of an older epoch, a subscription); a specification
//! can ask for the queue to be kept.
//!
//! The bound and the depth are exact: messages are queued here and nowhere else, under one lock of a few instructions.
//! Only what an actor sends to itself through `ctx.address()`, `ctx.notify` or [`Handle::addr`] takes the actix
//! mailbox of that incarnation instead: it is not counted, it is handled before the queue, and it ends with the actor.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{self, Poll, Waker},
    time::Duration,
};

use actix::{
    Actor, Addr, Context, Handler, Message,
    dev::{Envelope, EnvelopeProxy, MessageResponse},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Why a message was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The mailbox is full. The message was not handled; try again later.
    #[error("the mailbox is full")]
    Full,
    /// The actor is being restarted. The message was not handled; try again soon.
    #[error("the actor is being restarted")]
    Restarting,
    /// The actor was stopped or is faulted. The message was not handled, and trying again does not help.
    #[error("the actor is stopped")]
    Closed,
    /// The message was accepted, but the actor ended before it answered. Whether it was handled is unknown.
    #[error("the actor ended before it answered")]
    Lost,
    /// The message was accepted, but the answer did not come in time. Whether it was handled is unknown.
    #[error("the actor did not answer in time")]
    Late,
}

/// A message that was not accepted, given back.
#[derive(Debug)]
pub struct Refused<M> {
    /// What was to be sent.
    pub message: M,
    /// Why it was not: `Full`, `Restarting` or `Closed`.
    pub why: Unreachable,
}

/// Whether the mailbox accepts messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Restarting,
    Closed,
}

/// What the reader found.
pub(crate) enum Taken<A: Actor> {
    Message(Envelope<A>),
    Empty,
    /// Another incarnation reads this mailbox now.
    Stale,
}

pub(crate) struct Mailbox<A: Actor> {
    queue: Mutex<Queue<A>>,
    capacity: usize,
    /// Answers that somebody still waits for.
    awaited: Arc<AtomicUsize>,
    /// When a message was last taken or the place last looked up, by the clock of whoever passivates.
    touched: AtomicU64,
}

struct Queue<A: Actor> {
    messages: VecDeque<Envelope<A>>,
    door: Door,
    /// The incarnation that may take messages.
    reader: u64,
    /// Set when the reader found nothing, taken by the next sender.
    waker: Option<Waker>,
    addr: Option<Addr<A>>,
}

impl<A: Actor> Mailbox<A> {
    pub(crate) fn new(capacity: usize, door: Door) -> Self {
        let queue = Queue { messages: VecDeque::new(), door, reader: 0, waker: None, addr: None };
        Mailbox { queue: Mutex::new(queue), capacity, awaited: Arc::default(), touched: AtomicU64::new(0) }
    }

    /// Lets incarnation `reader` take messages from now on, and nobody else.
    pub(crate) fn attach(&self, reader: u64) {
        let mut queue = self.queue.lock();
        queue.reader = queue.reader.max(reader);
    }

    /// Opens the door for the incarnation that has just been built. False if it was given up meanwhile.
    pub(crate) fn open(&self, reader: u64, addr: Addr<A>) -> bool {
        let mut queue = self.queue.lock();
        if queue.reader != reader {
            return false;
        }
        queue.door = Door::Open;
        queue.addr = Some(addr);
        true
    }

    /// Shuts the door behind incarnation `reader`, if it is the present one.
    pub(crate) fn detach(&self, reader: u64, door: Door, keep: bool) {
        let mut queue = self.queue.lock();
        if queue.reader != reader {
            return;
        }
        queue.door = door;
        queue.waker = None;
        let addr = queue.addr.take();
        let discarded = if keep { VecDeque::new() } else { std::mem::take(&mut queue.messages) };
        // Dropping a message runs foreign code, which may well send to this mailbox.
        drop(queue);
        drop((discarded, addr));
    }

    /// Sets the door, whoever reads; the queue stays.
    pub(crate) fn set_door(&self, door: Door) {
        self.queue.lock().door = door;
    }

    /// Refuses everything from now on and discards what waits.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.door = Door::Closed;
        let discarded = std::mem::take(&mut queue.messages);
        drop(queue);
        drop(discarded);
    }

    /// Closes the door if nothing waits and nobody waits for an answer. Afterwards no message can come in, and none
    /// was lost: a sender either got in before, or has its message given back.
    pub(crate) fn close_if_idle(&self, reader: u64) -> bool {
        let mut queue = self.queue.lock();
        let idle = queue.reader == reader && queue.messages.is_empty() && self.awaited.load(Ordering::Acquire) == 0;
        if idle {
            queue.door = Door::Closed;
        }
        idle
    }

    /// The next message for incarnation `reader`; if there is none, `waker` is woken by the next sender.
    pub(crate) fn take(&self, reader: u64, waker: &Waker) -> Taken<A> {
        let mut queue = self.queue.lock();
        if queue.reader != reader {
            return Taken::Stale;
        }
        match queue.messages.pop_front() {
            Some(message) => Taken::Message(message),
            None => {
                queue.waker = Some(waker.clone());
                Taken::Empty
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().door == Door::Closed
    }

    pub(crate) fn touch(&self, now: u64) {
        self.touched.store(now, Ordering::Relaxed);
    }

    pub(crate) fn touched(&self) -> u64 {
        self.touched.load(Ordering::Relaxed)
    }
}

impl<A: Actor<Context = Context<A>>> Mailbox<A> {
    fn put<M>(&self, message: M, answer: Option<oneshot::Sender<M::Result>>) -> Result<(), Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let awaited = answer.is_some();
        let mut queue = self.queue.lock();
        let why = match queue.door {
            Door::Open if queue.messages.len() < self.capacity => None,
            Door::Open => Some(Unreachable::Full),
            Door::Restarting => Some(Unreachable::Restarting),
            Door::Closed => Some(Unreachable::Closed),
        };
        if let Some(why) = why {
            return Err(Refused { message, why });
        }
        if awaited {
            self.awaited.fetch_add(1, Ordering::Relaxed);
        }
        queue.messages.push_back(Envelope::with_proxy(Box::new(Letter { message: Some(message), answer })));
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Queues a message of the supervisor, whatever the bound and the door say.
    pub(crate) fn force<M>(&self, message: M) -> oneshot::Receiver<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (answer, result) = oneshot::channel();
        let letter = Letter { message: Some(message), answer: Some(answer) };
        let mut queue = self.queue.lock();
        queue.messages.push_back(Envelope::with_proxy(Box::new(letter)));
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

/// How full a mailbox is, whoever reads it.
pub(crate) trait Level: Send + Sync {
    fn depth(&self) -> usize;
    fn capacity(&self) -> usize;
}

impl<A: Actor> Level for Mailbox<A> {
    fn depth(&self) -> usize {
        self.queue.lock().messages.len()
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

struct Letter<M: Message> {
    message: Option<M>,
    answer: Option<oneshot::Sender<M::Result>>,
}

impl<A, M> EnvelopeProxy<A> for Letter<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        if self.answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return;
        }
        if let Some(message) = self.message.take() {
            // The sender stays in this letter during the handler, so that after a panic the door is shut before the
            // caller learns of it and sends again.
            let response = <A as Handler<M>>::handle(actor, message, ctx);
            response.handle(ctx, self.answer.take());
        }
    }
}

/// The answer to a message that was sent: a future. Dropping it before the message was taken cancels the message.
#[must_use = "an answer that is dropped cancels its message"]
#[derive(Debug)]
pub struct Answer<R> {
    state: Result<oneshot::Receiver<R>, Unreachable>,
    awaited: Option<Arc<AtomicUsize>>,
}

impl<R> Answer<R> {
    /// The answer if it comes within `deadline`, else [`Unreachable::Late`].
    pub async fn within(self, deadline: Duration) -> Result<R, Unreachable> {
        tokio::time::timeout(deadline, self).await.unwrap_or(Err(Unreachable::Late))
    }
}

impl<R> Future for Answer<R> {
    type Output = Result<R, Unreachable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            Ok(receiver) => Pin::new(receiver).poll(cx).map(|answer| answer.map_err(|_| Unreachable::Lost)),
            Err(why) => Poll::Ready(Err(*why)),
        }
    }
}

impl<R> Drop for Answer<R> {
    fn drop(&mut self) {
        if let Some(awaited) = &self.awaited {
            awaited.fetch_sub(1, Ordering::Release);
        }
    }
}

/// A stable name for whoever is behind it now. Cheap to clone, to keep and to send through, from any thread.
pub struct Handle<A: Actor> {
    mailbox: Arc<Mailbox<A>>,
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Handle { mailbox: self.mailbox.clone() }
    }
}

impl<A: Actor> std::fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("actor", &std::any::type_name::<A>()).field("depth", &self.depth()).finish()
    }
}

impl<A: Actor> Handle<A> {
    pub(crate) fn new(mailbox: Arc<Mailbox<A>>) -> Self {
        Handle { mailbox }
    }

    /// Whether nobody takes messages here until somebody revives whoever was behind it.
    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Refuses all messages from now on.
    pub(crate) fn close(&self) {
        self.mailbox.close();
    }

    /// Whether both are names of the same place.
    pub fn is(&self, other: &Handle<A>) -> bool {
        Arc::ptr_eq(&self.mailbox, &other.mailbox)
    }

    /// Messages that wait.
    pub fn depth(&self) -> usize {
        self.mailbox.depth()
    }

    /// Messages that may wait.
    pub fn capacity(&self) -> usize {
        self.mailbox.capacity
    }

    /// The actix address of the present incarnation, the same as its `ctx.address()`; none while it is down. It ends
    /// with the incarnation, and what is sent through it is neither counted nor bounded with the mailbox.
    pub fn addr(&self) -> Option<Addr<A>> {
        self.mailbox.queue.lock().addr.clone()
    }
}

impl<A: Actor<Context = Context<A>>> Handle<A> {
    /// Queues a message and forgets it.
    pub fn try_send<M>(&self, message: M) -> Result<(), Unreachable>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.offer(message).map_err(|refused| refused.why)
    }

    /// Queues a message and forgets it, or gives it back.
    pub fn offer<M>(&self, message: M) -> Result<(), Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.mailbox.put(message, None)
    }

    /// Queues a message now (not at the first poll) and returns the answer as a future.
    pub fn send<M>(&self, message: M) -> Answer<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.ask(message).unwrap_or_else(|refused| Answer { state: Err(refused.why), awaited: None })
    }

    /// As [`Handle::send`], but gives a message that was not accepted back.
    pub fn ask<M>(&self, message: M) -> Result<Answer<M::Result>, Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (answer, result) = oneshot::channel();
        self.mailbox.put(message, Some(answer))?;
        Ok(Answer { state: Ok(result), awaited: Some(self.mailbox.awaited.clone()) })
    }

    /// The same place for one kind of message, without naming the actor.
    pub fn port<M>(&self) -> Port<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Port { accepts: Arc::new(self.clone()) }
    }
}

/// A place that accepts messages of one kind: a [`Handle`] whose actor is not named.
pub struct Port<M: Message> {
    accepts: Arc<dyn Accepts<M>>,
}

impl<M: Message> Clone for Port<M> {
    fn clone(&self) -> Self {
        Port { accepts: self.accepts.clone() }
    }
}

impl<M: Message> std::fmt::Debug for Port<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("message", &std::any::type_name::<M>()).finish_non_exhaustive()
    }
}

impl<M: Message> Port<M> {
    /// Queues a message and forgets it.
    pub fn try_send(&self, message: M) -> Result<(), Unreachable> {
        self.accepts.offer(message).map_err(|refused| refused.why)
    }

    /// Queues a message and forgets it, or gives it back.
    pub fn offer(&self, message: M) -> Result<(), Refused<M>> {
        self.accepts.offer(message)
    }

    /// Queues a message now and returns the answer as a future.
    pub fn send(&self, message: M) -> Answer<M::Result> {
        self.accepts.send(message)
    }
}

trait Accepts<M: Message>: Send + Sync {
    fn offer(&self, message: M) -> Result<(), Refused<M>>;
    fn send(&self, message: M) -> Answer<M::Result>;
}

impl<A, M> Accepts<M> for Handle<A>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn offer(&self, message: M) -> Result<(), Refused<M>> {
        Handle::offer(self, message)
    }

    fn send(&self, message: M) -> Answer<M::Result> {
        Handle::send(self, message)
    }
}
