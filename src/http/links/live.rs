//! Clicks as they happen, over a WebSocket: of one link, or of all of the caller's.
//!
//! A watcher that does not keep up misses clicks and is told how many. Statistics do not.

use super::rest::{Data, own};
use super::stats::view_click;
use super::wire::link_id;
use crate::actors::links::Live;
use crate::auth::Caller;
use crate::domain::link::LinkId;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::web_socket::ws;
use crate::http::{AppState, cookies};
use actix::prelude::*;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// How often the server pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long it waits for any sign of life.
const SILENCE: Duration = Duration::from_secs(45);

struct Watcher {
    state: Data,
    caller: Caller,
    link: Option<LinkId>,
    heard: Instant,
}

/// `GET /links/live`: of all the caller's links.
///
/// # Errors
/// When the request is no WebSocket handshake, or comes from a page of another site.
pub async fn all(
    state: Data,
    request: HttpRequest,
    user: CurrentUser,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    watch(state, &request, user.0, None, payload)
}

/// `GET /links/{id}/live`: of one link.
///
/// # Errors
/// As [`all`], and 404.
pub async fn one(
    state: Data,
    request: HttpRequest,
    user: CurrentUser,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let stored = own(&state, &user.0, link_id(&id)?).await?;
    watch(state, &request, user.0, Some(stored.link.id), payload)
}

fn watch(
    state: Data,
    request: &HttpRequest,
    caller: Caller,
    link: Option<LinkId>,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    // A cookie goes along from any page that opens a socket.
    cookies::own_site(request, &state).map_err(ApiError::from)?;
    let watcher = Watcher { state, caller, link, heard: Instant::now() };
    ws::start(watcher, request, payload)
}

enum Heard {
    Click(Arc<Live>),
    Missed(u64),
}

async fn next(mut live: broadcast::Receiver<Arc<Live>>) -> Option<(Heard, broadcast::Receiver<Arc<Live>>)> {
    match live.recv().await {
        Ok(click) => Some((Heard::Click(click), live)),
        Err(broadcast::error::RecvError::Lagged(missed)) => Some((Heard::Missed(missed), live)),
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

impl Actor for Watcher {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let state: &AppState = &self.state;
        ctx.add_stream(futures_util::stream::unfold(state.links.live(), next));
        ctx.text(json!({"type": "watching", "link": self.link.map(|link| link.0.to_string())}).to_string());
        ctx.run_interval(PING_EVERY, |watcher, ctx| {
            // Clicks must not go on for ever after a sign-out or the end of a key.
            if watcher.heard.elapsed() > SILENCE || !watcher.state.accounts.still_counts(&watcher.caller) {
                ctx.close(Some(ws::CloseCode::Away.into()));
                ctx.stop();
            } else {
                ctx.ping(b"");
            }
        });
    }
}

impl StreamHandler<Heard> for Watcher {
    fn handle(&mut self, heard: Heard, ctx: &mut Self::Context) {
        match heard {
            Heard::Click(live) => {
                let own = live.owner == Some(self.caller.user);
                if own && self.link.is_none_or(|link| link == live.click.link) {
                    let mut shown = view_click(&live.click);
                    shown["type"] = "click".into();
                    ctx.text(shown.to_string());
                }
            }
            Heard::Missed(count) => ctx.text(json!({"type": "missed", "at_most": count}).to_string()),
        }
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Watcher {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Ping(content)) => ctx.pong(&content),
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            // There is nothing to be said by the client.
            Ok(_) => {}
            Err(_) => ctx.stop(),
        }
    }
}
