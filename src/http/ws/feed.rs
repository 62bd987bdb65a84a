//! The feed: one actor for each WebSocket.
//!
//! Invariants: of each market the session gets a snapshot before any change of its levels and every
//! change after it; heartbeats never name a sequence beyond what was sent; a session that does not
//! read is closed with a reason rather than served with holes.

use super::messages;
use super::request::{Channel, Request};
use crate::actors::account::{Session, Unwatch, Unwatched, UserEvents, Watch};
use crate::actors::trading::Market;
use crate::actors::trading::market_data::{GetBatches, Picture, Subscribe, Unsubscribe, Updated, wall_clock};
use crate::domain::ids::{AccountId, MarketId, Sequence};
use crate::domain::replica::MarketOutcomes;
use crate::http::AppState;
use actix::prelude::*;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use bytestring::ByteString;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Updates that may wait for one session.
const MAILBOX: usize = 2_048;
/// The largest message of a client.
const MAX_MESSAGE: usize = 64 * 1024;
/// How often the server pings, and how long it waits for any sign of life.
const PING_EVERY: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(45);

/// What a session has of one market.
#[derive(Debug, Default)]
struct Place {
    channels: BTreeSet<Channel>,
    /// The newest sequence that the snapshot or an update has named.
    sequence: u64,
    last_trade: u64,
    /// The newest entry whose private events were sent; known once the user channel was asked for.
    private: Option<Sequence>,
    /// Whether market data sends updates.
    attached: bool,
}

struct Feed {
    state: web::Data<AppState>,
    user: Option<AccountId>,
    places: BTreeMap<MarketId, Place>,
    heard: Instant,
}

/// `GET /feed`: the upgrade.
///
/// # Errors
/// When the request is no WebSocket handshake.
pub async fn connect(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let feed = Feed { state, user: None, places: BTreeMap::new(), heard: Instant::now() };
    ws::WsResponseBuilder::new(feed, &request, payload).frame_size(MAX_MESSAGE).start()
}

type Socket = ws::WebsocketContext<Feed>;

impl Feed {
    fn market(&self, id: MarketId) -> Option<Arc<Market>> {
        self.state.trading.market_by_id(id).cloned()
    }

    fn handle_text(&mut self, text: &str, ctx: &mut Socket) {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err((message, reason)) => return ctx.text(messages::error(message, &reason)),
        };
        if request.signed {
            return ctx.text(messages::error("Authentication Failed", r#"{"message":"Invalid API Key"}"#));
        }
        let mut user = self.user;
        if let Some(token) = request.token.as_deref().filter(|token| !token.is_empty()) {
            match self.state.accounts.authenticate(token) {
                Ok(caller) => user = Some(caller.user),
                Err(error) => {
                    let reason = json!({"message": error.to_string()}).to_string();
                    return ctx.text(messages::error("Authentication Failed", &reason));
                }
            }
        }
        // Everything is checked before anything changes.
        let mut wanted = BTreeSet::new();
        for (channel, product) in request.wanted {
            if channel == Channel::User && request.subscribe && user.is_none() {
                return ctx.text(messages::error("Failed to subscribe", "user channel requires authentication"));
            }
            match product {
                None => wanted.extend(self.places.keys().map(|market| (*market, channel))),
                Some(symbol) => match self.state.trading.market(&symbol) {
                    Some(market) => drop(wanted.insert((market.id, channel))),
                    None => {
                        let reason = format!("{symbol} is not a valid product");
                        return ctx.text(messages::error("Failed to subscribe", &reason));
                    }
                },
            }
        }
        self.sign_in(user, ctx);
        if request.subscribe { self.subscribe(wanted, ctx) } else { self.unsubscribe(&wanted, ctx) }
    }

    fn sign_in(&mut self, user: Option<AccountId>, ctx: &mut Socket) {
        if user == self.user {
            return;
        }
        if let Some(old) = self.user {
            self.watch(old, Unwatch(ctx.address().recipient()));
        }
        self.user = user;
        if let Some(new) = user
            && !self.watch_account(new, ctx)
        {
            self.close(ctx, "the private feed is overloaded, please reconnect");
        }
    }

    fn watch_account(&self, user: AccountId, ctx: &Socket) -> bool {
        let session = Session { events: ctx.address().recipient(), ended: ctx.address().recipient() };
        self.state.trading.accounts().try_send(&user, Watch(session)).is_ok()
    }

    fn watch(&self, user: AccountId, message: Unwatch) {
        // An account actor that has gone has nothing to forget.
        let _ = self.state.trading.accounts().try_send(&user, message);
    }

    fn subscribe(&mut self, wanted: BTreeSet<(MarketId, Channel)>, ctx: &mut Socket) {
        let mut new: BTreeMap<MarketId, BTreeSet<Channel>> = BTreeMap::new();
        for (market, channel) in wanted {
            if self.places.entry(market).or_default().channels.insert(channel) {
                new.entry(market).or_default().insert(channel);
            }
        }
        ctx.text(self.subscriptions());
        for (id, channels) in new {
            let Some(market) = self.market(id) else { continue };
            let asked = market.data.send(Subscribe(ctx.address().recipient()));
            // Updates wait in the mailbox until the picture that they follow was sent.
            ctx.wait(asked.into_actor(self).map(move |picture, feed, ctx| match picture {
                Ok(Some(picture)) => feed.show(&market, &channels, &picture, ctx),
                Ok(None) | Err(_) => feed.close(ctx, "the market is starting, please reconnect"),
            }));
        }
    }

    /// Sends what new channels begin with.
    fn show(&mut self, market: &Market, channels: &BTreeSet<Channel>, picture: &Picture, ctx: &mut Socket) {
        let place = self.places.entry(market.id).or_default();
        place.attached = true;
        place.sequence = picture.sequence;
        place.last_trade = picture.ticker.map_or(0, |ticker| ticker.trade.id.0);
        if channels.contains(&Channel::User) {
            place.private = place.private.max(Some(picture.applied));
        }
        if channels.contains(&Channel::Level2) || channels.contains(&Channel::Level2Batch) {
            ctx.text(messages::snapshot(market, picture, wall_clock()));
        }
        if let Some(ticker) = &picture.ticker {
            if channels.contains(&Channel::Matches) {
                ctx.text(messages::last_match(market, ticker));
            }
            if channels.contains(&Channel::Ticker) {
                ctx.text(messages::ticker(market, ticker));
            }
        }
    }

    fn unsubscribe(&mut self, wanted: &BTreeSet<(MarketId, Channel)>, ctx: &mut Socket) {
        for (id, channel) in wanted {
            if let Some(place) = self.places.get_mut(id) {
                place.channels.remove(channel);
            }
        }
        let empty: Vec<MarketId> =
            self.places.iter().filter(|(_, place)| place.channels.is_empty()).map(|(id, _)| *id).collect();
        for id in empty {
            self.places.remove(&id);
            if let Some(market) = self.market(id) {
                let _ = market.data.try_send(Unsubscribe(ctx.address().recipient()));
            }
        }
        ctx.text(self.subscriptions());
    }

    /// The whole list of what the connection has.
    fn subscriptions(&self) -> ByteString {
        let of = |channel: Channel| -> Vec<String> {
            let has = self.places.iter().filter(|(_, place)| place.channels.contains(&channel));
            has.filter_map(|(id, _)| self.market(*id)).map(|market| market.config.symbol.clone()).collect()
        };
        let channels: Vec<_> = Channel::ALL
            .into_iter()
            .map(|channel| (channel.name(), of(channel)))
            .filter(|(_, products)| !products.is_empty())
            .map(|(name, products)| json!({"name": name, "product_ids": products}))
            .collect();
        json!({"type": "subscriptions", "channels": channels}).to_string().into()
    }

    fn close(&mut self, ctx: &mut Socket, reason: &str) {
        ctx.text(messages::error("Connection closed", reason));
        ctx.close(Some(ws::CloseReason { code: ws::CloseCode::Again, description: Some(reason.to_owned()) }));
        ctx.stop();
    }
}

impl Actor for Feed {
    type Context = Socket;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(PING_EVERY, |feed, ctx| {
            if feed.heard.elapsed() > SILENCE {
                ctx.stop();
            } else {
                ctx.ping(b"");
            }
        });
        ctx.run_interval(Duration::from_secs(1), |feed, ctx| {
            let now = wall_clock();
            for (id, place) in &feed.places {
                let Some(market) = feed.market(*id) else { continue };
                if place.channels.contains(&Channel::Heartbeat) && place.attached {
                    ctx.text(messages::heartbeat(&market, place.sequence, place.last_trade, now));
                }
            }
        });
    }

    fn stopped(&mut self, ctx: &mut Self::Context) {
        if let Some(user) = self.user {
            self.watch(user, Unwatch(ctx.address().recipient()));
        }
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Feed {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Text(text)) => self.handle_text(&text, ctx),
            Ok(ws::Message::Ping(content)) => ctx.pong(&content),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_)) => {
                ctx.text(messages::error("Malformed JSON", "messages must be unfragmented text"));
            }
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Err(_) => ctx.stop(),
        }
    }
}

impl Handler<Updated> for Feed {
    type Result = ();

    fn handle(&mut self, updated: Updated, ctx: &mut Self::Context) {
        let update = match updated {
            Updated::Changes(update) => update,
            Updated::Lost(_) => return self.close(ctx, "the connection is too slow to follow the market"),
        };
        let Some(market) = self.market(update.market) else { return };
        let Some(place) = self.places.get_mut(&update.market) else { return };
        // An update that the picture contained already was sent before the picture was asked for.
        if update.sequence <= place.sequence {
            return;
        }
        place.sequence = update.sequence;
        if let Some((_, fill)) = update.fills.last() {
            place.last_trade = fill.trade.0;
        }
        if place.channels.contains(&Channel::Matches) {
            messages::matches(&market, &update).into_iter().for_each(|text| ctx.text(text));
        }
        let level2 = place.channels.contains(&Channel::Level2) || place.channels.contains(&Channel::Level2Batch);
        if level2 && !update.levels.is_empty() {
            ctx.text(messages::level2(&market, &update));
        }
        if place.channels.contains(&Channel::Ticker) {
            messages::tickers(&market, &update).iter().for_each(|text| ctx.text(text.clone()));
        }
    }
}

impl Handler<UserEvents> for Feed {
    type Result = ();

    fn handle(&mut self, UserEvents(outcomes): UserEvents, ctx: &mut Self::Context) {
        self.send_private(&outcomes, ctx);
    }
}

/// The account's actor crashed and what it had not handed on is lost: it is asked for where it came from.
impl Handler<Unwatched> for Feed {
    type Result = ();

    fn handle(&mut self, Unwatched(handed_on): Unwatched, ctx: &mut Self::Context) {
        let Some(user) = self.user else { return };
        if !self.watch_account(user, ctx) {
            return self.close(ctx, "the private feed is overloaded, please reconnect");
        }
        let missed: Vec<_> = self
            .places
            .iter()
            .filter_map(|(id, place)| {
                let after = place.private?.max(handed_on.get(id).copied().unwrap_or_default());
                Some(self.market(*id)?.data.send(GetBatches(after)))
            })
            .collect();
        for batches in missed {
            // What comes meanwhile waits, and is left out if it is among the batches.
            ctx.wait(batches.into_actor(self).map(|batches, feed, ctx| match batches {
                Ok(batches) => batches.iter().for_each(|outcomes| feed.send_private(outcomes, ctx)),
                Err(_) => feed.close(ctx, "the private feed was interrupted, please reconnect"),
            }));
        }
    }
}

impl Feed {
    fn send_private(&mut self, outcomes: &MarketOutcomes, ctx: &mut Socket) {
        let Some(user) = self.user else { return };
        let Some(market) = self.market(outcomes.market) else { return };
        let Some(place) = self.places.get_mut(&outcomes.market) else { return };
        // After a crash of whoever handed it on, it may come again.
        if !place.channels.contains(&Channel::User) || Some(outcomes.last()) <= place.private {
            return;
        }
        place.private = Some(outcomes.last());
        for (sequence, event) in outcomes.numbered() {
            if let Some(text) = messages::private(&market, user, sequence, outcomes.at, event) {
                ctx.text(text);
            }
        }
    }
}
