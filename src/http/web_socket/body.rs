//! What a connection sends: what its source has, and what its actor says itself.
//!
//! The actor hears what the client says and is polled only when something of its own has happened. An event that is
//! handed out to a thousand connections therefore costs each of them its frame and its write, and none of the machinery
//! of an actor.
//!
//! Actor and source take turns on one thread. Whatever either says in its turn is given to the connection before the
//! other is asked, so what they share (how far the client has got) is true whenever one of them looks at it, and the
//! client hears both in the order in which they spoke.

use actix_web::Error;
use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What there is for a client beside what its actor says.
pub trait Source {
    /// Frames that wait, in order, up to a piece.
    fn next(&mut self) -> Next;

    /// Nothing waits: what comes next is to wake this.
    fn wait(&self, waker: &Waker);
}

/// What a source has now.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Whole frames.
    Frames(Bytes),
    /// Frames with which the connection ends.
    Last(Bytes),
}

/// Whether the actor has something to do, and whom to tell.
struct Called {
    called: AtomicBool,
    connection: Mutex<Waker>,
}

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::Release);
        self.connection.lock().wake_by_ref();
    }
}

/// See the module's documentation; `A` is the stream of the connection's actor.
pub struct Body<S, A> {
    source: S,
    actor: Pin<Box<A>>,
    called: Arc<Called>,
    waker: Waker,
    /// The frame that ends the connection was given out.
    over: bool,
}

impl<S: Source, A: Stream<Item = Result<Bytes, Error>>> Body<S, A> {
    /// What is sent to a client whom this actor serves.
    pub fn new(source: S, actor: A) -> Body<S, A> {
        let connection = Mutex::new(Waker::noop().clone());
        let called = Arc::new(Called { called: AtomicBool::new(true), connection });
        Body { source, actor: Box::pin(actor), waker: called.clone().into(), called, over: false }
    }
}

// The source is never pinned, the actor in its box always.
impl<S, A> Unpin for Body<S, A> {}

impl<S: Source, A: Stream<Item = Result<Bytes, Error>>> Stream for Body<S, A> {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        // The actor comes first: however much waits to be sent, the client is heard.
        this.called.connection.lock().clone_from(context.waker());
        if this.called.called.swap(false, Ordering::AcqRel)
            && let Poll::Ready(said) = this.actor.as_mut().poll_next(&mut Context::from_waker(&this.waker))
        {
            // There may be more where this came from.
            this.called.called.store(true, Ordering::Release);
            this.over |= said.is_none();
            return Poll::Ready(said);
        }
        match this.source.next() {
            Next::Frames(frames) => Poll::Ready(Some(Ok(frames))),
            Next::Last(frames) => {
                this.over = true;
                Poll::Ready(Some(Ok(frames)))
            }
            Next::Nothing => {
                this.source.wait(context.waker());
                Poll::Pending
            }
        }
    }
}
