//! Orders and fills: place, cancel, look up, list.

use super::new_order::{NewOrderBody, parse_client_id};
use super::page::{self, PageQuery};
use super::views::{FillView, OrderView};
use crate::actors::trading::order_book::{GetFills, GetOrders};
use crate::actors::trading::{Market, Refused, Unavailable};
use crate::domain::admission::Known;
use crate::domain::ids::{AccountId, MarketId, OrderId};
use crate::domain::order::{OrderRecord, Reject};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use crate::persistence::fills::FillRow;
use crate::persistence::orders::OrderFilter;
use crate::persistence::{fills, orders};
use actix_web::http::StatusCode;
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
    let order = body.into_order(account, market)?;
    // Ids older than memory remembers are in the database; only then does it have to be asked.
    if let Some(id) = order.client_id {
        let known = state.trading.find_client_id(account, id).await?;
        if known.order.is_none()
            && known.ask_database
            && let Some((market, record)) = state.query(move |c| orders::by_client_id(c, account, id)).await?
        {
            return Ok(HttpResponse::Ok().json(view(&state, market, &record)?));
        }
    }
    match state.trading.place(market, order).await {
        Ok(record) => Ok(HttpResponse::Ok().json(OrderView::new(market, &record))),
        Err(Refused::Repeat(Known::Order(market, id))) => {
            let (market, record) = find(&state, account, market, id).await?;
            Ok(HttpResponse::Ok().json(OrderView::new(&market, &record)))
        }
        Err(Refused::Reject(reject)) => Err(wire::explain(reject, market)),
        Err(other) => Err(other.into()),
    }
}

fn product_not_found() -> ApiError {
    ApiError::bad_request("product_not_found", "Product not found")
}

fn view(state: &AppState, market: MarketId, record: &OrderRecord) -> Result<OrderView, ApiError> {
    let market = state.trading.market_by_id(market).ok_or_else(ApiError::not_found)?;
    Ok(OrderView::new(market, record))
}

/// A user's order, from memory or else from the database.
async fn find(
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
    // Another user's order is answered as if it did not exist.
    record.filter(|record| record.account == account).map(|record| (market, record)).ok_or_else(ApiError::not_found)
}

/// The order that a path names: our UUID, or `client:` and the client's.
async fn named(state: &AppState, account: AccountId, name: &str) -> Result<Option<(MarketId, OrderId)>, ApiError> {
    if let Some(text) = name.strip_prefix("client:") {
        let id = parse_client_id(text)?;
        let known = state.trading.find_client_id(account, id).await?;
        if known.order.is_none() && known.ask_database {
            let found = state.query(move |c| orders::by_client_id(c, account, id)).await?;
            return Ok(found.map(|(market, record)| (market, record.id)));
        }
        return Ok(known.order);
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

/// The query of `DELETE /orders`; the body may carry the product too.
#[derive(Debug, Default, Deserialize)]
pub struct ProductHint {
    product_id: Option<String>,
}

/// `DELETE /orders`: answers the canceled ids.
pub async fn cancel_all(
    state: web::Data<AppState>,
    user: CurrentUser,
    query: web::Query<ProductHint>,
    body: web::Bytes,
) -> Answer {
    let in_body = serde_json::from_slice::<ProductHint>(&body).unwrap_or_default().product_id;
    let product = query.into_inner().product_id.or(in_body).map(|id| id.replace('/', "-"));
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

/// What `GET /orders` is asked for.
#[derive(Debug, Default)]
struct ListQuery {
    page: PageQuery,
    product: Option<String>,
    statuses: Vec<String>,
}

impl ListQuery {
    fn parse(text: &str) -> Result<ListQuery, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| ApiError::bad_request("invalid_query", "the query cannot be read"))?;
        let mut query = ListQuery::default();
        for (key, value) in pairs.into_inner() {
            match key.as_str() {
                "limit" => {
                    let invalid = |_| ApiError::bad_request("invalid_limit", "limit is not a number");
                    query.page.limit = Some(value.parse().map_err(invalid)?);
                }
                "after" => query.page.after = Some(value),
                "before" => query.page.before = Some(value),
                "product_id" => query.product = Some(value),
                "status" => query.statuses.push(value),
                _ => {}
            }
        }
        Ok(query)
    }

    /// Whether orders that are over, and orders that are not, are wanted.
    fn wants(&self) -> Result<(bool, bool), ApiError> {
        if self.statuses.is_empty() {
            return Ok((false, true));
        }
        let mut wanted = (false, false);
        for status in &self.statuses {
            match status.as_str() {
                "all" => wanted = (true, true),
                "done" => wanted.0 = true,
                "open" | "active" | "pending" => wanted.1 = true,
                "rejected" | "settled" => {}
                _ => return Err(ApiError::bad_request("invalid_status", "status is not known")),
            }
        }
        Ok(wanted)
    }
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
pub async fn list(state: web::Data<AppState>, user: CurrentUser, request: actix_web::HttpRequest) -> Answer {
    let account = user.0.user;
    let query = ListQuery::parse(request.query_string())?;
    let limit = query.page.limit()?;
    let (done, live) = query.wants()?;
    let (after, before) = (parse_cursor(&query.page.after)?, parse_cursor(&query.page.before)?);
    let only = match &query.product {
        Some(symbol) => Some(state.trading.market(symbol).ok_or_else(ApiError::not_found)?.id),
        None => None,
    };
    let mut found = BTreeMap::<Cursor, OrderRecord>::new();
    if done {
        let filter = OrderFilter { market: only, done: Some(true), after, before };
        for (market, record) in state.query(move |c| orders::list(c, account, &filter, limit as i64)).await? {
            found.insert((record.created_at, market, record.id.number), record);
        }
    }
    for market in state.trading.markets().iter().filter(|market| only.is_none_or(|only| only == market.id)) {
        let memory = market.book.send(GetOrders(account)).await.map_err(Unavailable::from)?;
        let wanted = memory.live.into_iter().filter(|_| live).chain(memory.ended.into_iter().filter(|_| done));
        found.extend(wanted.map(|record| ((record.created_at, market.id, record.id.number), record)));
    }
    let inside =
        |cursor: &Cursor| after.is_none_or(|after| *cursor < after) && before.is_none_or(|before| *cursor > before);
    let page: Vec<_> = found.into_iter().rev().filter(|(cursor, _)| inside(cursor)).take(limit).collect();
    let mut views = Vec::with_capacity(page.len());
    for ((_, market, _), record) in &page {
        views.push(view(&state, *market, record)?);
    }
    let ends = page.first().zip(page.last()).map(|(first, last)| (cursor_text(first.0), cursor_text(last.0)));
    Ok(page::answer(&views, ends))
}

/// What `GET /fills` is asked for.
#[derive(Debug, Deserialize)]
pub struct FillsQuery {
    product_id: Option<String>,
    order_id: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    before: Option<String>,
}

/// `GET /fills`.
pub async fn fills(state: web::Data<AppState>, user: CurrentUser, query: web::Query<FillsQuery>) -> Answer {
    let account = user.0.user;
    let FillsQuery { product_id, order_id, limit, after, before } = query.into_inner();
    let page = PageQuery { limit, after, before };
    let (limit, (older, newer)) = (page.limit()?, page.numbers()?);
    let order = match order_id.as_deref().filter(|id| !id.is_empty()) {
        Some(name) => Some(named(&state, account, name).await?.ok_or_else(ApiError::not_found)?),
        None => None,
    };
    let market = match (order, product_id.as_deref()) {
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
    // An order's fills are looked for among all of the user's; they are few for most.
    let rows = if order.is_some() { 10_000 } else { limit as i64 };
    let mut found = BTreeMap::<u64, FillRow>::new();
    for row in state.query(move |c| fills::of_account(c, account, id, older, newer, rows)).await? {
        found.insert(row.fill.trade.0, row);
    }
    for timed in market.book.send(GetFills(account)).await.map_err(Unavailable::from)? {
        let row = FillRow { market: id, at: timed.at, feed_sequence: timed.feed_sequence, fill: timed.fill };
        found.insert(timed.fill.trade.0, row);
    }
    let inside = |trade: u64| older.is_none_or(|older| trade < older) && newer.is_none_or(|newer| trade > newer);
    let of_order = |row: &FillRow| order.is_none_or(|(_, id)| row.fill.maker == id || row.fill.taker == id);
    let page: Vec<FillRow> =
        found.into_values().rev().filter(|row| inside(row.fill.trade.0) && of_order(row)).take(limit).collect();
    let views: Vec<_> = page.iter().filter_map(|row| FillView::new(&market, row, account)).collect();
    let ends = page.first().zip(page.last()).map(|(a, b)| (a.fill.trade.0.to_string(), b.fill.trade.0.to_string()));
    Ok(page::answer(&views, ends))
}

/// 405 with the dialect's body.
pub async fn method_not_allowed() -> Answer {
    Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the method is not allowed here"))
}
