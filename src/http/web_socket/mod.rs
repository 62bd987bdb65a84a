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
