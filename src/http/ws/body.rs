//! What a connection sends: the frames of its outbox, and what its actor says itself.
//!
//! The actor reads what the client says and is polled only when something of its own has happened. An event that is
//! handed out to a thousand connections therefore costs each of them its frame and its write, and none of the machinery
//! of an actor.

use super::hub::{Hub, Session};
use super::outbox::Outgoing;
use actix_web::Error;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use parking_lot::Mutex;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Frames of text, ping and close, final and without a mask, as servers send them (RFC 6455, 5.2).
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;
/// The close code of a policy (RFC 6455, 7.4.1).
const POLICY: u16 = 1_008;
/// The longest payload of a control frame.
const LONGEST_CONTROL: usize = 125;

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
pub struct Body<A> {
    hub: Rc<Hub>,
    session: Rc<Session>,
    actor: Pin<Box<A>>,
    called: Arc<Called>,
    waker: Waker,
    /// The frame that ends the connection was given out.
    over: bool,
}

impl<A: Stream<Item = Result<Bytes, Error>>> Body<A> {
    /// What a session sends whose client is served by this actor.
    pub fn new(hub: Rc<Hub>, session: Rc<Session>, actor: A) -> Body<A> {
        let connection = Mutex::new(Waker::noop().clone());
        let called = Arc::new(Called { called: AtomicBool::new(true), connection });
        Body { hub, session, actor: Box::pin(actor), waker: called.clone().into(), called, over: false }
    }

    /// What waits in the outbox as frames, up to a piece; none when nothing waits.
    fn frames(&mut self) -> Option<Bytes> {
        let (hub, session) = (&self.hub, &self.session);
        let mut frames = BytesMut::new();
        let mut over = false;
        session.outbox.take(|outgoing| match outgoing {
            Outgoing::Text(text) => put(&mut frames, TEXT, text.as_bytes()),
            Outgoing::Ping => put(&mut frames, PING, b""),
            Outgoing::Snapshot(market) => {
                if let Some(text) = hub.snapshot(session, market) {
                    put(&mut frames, TEXT, text.as_bytes());
                }
            }
            Outgoing::Close(reason) => {
                let reason = reason.as_bytes().get(..LONGEST_CONTROL - 2).unwrap_or(reason.as_bytes());
                put(&mut frames, CLOSE, &[POLICY.to_be_bytes().as_slice(), reason].concat());
                over = true;
            }
        });
        self.over |= over;
        (!frames.is_empty()).then(|| frames.freeze())
    }
}

/// Adds a frame.
fn put(frames: &mut BytesMut, kind: u8, payload: &[u8]) {
    frames.reserve(payload.len() + 10);
    frames.put_u8(kind);
    match payload.len() {
        // Both fit: that is what the arms say.
        short @ 0..126 => frames.put_u8(short as u8),
        medium @ 126..65_536 => {
            frames.put_u8(126);
            frames.put_u16(medium as u16);
        }
        long => {
            frames.put_u8(127);
            frames.put_u64(long as u64);
        }
    }
    frames.extend_from_slice(payload);
}

impl<A: Stream<Item = Result<Bytes, Error>>> Stream for Body<A> {
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
        if let Some(frames) = this.frames() {
            return Poll::Ready(Some(Ok(frames)));
        }
        this.session.outbox.wait(context.waker());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_say_how_long_they_are() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frames = BytesMut::new();
            put(&mut frames, TEXT, &vec![b'x'; length]);
            assert_eq!(frames.len(), head.len() + length);
            assert_eq!(&frames[..head.len()], head);
        }
    }
}
