//! The socket of this dialect, `/ws`: one actor for each connection.
//!
//! ```text
//! market data ──► hub (one for each worker) ──► connection ──► outbox ──► socket
//! ledger ──────────────────────────────────────► connection
//! ```
//! Hub and outbox are those of the native feed; a connection hears of the hub's markets as a listener and tells of them
//! in its own words.

mod connection;
mod funds;
mod messages;
mod orders;
mod request;

use super::session::{authenticate, own_socket};
use crate::auth::Class;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::session::client_address;
use crate::http::web_socket::ws;
use crate::http::ws::allowance::Allowance;
use crate::http::ws::hub::Hub;
use crate::http::ws::outbox::{Outbox, Outgoing};
use crate::http::ws::seats::Seat;
use actix::prelude::*;
use actix_web::{HttpRequest, HttpResponse, web};
use connection::Connection;
use futures_util::Stream;
use request::{Channel, Request};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

/// The largest message of a client; tokens are long.
const MAX_MESSAGE: usize = 64 * 1024;
/// How often the server looks whether the session still counts.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it pings, and how long it waits for any sign of life.
const PING_EVERY: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(90);

/// `GET /ws`: the upgrade. A visitor may come in; a page of a foreign origin may not.
///
/// # Errors
/// 403; 429 when its client has too many connections already; or when the request is no WebSocket handshake.
pub async fn connect(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    own_socket(&request, &state).map_err(ApiError::from)?;
    let address = client_address(&request, &state);
    let seat = state.seats.admit(&state.accounts, address)?;
    let hub = Hub::of_worker(&state);
    let connection = Connection::open(hub.clone(), authenticate(&request, &state).ok());
    let heard = Instant::now();
    let socket = Socket { hub, connection, allowance: Allowance::default(), address, heard, _seat: seat };
    ws::WsResponseBuilder::new(socket, &request, payload).frame_size(MAX_MESSAGE).start()
}

/// One connection: reads requests, and sends what its outbox holds as fast as the client reads.
struct Socket {
    hub: Rc<Hub>,
    connection: Rc<Connection>,
    /// What this connection may still send.
    allowance: Allowance,
    /// Where the client is, whose messages over all its connections are counted.
    address: Option<IpAddr>,
    heard: Instant,
    _seat: Option<Seat>,
}

type Context = ws::WebsocketContext<Socket>;

impl Socket {
    /// Counts a message; false when there are too many.
    fn within_rate(&mut self) -> bool {
        self.allowance.take() && self.hub.state().accounts.count_here(Class::FeedMessages, self.address)
    }

    fn handle_text(&mut self, text: &str, ctx: &mut Context) {
        let Some(Request { change, ping, token }) = Request::parse(text) else {
            return self.connection.outbox.optional(messages::error("The message is not JSON."));
        };
        if ping {
            self.connection.outbox.optional(messages::pong());
        }
        let Some(change) = change else { return };
        self.connection.identify(&token);
        let (hub, connection) = (self.hub.clone(), self.connection.clone());
        // Further messages of the client wait until the markets are there, but not for those that are being rebuilt.
        let work = async move {
            let tickers = change.channels.contains(&Channel::Ticker);
            let ready = connection::ready(&hub, connection.needed(&change), tickers).await;
            connection.carry_out(&change, &ready);
        };
        ctx.wait(work.into_actor(self));
    }
}

impl Actor for Socket {
    type Context = Context;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(Pieces(self.connection.outbox.clone()));
        ctx.run_interval(LOOK_EVERY, |socket, _| socket.connection.look());
        ctx.run_interval(PING_EVERY, |socket, _| {
            if socket.heard.elapsed() > SILENCE {
                return socket.connection.close("silent");
            }
            socket.connection.outbox.ping();
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.connection.leave();
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Text(_) | ws::Message::Binary(_)) if !self.within_rate() => {
                self.connection.close("too_many_messages");
            }
            Ok(ws::Message::Text(text)) => self.handle_text(&text, ctx),
            Ok(ws::Message::Ping(content)) => ctx.pong(&content),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_)) => {
                self.connection.outbox.optional(messages::error("Messages must be unfragmented text."));
            }
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Err(_) => ctx.stop(),
        }
    }
}

/// What waits in an outbox, piece by piece; ends when the connection was closed from here.
struct Pieces(Rc<Outbox>);

impl Stream for Pieces {
    type Item = Vec<Outgoing>;

    fn poll_next(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Vec<Outgoing>>> {
        let mut piece = Vec::new();
        self.0.take(|outgoing| piece.push(outgoing));
        if !piece.is_empty() {
            return Poll::Ready(Some(piece));
        }
        if self.0.is_closed() {
            return Poll::Ready(None);
        }
        self.0.wait(context.waker());
        Poll::Pending
    }
}

impl StreamHandler<Vec<Outgoing>> for Socket {
    fn handle(&mut self, piece: Vec<Outgoing>, ctx: &mut Self::Context) {
        for outgoing in piece {
            match outgoing {
                Outgoing::Text(text) => ctx.text(text),
                Outgoing::Snapshot(market) => self.connection.resynchronise(market),
                Outgoing::Ping => ctx.ping(b""),
                Outgoing::Close(reason) => {
                    ctx.close(Some(ws::CloseReason { code: ws::CloseCode::Policy, description: Some(reason) }));
                    ctx.stop();
                }
            }
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
