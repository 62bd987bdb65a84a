//! Several commands in one request: each is carried out by itself and acknowledged by itself, in their order.
//!
//! What is handed over together goes into the log together, so a batch costs little more than one command. The
//! WebSocket (`http/ws/entry.rs`) and REST share these lines.

use super::new_order::NewOrderBody;
use crate::actors::trading::{Market, Refused};
use crate::domain::admission::Known;
use crate::domain::event::DoneReason;
use crate::domain::ids::{AccountId, MarketId, OrderId};
use crate::domain::order::{Kind, NewOrder, OrderRecord, Reject, Status};
use crate::http::error::ApiError;
use crate::http::exchange::orders;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// The most commands of one batch.
pub const MOST: usize = 100;

/// What became of one command.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// The order was placed; this is how it stands.
    Placed {
        /// The order.
        order_id: Uuid,
        /// The client's id of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_oid: Option<Uuid>,
        /// `open`, `active` or `done`.
        status: &'static str,
        /// `filled` or `canceled`, when it is done.
        #[serde(skip_serializing_if = "Option::is_none")]
        done_reason: Option<&'static str>,
        /// Base.
        filled_size: String,
        /// Quote, without fees.
        executed_value: String,
        /// Quote.
        fill_fees: String,
    },
    /// The order was canceled.
    Canceled {
        /// The order.
        order_id: Uuid,
        /// `done`.
        status: &'static str,
        /// `canceled`.
        done_reason: &'static str,
    },
    /// Nothing was done.
    Refused {
        /// Why.
        error: Why,
    },
}

/// Why nothing was done: the same code and message that the command alone would get.
#[derive(Debug, Serialize)]
pub struct Why {
    code: &'static str,
    message: String,
}

impl Outcome {
    /// How an order stands that was placed or changed.
    pub fn placed(market: &Market, record: &OrderRecord) -> Outcome {
        let (status, done_reason) = match record.status {
            Status::Active => ("active", None),
            Status::Open => ("open", None),
            Status::Done(reason, _) => ("done", Some(reason.wire())),
        };
        Outcome::Placed {
            order_id: ids::order(market.id, record.id),
            client_oid: record.client_id.map(|id| Uuid::from_u128(id.0)),
            status,
            done_reason,
            filled_size: wire::size(record.filled, &market.config),
            executed_value: wire::amount(record.executed, &market.quote),
            fill_fees: wire::amount(record.fees, &market.quote),
        }
    }

    /// An order that was canceled.
    pub fn canceled(market: MarketId, order: OrderId) -> Outcome {
        let done_reason = DoneReason::Canceled.wire();
        Outcome::Canceled { order_id: ids::order(market, order), status: "done", done_reason }
    }

    /// A refusal.
    pub fn refused(error: &ApiError) -> Outcome {
        Outcome::Refused { error: Why { code: error.code(), message: error.to_string() } }
    }
}

/// Checks how many commands a batch has.
///
/// # Errors
/// 400 for none and for more than [`MOST`].
pub fn check_count(count: usize) -> Result<(), ApiError> {
    if (1..=MOST).contains(&count) {
        return Ok(());
    }
    Err(ApiError::bad_request("invalid_batch", format!("a batch has 1 to {MOST} commands, not {count}")))
}

/// An order that was read, with the market it is for.
pub type Read = Result<(Arc<Market>, NewOrder), ApiError>;

/// Reads the body of an order.
///
/// # Errors
/// Those of `POST /orders`, as far as the body alone tells.
pub fn understand(state: &AppState, account: AccountId, body: NewOrderBody<'_>) -> Read {
    let product = body.product_id.as_deref().unwrap_or_default();
    let market = state.trading.market(product).ok_or_else(orders::product_not_found)?;
    body.check_profile(account)?;
    Ok((market.clone(), body.into_order(account, market)?))
}

/// Places orders of one user, each by itself.
pub async fn place_each(state: &AppState, account: AccountId, read: Vec<Read>) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(read.len());
    let mut orders: Vec<(Arc<Market>, NewOrder)> = Vec::with_capacity(read.len());
    for order in read {
        outcomes.push(match order {
            Ok(order) => {
                orders.push(order);
                None
            }
            Err(error) => Some(Outcome::refused(&error)),
        });
    }
    let placed = state.trading.place_all(&orders).await;
    let mut placed = orders.iter().zip(placed);
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
        let Some(((market, order), first)) = placed.next() else { break };
        let result = match orders::place_again(state, market, *order, first).await {
            Ok(result) => result,
            Err(error) => {
                *outcome = Some(Outcome::refused(&error));
                continue;
            }
        };
        *outcome = Some(match result {
            Ok(record) => Outcome::placed(market, &record),
            Err(Refused::Repeat(Known::Order(market, id))) => match orders::find(state, account, market, id).await {
                Ok((market, record)) => Outcome::placed(&market, &record),
                Err(error) => Outcome::refused(&error),
            },
            Err(Refused::Reject(reject)) => {
                let by_funds = matches!(order.kind, Kind::Market { funds: Some(_) });
                Outcome::refused(&wire::explain(reject, market, by_funds))
            }
            Err(other) => Outcome::refused(&other.into()),
        });
    }
    outcomes.into_iter().flatten().collect()
}

/// An order that was named and found, with its market.
pub type Named = Result<(Arc<Market>, OrderId), ApiError>;

/// Finds the orders of one user with these names (our ids, or `client:` and the client's), each by itself.
pub async fn find_each(state: &AppState, account: AccountId, names: &[String]) -> Vec<Named> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = orders::named_all(state, account, &names).await;
    found.into_iter().map(|found| with_market(state, found)).collect()
}

fn with_market(state: &AppState, found: orders::Named) -> Named {
    let (market, order) = found?.ok_or(Reject::OrderNotFound)?;
    Ok((state.trading.market_by_id(market).ok_or(Reject::OrderNotFound)?.clone(), order))
}

/// Cancels orders of one user that were found, each by itself.
pub async fn cancel_each(state: &AppState, account: AccountId, found: Vec<Named>) -> Vec<Outcome> {
    let wanted: Vec<(Arc<Market>, OrderId)> = found.iter().flatten().cloned().collect();
    let canceled = state.trading.cancel_each(account, &wanted).await;
    let mut canceled = wanted.iter().zip(canceled);
    let mut outcomes = Vec::with_capacity(found.len());
    for named in found {
        if let Err(error) = named {
            outcomes.push(Outcome::refused(&error));
            continue;
        }
        let Some(((market, order), result)) = canceled.next() else { break };
        outcomes.push(match result {
            Ok(id) => Outcome::canceled(market.id, id),
            Err(Refused::Reject(Reject::OrderDone)) => {
                Outcome::refused(&orders::why_over(state, account, market.id, *order).await)
            }
            Err(other) => Outcome::refused(&other.into()),
        });
    }
    outcomes
}

/// The body of `POST /orders/batch`.
#[derive(Deserialize)]
struct Orders<'a> {
    #[serde(borrow)]
    orders: Vec<NewOrderBody<'a>>,
}

/// The body of `DELETE /orders/batch`.
#[derive(Deserialize)]
struct Names {
    order_ids: Vec<String>,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request("invalid_body", format!("the body is not a valid batch: {error}")))
}

/// `POST /orders/batch`: one outcome for each order, in their order.
pub async fn place(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Result<HttpResponse, ApiError> {
    let Orders { orders } = read(&body)?;
    check_count(orders.len())?;
    let account = user.0.user;
    let read = orders.into_iter().map(|body| understand(&state, account, body)).collect();
    Ok(HttpResponse::Ok().json(place_each(&state, account, read).await))
}

/// `DELETE /orders/batch`: one outcome for each id, in their order.
pub async fn cancel(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Result<HttpResponse, ApiError> {
    let Names { order_ids } = read(&body)?;
    check_count(order_ids.len())?;
    let account = user.0.user;
    let found = find_each(&state, account, &order_ids).await;
    Ok(HttpResponse::Ok().json(cancel_each(&state, account, found).await))
}
