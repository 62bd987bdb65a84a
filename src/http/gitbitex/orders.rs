//! Orders: placed in all the forms that the front end sends, listed in pages, canceled.

use super::{numbers, products, read, views};
use crate::actors::trading::Market;
use crate::domain::ids::AccountId;
use crate::domain::market::Step;
use crate::domain::order::{Kind, NewOrder, Side};
use crate::http::error::ApiError;
use crate::http::exchange::orders::{self as exchange, Cursor, Query, Wanted};
use crate::http::session::CurrentUser;
use crate::http::v1::new_order::NewOrderBody;
use crate::http::v1::params::Params;
use crate::http::{AppState, wire};
use actix_web::http::header::HeaderName;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;

type Answer = Result<HttpResponse, ApiError>;

/// Orders of a page.
const PAGE: usize = 100;
const MOST_PAGE: usize = 1_000;
/// Orders of a numbered page.
const NUMBERED_PAGE: usize = 50;
/// How far back numbered pages reach: all orders before a page are looked at for it. Cursors have no end.
const DEEPEST: usize = 10_000;
/// The cursors of the first and the last row of a page.
const BEFORE: HeaderName = HeaderName::from_static("gbe-before");
const AFTER: HeaderName = HeaderName::from_static("gbe-after");

/// An order as it comes: numbers, texts, `null` or nothing at all; unknown fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    product_id: Option<String>,
    side: Option<String>,
    r#type: Option<String>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow)]
    funds: Option<&'a RawValue>,
    #[serde(alias = "client_oid")]
    client_oid: Option<String>,
    #[serde(alias = "time_in_force")]
    time_in_force: Option<String>,
    #[serde(alias = "cancel_after")]
    cancel_after: Option<String>,
}

impl Body<'_> {
    /// The order, read by the same rules as any other. What has no meaning for its kind is left out: the front end fills
    /// in estimates with many decimals.
    fn understand(self, account: AccountId, market: &Market) -> Result<NewOrder, ApiError> {
        let config = &market.config;
        let kind = self.r#type.filter(|text| !text.is_empty()).unwrap_or_else(|| "limit".to_owned());
        let is_limit = kind == "limit";
        let by_funds = kind == "market" && self.side.as_deref() == Some("buy");
        let given = |raw: Option<&RawValue>, wanted: bool, step: Step| {
            raw.filter(|raw| wanted && !matches!(raw.get(), "null" | "\"\"")).map(|raw| numbers::forgiven(raw, step))
        };
        let atom = Step { units: 1, decimals: market.quote.decimals };
        let price = given(self.price, is_limit, config.tick);
        let size = given(self.size, !by_funds, config.lot);
        let funds = given(self.funds, by_funds, atom);
        let cancel_after = self.cancel_after.filter(|text| is_limit && !text.is_empty());
        // Programs say GTT without an end, and mean that there is none.
        let is_endless = |text: &String| text == "GTT" && cancel_after.is_none();
        let time_in_force = self.time_in_force.filter(|text| is_limit && !text.is_empty() && !is_endless(text));
        NewOrderBody {
            r#type: Some(kind),
            side: self.side,
            price: price.as_deref(),
            size: size.as_deref(),
            funds: funds.as_deref(),
            time_in_force,
            cancel_after,
            client_oid: self.client_oid.filter(|text| !text.is_empty()),
            ..NewOrderBody::default()
        }
        .into_order(account, market)
    }
}

/// `POST /orders`: the refusal is the answer, since the front end shows success on any other.
pub async fn place(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Answer {
    let account = user.0.user;
    let body: Body<'_> = read(&body, "productId, side, type, and price, size or funds")?;
    let market = products::market(&state, body.product_id.as_deref().unwrap_or_default())?.clone();
    let order = body.understand(account, &market)?;
    match exchange::place(&state, &market, order).await {
        Ok((market, record)) => Ok(HttpResponse::Ok().json(views::Order::new(&market, &record))),
        Err(error) if error.code() == "insufficient_funds" => Err(too_little(&state, &market, &order, error).await),
        Err(error) => Err(error),
    }
}

/// Says how much is needed and how much there is.
async fn too_little(state: &AppState, market: &Market, order: &NewOrder, error: ApiError) -> ApiError {
    let needed = match order.kind {
        Kind::Limit { price, .. } => market.scale.hold_for(order.side, price, order.size, market.config.worst_fee()),
        Kind::Market { funds: Some(funds) } => funds,
        Kind::Market { funds: None } if order.side == Side::Sell => market.scale.base(order.size),
        Kind::Market { funds: None } => return error,
    };
    let currency = if order.side == Side::Buy { &market.quote } else { &market.base };
    let Ok(balances) = state.trading.balances(order.account).await else { return error };
    let available = balances.unwrap_or_default().get(usize::from(currency.id.0)).copied().unwrap_or_default().available;
    let (needed, available) = (wire::amount(needed, currency), wire::amount(available, currency));
    let text = format!("Not enough {}: {needed} needed, {available} available", currency.code);
    ApiError::bad_request(error.code(), text)
}

/// The place of the order that a cursor names. One that is empty, `0`, `undefined` or otherwise unreadable is none.
async fn cursor(state: &AppState, account: AccountId, text: Option<&str>) -> Result<Option<Cursor>, ApiError> {
    let named = text.and_then(|text| uuid::Uuid::try_parse(text).ok()).and_then(crate::http::ids::parse_order);
    let Some((market, id)) = named else { return Ok(None) };
    match exchange::find(state, account, market, id).await {
        Ok((market, record)) => Ok(Some((record.created_at, market.id, record.id.number))),
        Err(error) if error.code() == "not_found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which states a list wants; all without any `status`. Words that are none of ours name no order.
fn wanted(params: &Params) -> Wanted {
    let mut words = params.all("status").peekable();
    if words.peek().is_none() {
        return Wanted::ALL;
    }
    words.fold(Wanted::default(), |wanted, word| match word {
        "open" | "new" => Wanted { open: true, active: true, ..wanted },
        "filled" => Wanted { filled: true, ..wanted },
        "cancelled" | "canceled" => Wanted { canceled: true, ..wanted },
        _ => wanted,
    })
}

fn side(params: &Params) -> Result<Option<Side>, ApiError> {
    Ok(params.word("side", &["buy", "sell"])?.map(|word| if word == "buy" { Side::Buy } else { Side::Sell }))
}

/// `GET /orders`: newest first, in an object, with the cursors of its first and last row as headers.
pub async fn list(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let account = user.0.user;
    let market = match params.get("productId") {
        Some(symbol) => Some(products::market(&state, symbol)?.id),
        None => None,
    };
    let numbered = params.get("page").is_some() || params.get("pageSize").is_some();
    let (skip, limit) = if numbered {
        let size = params.number::<usize>("pageSize")?.unwrap_or(NUMBERED_PAGE).clamp(1, MOST_PAGE);
        let skip = params.number::<usize>("page")?.unwrap_or(1).saturating_sub(1).saturating_mul(size);
        if skip.saturating_add(size) > DEEPEST {
            let message = format!("Numbered pages reach back {DEEPEST} orders. Please go on with a cursor.");
            return Err(ApiError::bad_request("page_too_deep", message));
        }
        (skip, size)
    } else {
        (0, params.number::<usize>("limit")?.unwrap_or(PAGE).clamp(1, MOST_PAGE))
    };
    let after = cursor(&state, account, params.get("after")).await?;
    let before = cursor(&state, account, params.get("before")).await?;
    let nearest = before.is_some() && after.is_none();
    let query = Query { market, side: side(&params)?, wanted: wanted(&params), after, before, nearest, skip, limit };
    let count = exchange::count(&state, account, query).await?;
    let found = exchange::list(&state, account, query).await?;
    let mut items = Vec::with_capacity(found.len());
    let mut ids = Vec::with_capacity(found.len());
    for ((_, market, _), record) in &found {
        let market: &Arc<Market> = state.trading.market_by_id(*market).ok_or_else(ApiError::not_found)?;
        items.push(views::Order::new(market, record));
        ids.push(views::order_id(market, record.id));
    }
    let mut response = HttpResponse::Ok();
    if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
        response.insert_header((BEFORE, first.to_string())).insert_header((AFTER, last.to_string()));
    }
    Ok(response.json(json!({"items": items, "count": count})))
}

/// `DELETE /orders/{id}`, also `client:{clientOid}`.
pub async fn cancel(state: web::Data<AppState>, user: CurrentUser, name: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(exchange::cancel(&state, user.0.user, &name).await?))
}

/// `DELETE /orders`: all of them, or those of one product or side; answers their ids.
pub async fn cancel_all(state: web::Data<AppState>, user: CurrentUser, params: Params) -> Answer {
    let side = side(&params)?;
    Ok(HttpResponse::Ok().json(exchange::cancel_all(&state, user.0.user, params.get("productId"), side).await?))
}
