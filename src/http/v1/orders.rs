//! Orders and fills: place, cancel, look up, list.

use super::client_ids::{self, Holder};
use super::new_order::{NewOrderBody, parse_client_id};
use super::page;
use super::params::Params;
use super::views::{FillView, OrderView};
use crate::actors::trading::order_book::{GetFills, GetOrders, OrdersOf};
use crate::actors::trading::{Market, Refused, Unavailable};
use crate::domain::admission::Known;
use crate::domain::ids::{AccountId, MarketId, OrderId};
use crate::domain::order::{Kind, NewOrder, OrderRecord, Reject, Status};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::fills::{FillFilter, FillRow};
use crate::persistence::orders::OrderFilter;
use crate::persistence::{fills, orders};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

type Answer = Result<HttpResponse, ApiError>;

/// `POST /orders`.
pub async fn place(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let body = NewOrderBody::parse(&body)?;
    let product = body.product_id.as_deref().unwrap_or_default();
    let market = state.trading.market(product).ok_or_else(product_not_found)?;
    let account = user.0.user;
    body.check_profile(account)?;
    let order = body.into_order(account, market)?;
    let by_funds = matches!(order.kind, Kind::Market { funds: Some(_) });
    match place_once(&state, market, order).await? {
        Ok(record) => Ok(HttpResponse::Ok().json(OrderView::new(market, &record))),
        Err(Refused::Repeat(Known::Order(market, id))) => {
            let (market, record) = find(&state, account, market, id).await?;
            Ok(HttpResponse::Ok().json(OrderView::new(&market, &record)))
        }
        Err(Refused::Reject(reject)) => Err(wire::explain(reject, market, by_funds)),
        Err(other) => Err(other.into()),
    }
}

/// Places an order, unless its client id is taken by an order of long ago: then that order is the answer.
///
/// # Errors
/// 503 when the database has to be asked for the client id and cannot be.
pub(super) async fn place_once(
    state: &AppState,
    market: &Market,
    order: NewOrder,
) -> Result<Result<OrderRecord, Refused>, ApiError> {
    let first = state.trading.place(market, order).await;
    place_again(state, market, order, first).await
}

/// Goes on from the outcome of a first try.
///
/// # Errors
/// As of [`place_once`].
pub(super) async fn place_again(
    state: &AppState,
    market: &Market,
    order: NewOrder,
    first: Result<OrderRecord, Refused>,
) -> Result<Result<OrderRecord, Refused>, ApiError> {
    let (Err(Refused::Repeat(Known::Forgotten)), Some(id)) = (first, order.client_id) else { return Ok(first) };
    Ok(match client_ids::look_up(state, order.account, id).await? {
        Holder::Order(market, id) => Err(Refused::Repeat(Known::Order(market, id))),
        Holder::Nobody(vouched) => state.trading.place_vouched(market, order, vouched).await,
    })
}

pub(super) fn product_not_found() -> ApiError {
    ApiError::bad_request("product_not_found", "Product not found")
}

fn view(state: &AppState, market: MarketId, record: &OrderRecord) -> Result<OrderView, ApiError> {
    let market = state.trading.market_by_id(market).ok_or_else(ApiError::not_found)?;
    Ok(OrderView::new(market, record))
}

/// A user's order, from memory or else from the database.
pub(super) async fn find(
    state: &AppState,
    account: AccountId,
    market: MarketId,
    id: OrderId,
) -> Result<(Arc<Market>, OrderRecord), ApiError> {
    let market = state.trading.market_by_id(market).ok_or_else(ApiError::not_found)?.clone();
    let mut record = state.trading.order(&market, id).await?;
    if record.is_none() {
        let place = market.id;
        record = state.query(move |c| orders::get(c, place, id.number)).await?.filter(|record| record.id == id);
    }
    if record.is_none() {
        state.history_is_whole(&market)?;
    }
    // Another user's order is answered as if it did not exist.
    record.filter(|record| record.account == account).map(|record| (market, record)).ok_or_else(ApiError::not_found)
}

/// The order that a path names: our UUID, or `client:` and the client's.
pub(super) async fn named(
    state: &AppState,
    account: AccountId,
    name: &str,
) -> Result<Option<(MarketId, OrderId)>, ApiError> {
    if let Some(text) = name.strip_prefix("client:") {
        let id = parse_client_id(text)?;
        return Ok(match client_ids::look_up(state, account, id).await? {
            Holder::Order(market, order) => Some((market, order)),
            Holder::Nobody(_) => None,
        });
    }
    let invalid = |_| ApiError::bad_request("invalid_order_id", "Invalid order id");
    Ok(ids::parse_order(Uuid::try_parse(name).map_err(invalid)?))
}

/// `GET /orders/{id}`, also `client:{client_oid}`.
pub async fn get(state: web::Data<AppState>, user: CurrentUser, name: web::Path<String>) -> Answer {
    let (market, id) = named(&state, user.0.user, &name).await?.ok_or_else(ApiError::not_found)?;
    let (market, record) = find(&state, user.0.user, market, id).await?;
    Ok(HttpResponse::Ok().json(OrderView::new(&market, &record)))
}

/// `DELETE /orders/{id}`, also `client:{client_oid}`: answers the order's id as a bare string.
pub async fn cancel(state: web::Data<AppState>, user: CurrentUser, name: web::Path<String>) -> Answer {
    let missing = || ApiError::from(Reject::OrderNotFound);
    let (market, id) = named(&state, user.0.user, &name).await?.ok_or_else(missing)?;
    let market = state.trading.market_by_id(market).ok_or_else(missing)?;
    match state.trading.cancel(market, user.0.user, id).await {
        Ok(id) => Ok(HttpResponse::Ok().json(ids::order(market.id, id))),
        // It may be another user's, or never have existed in this form; then it is not theirs to know.
        Err(Refused::Reject(Reject::OrderDone)) => match find(&state, user.0.user, market.id, id).await {
            Ok(_) => Err(Reject::OrderDone.into()),
            Err(_) => Err(missing()),
        },
        Err(other) => Err(other.into()),
    }
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
    let markets: Vec<Arc<Market>> = match &product {
        Some(symbol) => vec![state.trading.market(symbol).ok_or_else(product_not_found)?.clone()],
        None => state.trading.markets().to_vec(),
    };
    let mut canceled = Vec::new();
    for market in markets {
        let done = state.trading.cancel_all(&market, user.0.user, None).await?;
        canceled.extend(done.into_iter().map(|id| ids::order(market.id, id)));
    }
    Ok(HttpResponse::Ok().json(canceled))
}

/// Which states of orders a list wants.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    open: bool,
    active: bool,
    done: bool,
}

impl Wanted {
    /// Without any `status`: what is alive. Refused orders are kept nowhere, so `rejected` adds none.
    fn parse(params: &Params) -> Result<Wanted, ApiError> {
        let mut wanted = Wanted::default();
        let mut any = false;
        for status in params.all("status") {
            any = true;
            match status {
                "all" => wanted = Wanted { open: true, active: true, done: true },
                "done" | "settled" => wanted.done = true,
                "open" | "pending" => wanted.open = true,
                "active" => wanted.active = true,
                "rejected" => {}
                _ => return Err(ApiError::bad_request("invalid_status", "status is not known")),
            }
        }
        Ok(if any { wanted } else { Wanted { open: true, active: true, done: false } })
    }

    fn takes(self, record: &OrderRecord) -> bool {
        match record.status {
            Status::Open => self.open,
            Status::Active => self.active,
            Status::Done(..) => self.done,
        }
    }
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

/// Puts a page into the order that was asked for. Which orders are on it does not depend on that.
fn sort(page: &mut [(Cursor, OrderRecord)], params: &Params) -> Result<(), ApiError> {
    let fields = ["created_at", "price", "size", "order_id", "side", "type"];
    let key = |record: &OrderRecord, field| match field {
        "price" => record.price().map_or(0, |price| price.0),
        "size" => record.size.0,
        "order_id" => record.id.number,
        "side" => u64::from(record.side == crate::domain::order::Side::Sell),
        _ => u64::from(record.price().is_none()),
    };
    match params.word("sortedBy", &fields)? {
        None | Some("created_at") => {}
        Some(field) => page.sort_by_key(|(_, record)| std::cmp::Reverse(key(record, field))),
    }
    if params.word("sorting", &["asc", "desc"])? == Some("asc") {
        page.reverse();
    }
    Ok(())
}

type Cursor = (Timestamp, MarketId, u64);

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
    let account = user.0.user;
    let (page, wanted) = (params.page()?, Wanted::parse(&params)?);
    let (mut after, mut before) = (parse_cursor(&page.after)?, parse_cursor(&page.before)?);
    within_dates(&params, &mut after, &mut before)?;
    let only = match params.get("product_id") {
        Some(symbol) => Some(state.trading.market(symbol).ok_or_else(ApiError::not_found)?.id),
        None => None,
    };
    let mut found = BTreeMap::<Cursor, OrderRecord>::new();
    if wanted.done {
        let filter = OrderFilter { market: only, done: Some(true), after, before };
        let limit = page.limit as i64;
        for (market, record) in state.query(move |c| orders::list(c, account, &filter, limit)).await? {
            found.insert((record.created_at, market, record.id.number), record);
        }
    }
    for market in state.trading.markets().iter().filter(|market| only.is_none_or(|only| only == market.id)) {
        let memory = match market.book.send(GetOrders(account)).await {
            Ok(memory) => memory,
            // A market that is halted has no memory, but the database has its orders as they were.
            Err(_) if market.fault().is_some() => {
                let filter = OrderFilter { market: Some(market.id), done: Some(false), after, before };
                let limit = page.limit as i64;
                let rows = state.query(move |c| orders::list(c, account, &filter, limit)).await?;
                OrdersOf { live: rows.into_iter().map(|(_, record)| record).collect(), ended: Vec::new() }
            }
            Err(why) => return Err(Unavailable::from(why).into()),
        };
        if wanted.done {
            state.history_is_whole(market)?;
        }
        let all = memory.live.into_iter().chain(memory.ended).filter(|record| wanted.takes(record));
        found.extend(all.map(|record| ((record.created_at, market.id, record.id.number), record)));
    }
    let inside =
        |cursor: &Cursor| after.is_none_or(|after| *cursor < after) && before.is_none_or(|before| *cursor > before);
    let mut found: Vec<_> = found.into_iter().rev().filter(|(cursor, _)| inside(cursor)).take(page.limit).collect();
    let ends = found.first().zip(found.last()).map(|(first, last)| (cursor_text(first.0), cursor_text(last.0)));
    sort(&mut found, &params)?;
    let mut views = Vec::with_capacity(found.len());
    for ((_, market, _), record) in &found {
        views.push(view(&state, *market, record)?);
    }
    Ok(page::answer(&views, ends))
}

/// `GET /fills`: of one market or one order.
pub async fn fills(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let account = user.0.user;
    let page = params.page()?;
    let (older, newer) = page.numbers()?;
    let (from, to) = (params.time("start_date")?, params.time("end_date")?);
    let order = match params.get("order_id") {
        Some(name) => Some(named(&state, account, name).await?.ok_or_else(ApiError::not_found)?),
        None => None,
    };
    let market = match (order, params.get("product_id")) {
        (Some((market, _)), _) => state.trading.market_by_id(market),
        (None, Some(symbol)) => state.trading.market(symbol),
        (None, None) => {
            let message = "product_id or order_id is required";
            return Err(ApiError::bad_request("product_or_order_required", message));
        }
    };
    let market = market.ok_or_else(ApiError::not_found)?.clone();
    if let Some((place, id)) = order {
        find(&state, account, place, id).await?;
    }
    let id = market.id;
    let filter = FillFilter { older_than: older, newer_than: newer, from, to, order: order.map(|(_, id)| id) };
    let limit = page.limit;
    let mut found = BTreeMap::<u64, FillRow>::new();
    for row in state.query(move |c| fills::of_account(c, account, id, &filter, limit)).await? {
        found.insert(row.fill.trade.0, row);
    }
    state.history_is_whole(&market)?;
    for timed in market.book.send(GetFills(account)).await.map_err(|why| market.unavailable(why))? {
        let row = FillRow { market: id, at: timed.at, feed_sequence: timed.feed_sequence, fill: timed.fill };
        found.insert(timed.fill.trade.0, row);
    }
    let page: Vec<FillRow> = found.into_values().rev().filter(|row| filter.takes(row)).take(limit).collect();
    let views: Vec<_> = page.iter().filter_map(|row| FillView::new(&market, row, account)).collect();
    let ends = page.first().zip(page.last()).map(|(a, b)| (a.fill.trade.0.to_string(), b.fill.trade.0.to_string()));
    Ok(page::answer(&views, ends))
}
