//! The connection itself.
//!
//! Invariants: subscriptions are carried out in the order in which they came, each when its markets are there; orders
//! wait a moment for them, so that whoever subscribes and then sends an order hears of it, but never for a market whose
//! data are being rebuilt.

use super::entry::{self, Desk};
use super::hub::{Hub, reasons};
use super::messages;
use super::outbox::Outgoing;
use super::request::{Channel, Credentials, Refusal, Request};
use super::session::Session;
use crate::auth::{AuthError, Caller, Class, Scope, SignedRequest};
use crate::domain::ids::MarketId;
use crate::http::AppState;
use crate::http::session::client_address;
use crate::http::web_socket::{self, Next, Source, frame, ws};
use crate::http::ws::seats::Seat;
use actix::prelude::*;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::BytesMut;
use bytestring::ByteString;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The largest message of a client.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long everything that a client sends waits for the markets of a subscription.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// How long the subscription waits for them after that; orders and everything but subscriptions go on.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many subscriptions may wait behind it.
const MOST_HELD: usize = 16;
/// How often it is looked whether a connection's client may still be who it said it is.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// `GET /feed`: the upgrade.
///
/// # Errors
/// When the request is no WebSocket handshake; 429 when its client has too many connections already.
pub async fn connect(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let hub = Hub::of_worker(&state);
    let address = client_address(&request, &state);
    let seat = state.seats.admit(&state.accounts, address)?;
    let handshake = ws::handshake(&request)?;
    let session = hub.open();
    let socket = Socket {
        hub: hub.clone(),
        session: session.clone(),
        address,
        desk: Desk::default(),
        caller: None,
        signed: None,
        waits: false,
        held: VecDeque::new(),
        _seat: seat,
    };
    Ok(web_socket::serve(handshake, socket, Frames { hub, session }, payload, MAX_MESSAGE))
}

/// What waits in the outbox of a session, as frames.
struct Frames {
    hub: Rc<Hub>,
    session: Rc<Session>,
}

impl Source for Frames {
    fn next(&mut self) -> Next {
        let Frames { hub, session } = self;
        let mut frames = BytesMut::new();
        let mut last = false;
        session.outbox.take(|outgoing| match outgoing {
            Outgoing::Text(text) => frame::put_text(&mut frames, &text),
            Outgoing::Ping => frame::put_ping(&mut frames),
            Outgoing::Snapshot(market) => {
                if let Some(text) = hub.snapshot(session, market) {
                    frame::put_text(&mut frames, &text);
                }
            }
            Outgoing::Close(reason) => {
                frame::put_close(&mut frames, &reason);
                last = true;
            }
        });
        match frames.is_empty() {
            true => Next::Nothing,
            false if last => Next::Last(frames.freeze()),
            false => Next::Frames(frames.freeze()),
        }
    }

    fn wait(&self, waker: &Waker) {
        self.session.outbox.wait(waker);
    }
}

/// One connection: reads requests. What its outbox holds is sent as fast as the client reads.
struct Socket {
    hub: Rc<Hub>,
    session: Rc<Session>,
    /// Where the client is, for keys that are bound to addresses.
    address: Option<IpAddr>,
    desk: Desk,
    /// Who the client has last proved to be.
    caller: Option<Caller>,
    /// Key and signature that have done so last. A signature counts once, but clients that sign once send it with each
    /// subscription.
    signed: Option<(String, String)>,
    /// Whether a subscription waits for its markets.
    waits: bool,
    /// What came after it.
    held: VecDeque<Request>,
    _seat: Option<Seat>,
}

type Context = ws::WebsocketContext<Socket>;
type Wanted = BTreeSet<(Channel, Option<MarketId>)>;

/// What is to be done when its markets are there.
struct Subscription {
    wanted: Wanted,
    /// The sequences after which events are wanted.
    resume: BTreeMap<MarketId, u64>,
    markets: BTreeSet<MarketId>,
}

impl Socket {
    fn refuse(&self, refusal: &Refusal) {
        self.session.outbox.optional(messages::error(refusal.message, &refusal.reason, refusal.code));
    }

    fn not_identified(&self, error: &AuthError) {
        let reason = json!({"message": error.to_string()}).to_string();
        self.refuse(&Refusal { message: "Authentication Failed", reason, code: error.code() });
    }

    /// Counts a message of this address; false when there are too many.
    fn within_rate(&self) -> bool {
        self.hub.state().accounts.count_here(Class::FeedMessages, self.address)
    }

    /// The client has proved who it is.
    fn identified(&mut self, caller: Caller, ctx: &mut Context) {
        self.session.user.set(Some(caller.user));
        // What was private must not go on for ever after a sign-out or the end of a key.
        if self.caller.replace(caller).is_none() {
            ctx.run_interval(LOOK_AGAIN, |socket, _| {
                let ended = |caller| !socket.hub.state().accounts.still_counts(caller);
                if socket.caller.as_ref().is_some_and(ended) {
                    socket.hub.close(&socket.session, reasons::SIGNED_OUT);
                }
            });
        }
    }

    /// A message about orders. How many are under way is bounded, so only those count for the rate that are answered
    /// at once.
    fn enter(&mut self, text: &str, ctx: &mut Context) {
        match self.desk.take(self.hub.state(), text) {
            Ok(taken) => {
                let carried_out = entry::carry_out(self.hub.state().clone(), taken).into_actor(self);
                ctx.spawn(carried_out.map(|answer, socket, _| {
                    socket.desk.answered();
                    socket.answer(answer);
                }));
            }
            Err(_) if !self.within_rate() => self.hub.close(&self.session, "too_many_messages"),
            Err(answer) => self.answer(answer),
        }
    }

    /// What the client sends is not WebSocket any more, so nothing after it can be read: it is told so, and the
    /// connection ends.
    fn broken_off(&self, error: &ws::ProtocolError, ctx: &mut Context) {
        let (reason, code) = match error {
            ws::ProtocolError::Overflow => ("message_too_large", ws::CloseCode::Size),
            _ => ("protocol_error", ws::CloseCode::Protocol),
        };
        ctx.text(messages::closing(reason, &BTreeMap::new()));
        ctx.close(Some(ws::CloseReason { code, description: Some(reason.to_owned()) }));
        ctx.stop();
    }

    fn answer(&self, answer: ByteString) {
        // Whoever sends orders and does not read the answers must not believe that they are not there.
        if !self.session.outbox.text(answer) {
            self.hub.close(&self.session, reasons::SLOW);
        }
    }

    fn handle_text(&mut self, text: &str, ctx: &mut Context) {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(&refusal),
        };
        match &request.credentials {
            None => self.carry_out(request, ctx),
            Some(Credentials::Token(token)) => match self.hub.state().accounts.authenticate(token) {
                Ok(caller) => {
                    self.identified(caller, ctx);
                    self.desk.signed_in(token);
                    self.carry_out(request, ctx);
                }
                Err(error) => self.not_identified(&error),
            },
            Some(Credentials::Signature { .. }) => self.identify(request, ctx),
        }
    }

    /// Checks a signature over `GET /users/self/verify`, and then does what was asked.
    fn identify(&mut self, request: Request, ctx: &mut Context) {
        let (state, address) = (self.hub.state().clone(), self.address);
        let before = self.signed.clone();
        let check = async move {
            let checked = match &request.credentials {
                Some(Credentials::Signature { key, passphrase, timestamp, signature }) => {
                    let shown = (key.clone(), signature.clone());
                    let signed = SignedRequest {
                        key,
                        signature,
                        timestamp,
                        passphrase,
                        method: "GET",
                        target: "/users/self/verify",
                        body: b"",
                        address,
                        once: before.as_ref() != Some(&shown),
                    };
                    state.accounts.authenticate_signed(signed).await.and_then(|caller| {
                        caller.may(Scope::View)?;
                        Ok((caller, shown))
                    })
                }
                _ => Err(AuthError::TokenMissing),
            };
            (request, checked)
        };
        ctx.wait(check.into_actor(self).map(|(request, checked), socket, ctx| match checked {
            Ok((caller, shown)) => {
                socket.signed = Some(shown);
                socket.identified(caller, ctx);
                socket.desk.signed_by(caller);
                socket.carry_out(request, ctx);
            }
            Err(error) => socket.not_identified(&error),
        }));
    }

    /// Does what was asked, after what waits for its markets. Everything is checked before anything changes.
    fn carry_out(&mut self, request: Request, ctx: &mut Context) {
        if self.waits {
            if self.held.len() < MOST_HELD {
                return self.held.push_back(request);
            }
            let reason = "too many subscriptions wait for a market that starts";
            return self.refuse(&Refusal::of_subscription("too_many_waiting", reason));
        }
        let wanted = match self.resolve(&request) {
            Ok(wanted) => wanted,
            Err(refusal) => return self.refuse(&refusal),
        };
        if !request.subscribe {
            return self.hub.unsubscribe(&self.session, &wanted);
        }
        let resume = request
            .resume_from
            .iter()
            .filter_map(|(symbol, from)| Some((self.hub.state().trading.market(symbol)?.id, *from)))
            .collect();
        let markets: BTreeSet<MarketId> = wanted.iter().filter_map(|(_, market)| *market).collect();
        self.waits = true;
        let (hub, asked) = (self.hub.clone(), markets.clone());
        let subscription = Subscription { wanted, resume, markets };
        let soon = async move { hub.activate_within(asked, READY_WITHIN).await };
        ctx.wait(soon.into_actor(self).map(move |active, socket, ctx| match active {
            true => socket.subscribe(&subscription, ctx),
            false => socket.subscribe_later(subscription, ctx),
        }));
    }

    /// Waits for the markets of a subscription while the client may go on.
    fn subscribe_later(&mut self, subscription: Subscription, ctx: &mut Context) {
        let (hub, asked) = (self.hub.clone(), subscription.markets.clone());
        let later = async move { hub.activate_within(asked, PATIENCE).await };
        ctx.spawn(later.into_actor(self).map(move |active, socket, ctx| match active {
            true => socket.subscribe(&subscription, ctx),
            false => socket.hub.close(&socket.session, reasons::STARTING),
        }));
    }

    /// Subscribes, now that the markets are there, and then does what came meanwhile.
    fn subscribe(&mut self, Subscription { wanted, resume, .. }: &Subscription, ctx: &mut Context) {
        self.hub.subscribe(&self.session, wanted, resume);
        self.waits = false;
        while !self.waits
            && let Some(request) = self.held.pop_front()
        {
            self.carry_out(request, ctx);
        }
    }

    fn resolve(&self, request: &Request) -> Result<Wanted, Refusal> {
        let trading = &self.hub.state().trading;
        let mut wanted = Wanted::new();
        for (channel, product) in &request.wanted {
            if *channel == Channel::User && request.subscribe && self.session.user.get().is_none() {
                return Err(Refusal::of_subscription("token_missing", "user channel requires authentication"));
            }
            let market = match product {
                None => None,
                Some(symbol) => {
                    let reason = || format!("{symbol:.40} is not a valid product");
                    let unknown = || Refusal::of_subscription("product_not_found", reason());
                    Some(trading.market(symbol).ok_or_else(unknown)?.id)
                }
            };
            wanted.insert((*channel, market));
        }
        // The events of a product come in one order, so what went before those that are read cannot come after them.
        let is_read = |symbol: &&String| trading.market(symbol).is_some_and(|one| self.session.wants(one.id).any());
        if let Some(symbol) = request.resume_from.keys().find(is_read) {
            let reason = format!(
                "resume_from goes with the first channels of single events of a product, all in one message: \
                 events of {symbol:.40} are read already"
            );
            return Err(Refusal::of_subscription("resume_from_late", reason));
        }
        Ok(wanted)
    }
}

impl Actor for Socket {
    type Context = Context;

    /// However it ends: an actor that panics is told so when it is dropped.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.desk.disconnected(self.hub.state());
        self.hub.leave(&self.session);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.session.heard.set(Instant::now());
        match message {
            // Whoever was told that the connection is closed must be able to rely on it.
            Ok(message) if self.session.outbox.is_closed() && !matches!(message, ws::Message::Close(_)) => {}
            Ok(ws::Message::Text(text)) if entry::is_entry(&text) => self.enter(&text, ctx),
            Ok(ws::Message::Text(_) | ws::Message::Binary(_)) if !self.within_rate() => {
                self.hub.close(&self.session, "too_many_messages");
            }
            Ok(ws::Message::Text(text)) => self.handle_text(&text, ctx),
            Ok(ws::Message::Ping(content)) => ctx.pong(&content),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_)) => {
                let reason = "messages must be unfragmented text".to_owned();
                self.refuse(&Refusal { message: "Malformed JSON", reason, code: "malformed_json" });
            }
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Err(error) => self.broken_off(&error, ctx),
        }
    }
}
