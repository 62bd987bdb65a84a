//! WebSockets, whatever is spoken on them.
//!
//! This is the only module of the server that knows `actix-web-actors`, which is deprecated upstream; whoever serves a
//! socket takes it from here. A connection is an actor, which hears the client, and a [`Body`] that sends what the
//! actor says and what else there is for the client.

mod body;
pub mod frame;

pub use actix_web_actors::ws;
pub use body::{Body, Next, Source};

use actix::{Actor, StreamHandler};
use actix_http::ws::Codec;
use actix_web::{HttpResponse, HttpResponseBuilder, web};

/// Serves a connection after its handshake: the actor hears messages of up to so many bytes, the client is sent what
/// the actor says and what the source has.
pub fn serve<A>(
    mut handshake: HttpResponseBuilder,
    actor: A,
    source: impl Source + 'static,
    payload: web::Payload,
    longest: usize,
) -> HttpResponse
where
    A: Actor<Context = ws::WebsocketContext<A>> + StreamHandler<Result<ws::Message, ws::ProtocolError>>,
{
    let actor = ws::WebsocketContext::with_codec(actor, payload, Codec::new().max_size(longest));
    handshake.streaming(Body::new(source, actor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::error::PayloadError;
    use bytes::Bytes;
    use futures_util::{FutureExt, StreamExt};
    use std::cell::Cell;
    use std::panic::AssertUnwindSafe;
    use std::rc::Rc;

    /// An actor that notes that it was stopped.
    struct Panics(Rc<Cell<bool>>);

    impl Actor for Panics {
        type Context = ws::WebsocketContext<Panics>;

        fn stopped(&mut self, _: &mut Self::Context) {
            self.0.set(true);
        }
    }

    impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Panics {
        fn handle(&mut self, _: Result<ws::Message, ws::ProtocolError>, _: &mut Self::Context) {
            panic!("on purpose");
        }
    }

    /// What a connection has to see to when it ends is done in `stopped`, and must be done then, too.
    #[actix_rt::test]
    async fn an_actor_that_panics_is_told_that_it_has_stopped() {
        let stopped = Rc::new(Cell::new(false));
        let text = Bytes::from_static(&[0x81, 0x81, 0, 0, 0, 0, b'x']);
        let said = futures_util::stream::iter([Ok::<Bytes, PayloadError>(text)]);
        let mut actor = Box::pin(ws::WebsocketContext::create(Panics(stopped.clone()), said));
        assert!(AssertUnwindSafe(actor.next()).catch_unwind().await.is_err());
        drop(actor);
        assert!(stopped.get());
    }
}
