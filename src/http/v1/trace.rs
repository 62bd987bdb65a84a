//! `GET /orders/{id}/trace`: everything that happened to one order, in order, with the rule behind each step.

use super::views::side;
use crate::actors::trading::Market;
use crate::actors::trading::market_data::GetOrderEvents;
use crate::domain::event::{Crossed, Event};
use crate::domain::ids::{MarketId, OrderId};
use crate::domain::market::Phase;
use crate::domain::order::Status;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::exchange::market_data::answered;
use crate::http::exchange::orders::{find, named};
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::events::{self, Archived};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

/// Rows of the archive that are read at once; each has some thousand events of the whole market.
const AT_ONCE: i64 = 16;
/// How often that is done for one order, and how many events it may find.
const MOST_READS: usize = 128;
const MOST_EVENTS: usize = 10_000;

/// The events of the caller's order: from the archive, and from memory what is not there yet.
pub async fn get(
    state: web::Data<AppState>,
    user: CurrentUser,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (market, id) = named(&state, user.0.user, &name).await?.ok_or_else(ApiError::not_found)?;
    let (market, record) = find(&state, user.0.user, market, id).await?;
    let recent = match answered(market.data.send(GetOrderEvents(id))).await {
        // A faulted market may have no memory, but the archive has what was before.
        Err(_) if market.fault().is_some() => Vec::new(),
        known => known?,
    };
    let until = match record.status {
        Status::Done(_, at) => at,
        // Events have the log's time, which may be ahead of this node's clock.
        Status::Active | Status::Open => Timestamp(i64::MAX),
    };
    // What memory holds from the beginning on needs no archive.
    let whole = recent.first().is_some_and(|(.., event)| matches!(event, Event::Accepted(..)));
    let (mut all, complete) = if whole {
        (Vec::new(), true)
    } else {
        // What memory had dropped when it was asked must be in the archive, or it would be in neither.
        state.history_catches_up().await?;
        archived(&state, market.id, id, (record.created_at, until)).await?
    };
    let newer = recent.into_iter().map(|(sequence, at, event)| Archived { sequence, at, event });
    let newer: Vec<_> = newer.filter(|one| !all.contains(one)).collect();
    all.extend(newer);
    // Of the market's phases those count that the order has seen.
    let own = |one: &Archived| one.event.concerns(id);
    let seen = all.iter().position(own).unwrap_or(0)..all.iter().rposition(own).map_or(0, |last| last + 1);
    let steps: Vec<Value> = all.get(seen).unwrap_or_default().iter().filter_map(|one| step(&market, id, one)).collect();
    Ok(HttpResponse::Ok().json(json!({
        "id": ids::order(market.id, id),
        "product_id": market.config.symbol,
        "complete": complete,
        "events": steps,
    })))
}

/// What the archive has of an order and of its market's phases within a span of time, and whether that is all of it.
async fn archived(
    state: &AppState,
    market: MarketId,
    id: OrderId,
    span: (Timestamp, Timestamp),
) -> Result<(Vec<Archived>, bool), ApiError> {
    let wanted = move |event: &Event| event.concerns(id) || matches!(event, Event::Phase(_));
    let is_end = |one: &Archived| matches!(&one.event, Event::Done(done) if done.id == id);
    let (mut found, mut place) = (Vec::new(), None);
    for _ in 0..MOST_READS {
        let (some, next) = state.query(move |c| events::between(c, market, span, place, AT_ONCE, wanted)).await?;
        let ended = some.iter().any(is_end);
        found.extend(some);
        if next.is_none() || ended {
            return Ok((found, true));
        }
        if found.len() >= MOST_EVENTS {
            break;
        }
        place = next;
    }
    Ok((found, false))
}

fn step(market: &Market, id: OrderId, one: &Archived) -> Option<Value> {
    let config = &market.config;
    let size = |size| wire::size(size, config);
    let price = |price| wire::price(price, config);
    let (kind, reason, more) = match &one.event {
        Event::Accepted(_, order) if order.stop.is_some() => {
            ("activate", None, json!({"side": side(order.side), "size": size(order.size)}))
        }
        Event::Accepted(_, order) => ("received", None, json!({"side": side(order.side), "size": size(order.size)})),
        Event::Triggered(order) => ("received", None, json!({"side": side(order.side), "size": size(order.size)})),
        Event::Opened(opened) => {
            ("open", None, json!({"price": price(opened.price), "remaining_size": size(opened.remaining)}))
        }
        Event::Filled(fill) | Event::Crossed(Crossed { fill, .. }) => {
            let (role, fee) = if fill.taker == id { ("T", fill.taker_fee) } else { ("M", fill.maker_fee) };
            let more = json!({
                "trade_id": fill.trade.0, "price": price(fill.price), "size": size(fill.size), "liquidity": role,
                "fee": wire::amount(fee, &market.quote),
            });
            ("match", None, more)
        }
        Event::Changed(change) => {
            let more = json!({"old_size": size(change.old_size), "new_size": size(change.new_size)});
            ("change", Some(Reason::Changed(change.reason)), more)
        }
        Event::Done(done) => {
            ("done", Some(Reason::Ended(done.reason)), json!({"remaining_size": size(done.remaining)}))
        }
        Event::Phase(change) => {
            let phase = match change.phase {
                Phase::Trading => "trading",
                Phase::Auction { .. } => "auction",
                Phase::Killed => "stopped",
            };
            let more = json!({"phase": phase, "price": change.price.map(price)});
            ("phase", Some(Reason::Phase(change.reason)), more)
        }
        Event::Rejected { .. } | Event::Refused { .. } | Event::BatchRefused { .. } | Event::Configured(_) => {
            return None;
        }
    };
    Some(entry(kind, one.sequence, one.at, reason, more))
}

fn entry(kind: &str, sequence: u64, at: Timestamp, reason: Option<Reason>, more: Value) -> Value {
    let mut entry = json!({
        "type": kind,
        "sequence": sequence,
        "time": wire::time(at),
        "reason": reason.map(Reason::code),
        "rule": reason.map(Reason::rule),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut entry, more) {
        fields.extend(more);
    }
    entry
}
