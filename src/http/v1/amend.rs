//! `PATCH /orders/{id}`: another price or size for a live limit order.

use super::views::OrderView;
use crate::actors::trading::{Market, Refused};
use crate::domain::ids::{AccountId, OrderId};
use crate::domain::money::{Price, Size};
use crate::domain::order::{OrderRecord, Reject};
use crate::http::error::ApiError;
use crate::http::exchange::orders::{Named, named, why_over};
use crate::http::session::CurrentUser;
use crate::http::{AppState, wire};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The body, and an element of an atomic batch; there it names its order.
#[derive(Debug, Deserialize)]
pub struct AmendBody {
    order_id: Option<String>,
    client_oid: Option<String>,
    price: Option<Box<RawValue>>,
    size: Option<Box<RawValue>>,
}

/// A change that was read, with the market it is for.
#[derive(Clone, Debug)]
pub struct Change {
    /// The market.
    pub market: Arc<Market>,
    /// The order.
    pub order: OrderId,
    /// The new price, if it changes.
    pub price: Option<Price>,
    /// The new whole size, if it changes.
    pub size: Option<Size>,
}

impl AmendBody {
    /// The body with these parts, for the WebSocket, where they stand in the message itself.
    pub fn new(order: String, price: Option<Box<RawValue>>, size: Option<Box<RawValue>>) -> AmendBody {
        AmendBody { order_id: Some(order), client_oid: None, price, size }
    }

    /// The name of the order that is to be changed: what `path` names, or else the body.
    ///
    /// # Errors
    /// 400 when there is none, or nothing is to be changed.
    pub fn target(&self, path: Option<&str>) -> Result<String, ApiError> {
        let name = match (path, &self.order_id, &self.client_oid) {
            (Some(name), ..) => name.to_owned(),
            (None, Some(name), _) => name.clone(),
            (None, None, Some(client)) => format!("client:{client}"),
            (None, None, None) => {
                return Err(ApiError::bad_request("invalid_body", "order_id or client_oid is missing"));
            }
        };
        if self.price.is_none() && self.size.is_none() {
            return Err(ApiError::bad_request("invalid_body", "a change needs a price or a size"));
        }
        Ok(name)
    }

    /// Reads it for the caller's order that it names, or that `path` names.
    ///
    /// # Errors
    /// 400 for what cannot be read, 404 when there is no such order.
    pub async fn read(self, state: &AppState, account: AccountId, path: Option<&str>) -> Result<Change, ApiError> {
        let name = self.target(path)?;
        self.read_for(state, named(state, account, &name).await)
    }

    /// Reads it for the order that was found by its name.
    ///
    /// # Errors
    /// 400 for what cannot be read, 404 when there is no such order.
    pub fn read_for(self, state: &AppState, found: Named) -> Result<Change, ApiError> {
        let missing = || ApiError::from(Reject::OrderNotFound);
        let (market, order) = found?.ok_or_else(missing)?;
        let market = state.trading.market_by_id(market).cloned().ok_or_else(missing)?;
        let price = self.price.map(|raw| wire::parse_price(&raw, &market.config, "price")).transpose()?;
        let size = self.size.map(|raw| wire::parse_size(&raw, &market.config)).transpose()?;
        Ok(Change { market, order, price, size })
    }
}

/// Carries a change out.
///
/// # Errors
/// Those of the rules; 503 when it cannot be done or told now.
pub async fn carry_out(state: &AppState, account: AccountId, change: &Change) -> Result<OrderRecord, ApiError> {
    let Change { market, order, price, size } = change;
    match state.trading.amend(market, account, *order, *price, *size).await {
        Ok(record) => Ok(record),
        Err(Refused::Reject(Reject::OrderDone)) => Err(why_over(state, account, market.id, *order).await),
        Err(Refused::Reject(reject)) => Err(wire::explain(reject, market, false)),
        Err(other) => Err(other.into()),
    }
}

/// `PATCH /orders/{id}`, also `client:{client_oid}`: answers the order as it stands then.
pub async fn amend(
    state: web::Data<AppState>,
    user: CurrentUser,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let body: AmendBody = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request("invalid_body", format!("the body is not a valid change: {error}")))?;
    let account = user.0.user;
    let change = body.read(&state, account, Some(&name)).await?;
    let record = carry_out(&state, account, &change).await?;
    Ok(HttpResponse::Ok().json(OrderView::new(&change.market, &record)))
}
