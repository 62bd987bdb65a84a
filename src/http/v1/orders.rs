//! Orders and fills: place, cancel, look up, list.

use super::new_order::NewOrderBody;
use super::page;
use super::params::Params;
use super::views::{FillView, OrderView};
use crate::actors::trading::order_book::GetFills;
use crate::domain::ids::MarketId;
use crate::domain::market::{MAX_DECIMALS, Step};
use crate::domain::order::{OrderRecord, Side};
use crate::domain::time::Timestamp;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::exchange::orders::{self as exchange, Cursor, Query, Wanted, find, named, product_not_found};
use crate::http::session::CurrentUser;
use crate::persistence::fills::{self, FillFilter, FillRow};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use std::collections::BTreeMap;

type Answer = Result<HttpResponse, ApiError>;

/// `POST /orders`.
pub async fn place(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body = NewOrderBody::parse(&body)?;
    let product = body.product_id.as_deref().unwrap_or_default();
    let market = state.trading.market(product).ok_or_else(product_not_found)?;
    let account = user.0.user;
    body.check_profile(account)?;
    let (market, record) = exchange::place(&state, market, body.into_order(account, market)?).await?;
    Ok(HttpResponse::Ok().json(OrderView::new(&market, &record)))
}

fn view(state: &AppState, market: MarketId, record: &OrderRecord) -> Result<OrderView, ApiError> {
    let market = state.trading.market_by_id(market).ok_or_else(ApiError::not_found)?;
    Ok(OrderView::new(market, record))
}

/// `GET /orders/{id}`, also `client:{client_oid}`.
pub async fn get(state: web::Data<AppState>, user: CurrentUser, name: web::Path<String>) -> Answer {
    let (market, id) = named(&state, user.0.user, &name).await?.ok_or_else(ApiError::not_found)?;
    let (market, record) = find(&state, user.0.user, market, id).await?;
    Ok(HttpResponse::Ok().json(OrderView::new(&market, &record)))
}

/// `DELETE /orders/{id}`, also `client:{client_oid}`: answers the order's id as a bare string.
pub async fn cancel(state: web::Data<AppState>, user: CurrentUser, name: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(exchange::cancel(&state, user.0.user, &name).await?))
}

/// The body of `DELETE /orders`; the query may carry the product too.
#[derive(Debug, Default, Deserialize)]
struct ProductHint {
    product_id: Option<String>,
}

fn bad_hint() -> ApiError {
    ApiError::bad_request("invalid_body", "the body must be empty or an object with product_id")
}

/// `DELETE /orders`: answers the canceled ids.
pub async fn cancel_all(state: web::Data<AppState>, user: CurrentUser, params: Params, body: web::Bytes) -> Answer {
    // A body that cannot be read may have meant one market; then nothing is canceled rather than everything.
    let in_body = match body.trim_ascii() {
        b"" => None,
        text => serde_json::from_slice::<ProductHint>(text).map_err(|_| bad_hint())?.product_id,
    };
    let product = params.get("product_id").map(str::to_owned).or(in_body).map(|id| id.replace('/', "-"));
    Ok(HttpResponse::Ok().json(exchange::cancel_all(&state, user.0.user, product.as_deref(), None).await?))
}

/// Which states of orders a list wants. Without any `status`: what is alive. Refused orders are kept nowhere, so
/// `rejected` adds none.
fn wanted(params: &Params) -> Result<Wanted, ApiError> {
    let mut wanted = Wanted::default();
    let mut any = false;
    for status in params.all("status") {
        any = true;
        match status {
            "all" => wanted = Wanted::ALL,
            "done" | "settled" => wanted = Wanted { filled: true, canceled: true, ..wanted },
            "open" | "pending" => wanted.open = true,
            "active" => wanted.active = true,
            "rejected" => {}
            _ => return Err(ApiError::bad_request("invalid_status", "status is not known")),
        }
    }
    Ok(if any { wanted } else { Wanted { open: true, active: true, ..Wanted::default() } })
}

/// Narrows cursors to the days that a query asks for, both included.
fn within_dates(params: &Params, after: &mut Option<Cursor>, before: &mut Option<Cursor>) -> Result<(), ApiError> {
    if let Some(end) = params.time("end_date")? {
        let bound = (Timestamp(end.0.saturating_add(1)), MarketId(0), 0);
        *after = Some(after.map_or(bound, |cursor| cursor.min(bound)));
    }
    if let Some(start) = params.time("start_date")? {
        let bound = (Timestamp(start.0.saturating_sub(1)), MarketId(u16::MAX), i64::MAX as u64);
        *before = Some(before.map_or(bound, |cursor| cursor.max(bound)));
    }
    Ok(())
}

/// A count of steps, so that it can be compared with those of other markets.
fn scaled(count: u64, step: Step) -> u128 {
    let places = u32::from(MAX_DECIMALS.saturating_sub(step.decimals));
    u128::from(count).saturating_mul(u128::from(step.units)).saturating_mul(10u128.pow(places))
}

/// Puts a page into the order that was asked for. Which orders are on it does not depend on that.
fn sort(state: &AppState, page: &mut [(Cursor, OrderRecord)], params: &Params) -> Result<(), ApiError> {
    let fields = ["created_at", "price", "size", "order_id", "side", "type"];
    let key = |market: MarketId, record: &OrderRecord, field: &str| -> u128 {
        let config = state.trading.market_by_id(market).map(|market| &market.config);
        match (field, config) {
            ("price", Some(config)) => record.price().map_or(0, |price| scaled(price.0, config.tick)),
            ("size", Some(config)) => scaled(record.size.0, config.lot),
            ("order_id", _) => u128::from(record.id.number),
            ("side", _) => u128::from(record.side == Side::Sell),
            _ => u128::from(record.price().is_none()),
        }
    };
    match params.word("sortedBy", &fields)? {
        None | Some("created_at") => {}
        Some(field) => {
            page.sort_by_cached_key(|((_, market, _), record)| std::cmp::Reverse(key(*market, record, field)));
        }
    }
    if params.word("sorting", &["asc", "desc"])? == Some("asc") {
        page.reverse();
    }
    Ok(())
}

fn cursor_text((at, market, number): Cursor) -> String {
    format!("{}-{}-{number}", at.0, market.0)
}

fn parse_cursor(text: &Option<String>) -> Result<Option<Cursor>, ApiError> {
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let mut parts = text.splitn(3, '-');
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or_else(page::invalid_cursor);
    let at = Timestamp(i64::try_from(next()?).map_err(|_| page::invalid_cursor())?);
    let market = MarketId(u16::try_from(next()?).map_err(|_| page::invalid_cursor())?);
    Ok(Some((at, market, next()?)))
}

/// `GET /orders`: live ones from memory, finished ones from memory and database together.
pub async fn list(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let (page, wanted) = (params.page()?, wanted(&params)?);
    let (mut after, mut before) = (parse_cursor(&page.after)?, parse_cursor(&page.before)?);
    within_dates(&params, &mut after, &mut before)?;
    let market = match params.get("product_id") {
        Some(symbol) => Some(state.trading.market(symbol).ok_or_else(ApiError::not_found)?.id),
        None => None,
    };
    let query = Query { market, side: None, wanted, after, before, nearest: false, skip: 0, limit: page.limit };
    let mut found = exchange::list(&state, user.0.user, query).await?;
    let ends = found.first().zip(found.last()).map(|(first, last)| (cursor_text(first.0), cursor_text(last.0)));
    sort(&state, &mut found, &params)?;
    let mut views = Vec::with_capacity(found.len());
    for ((_, market, _), record) in &found {
        views.push(view(&state, *market, record)?);
    }
    Ok(page::answer(&views, ends))
}

/// `GET /fills`: of one market or one order, or of one order if it is of that market.
pub async fn fills(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let account = user.0.user;
    let page = params.page()?;
    let (older, newer) = page.numbers()?;
    let (from, to) = (params.time("start_date")?, params.time("end_date")?);
    let order = match params.get("order_id") {
        Some(name) => Some(named(&state, account, name).await?.ok_or_else(ApiError::not_found)?),
        None => None,
    };
    let product = match params.get("product_id") {
        Some(symbol) => Some(state.trading.market(symbol).ok_or_else(ApiError::not_found)?),
        None => None,
    };
    let market = match (order, product) {
        (Some((market, _)), _) => state.trading.market_by_id(market).ok_or_else(ApiError::not_found)?,
        (None, Some(market)) => market,
        (None, None) => {
            let message = "product_id or order_id is required";
            return Err(ApiError::bad_request("product_or_order_required", message));
        }
    };
    let market = market.clone();
    if let Some((place, id)) = order {
        find(&state, account, place, id).await?;
    }
    if product.is_some_and(|product| product.id != market.id) {
        // An order has no fills in another market than its own.
        return Ok(page::answer::<FillView>(&[], None));
    }
    let id = market.id;
    let filter = FillFilter { older_than: older, newer_than: newer, from, to, order: order.map(|(_, id)| id) };
    let limit = page.limit;
    let mut found = BTreeMap::<u64, FillRow>::new();
    // Memory first: then the database has what memory has dropped by now, or it is known here that it lacks some of it.
    let memory = match market.book.send(GetFills(account)).await {
        // A faulted market has no memory.
        Err(_) if market.fault().is_some() => {
            state.history_catches_up().await?;
            Vec::new()
        }
        known => known.map_err(|why| market.unavailable(why))?,
    };
    for timed in memory {
        let row = FillRow { market: id, at: timed.at, feed_sequence: timed.feed_sequence, fill: timed.fill };
        found.insert(timed.fill.trade.0, row);
    }
    state.history_is_whole(&market)?;
    for row in state.query(move |c| fills::of_account(c, account, id, &filter, limit)).await? {
        found.insert(row.fill.trade.0, row);
    }
    let page: Vec<FillRow> = found.into_values().rev().filter(|row| filter.takes(row)).take(limit).collect();
    let views: Vec<_> = page.iter().filter_map(|row| FillView::new(&market, row, account)).collect();
    let ends = page.first().zip(page.last()).map(|(a, b)| (a.fill.trade.0.to_string(), b.fill.trade.0.to_string()));
    Ok(page::answer(&views, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_different_markets_are_compared_as_numbers() {
        let step = |units, decimals| Step { units, decimals };
        // 3 × 0.5 = 1.5, 1 × 1.50 and 150 × 0.01.
        let same = [scaled(3, step(5, 1)), scaled(1, step(150, 2)), scaled(150, step(1, 2))];
        assert_eq!(same, [same[0]; 3]);
        assert!(scaled(2, step(1, 0)) > scaled(1_999, step(1, 3)));
        assert_eq!(scaled(u64::MAX, step(u64::MAX, 0)), u128::MAX);
    }
}
